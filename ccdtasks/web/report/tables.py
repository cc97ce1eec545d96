"""Tables of a result for the page: cells as people read them, and headers that are links to the other orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from ccdtasks.amounts import cell_text
from ccdtasks.core.outcome.results import Cell
from ccdtasks.core.outcome.resulttables import Order, Rows
from ccdtasks.core.runs.reports import PAGE_ROWS
from ccdtasks.core.text import clean_url
from ccdtasks.web.report.address import Address, view_text
from ccdtasks.web.report.markup import link_of
from ccdtasks.web.report.words import Room

_CELL = 500
_ADDRESS = 60

Sort = Literal["none", "ascending", "descending"]


@dataclass(frozen=True, slots=True)
class Header:
    """A column. `sort`: how the rows stand by it (aria-sort); `href` turns that around, or begins it."""

    name: Markup
    is_number: bool
    sort: Sort
    href: str


@dataclass(frozen=True, slots=True)
class Table:
    """A part of a table. `first` and `last` count from 1; `earlier`, `later` and `everything` are links, or None."""

    id: str
    name: Markup
    headers: Sequence[Header]
    rows: Sequence[Sequence[Markup]]
    count: int
    first: int
    last: int
    earlier: str | None
    later: str | None
    unsorted: str | None


def table_of(found: Rows, address: Address, room: Room) -> Table:
    """The rows as cells, as many of them as there is room for."""
    outline, order, anchor = found.outline, found.order, f"table{found.outline.place}"
    columns = [*outline.columns]
    rows = []
    for row in found.rows:
        if room.left_bytes <= 0:
            break
        rows.append([_cell(row.get(column), room) for column in columns])
    last = found.start + len(rows)

    def to(order: Order, start: int) -> str:
        return address.to(anchor, **{anchor: view_text(order, start)})

    return Table(
        id=anchor,
        name=room.take(outline.name or "", 100),
        headers=[
            Header(
                name=room.take(name, 80),
                is_number=_is_number(found.rows, name),
                sort="none" if order.column != place else "descending" if order.is_descending else "ascending",
                href=to(Order(place, order.column == place and not order.is_descending), 0),
            )
            for place, name in enumerate(columns)
        ],
        rows=rows,
        count=outline.count,
        first=found.start + 1,
        last=last,
        earlier=to(order, max(0, found.start - PAGE_ROWS)) if found.start else None,
        later=to(order, last) if last < outline.count else None,
        unsorted=to(Order(), 0) if order.column is not None else None,
    )


def _cell(value: Cell, room: Room) -> Markup:
    if value is None or value == "":
        return Markup("")
    if isinstance(value, bool):
        return Markup("yes") if value else Markup("no")
    if isinstance(value, int | float):
        return Markup(cell_text(value))  # noqa: S704  digits
    if clean_url(value):
        room.left_bytes -= len(value) * 2
        return link_of(value, room.take(value.split("://", 1)[1], _ADDRESS))
    return room.take(value, _CELL)


def _is_number(rows: Sequence[dict[str, Cell]], column: str) -> bool:
    cells = [row.get(column) for row in rows]
    known = [cell for cell in cells if cell not in (None, "")]
    return bool(known) and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in known)
