"""What a result says that the one before did not: values, and rows by what names them. Pure; prose is not compared.

    before, now -> Changes(values=[lowest_price 412 -> 378], tables=[2 new, 1 gone, 3 other])

A row is known by a column whose texts differ from row to row and are found again in the other result: a title, an
address, a number of a flight. Where there is none the whole row is. The order of rows, and columns that tell when or
at which place something was seen, say nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ccdtasks.amounts import amount_text, change_text, counted, percent_text, unit_text
from ccdtasks.core.numbers import read_number
from ccdtasks.core.outcome.results import Cell, Result, Table, columns_of
from ccdtasks.core.text import clean_line

_LISTED = 20
"""So many rows of each kind are named; all are counted."""
_SHOWN_ROWS, _SHOWN_CELLS, _SHOWN_VALUES = 3, 3, 10
_LABEL = 80
_ABOUT_NOW = re.compile(
    r"(?:^|_| )(?:checked|scraped|seen|fetched|retrieved|timestamp|accessed|rank|position|row|index|no|nr)"
    r"(?:$|_| |\.)|^#$",
    re.IGNORECASE,
)
_NAMING = re.compile(
    r"(?:^|_| )(?:id|sku|asin|isbn|url|link|href|title|name|headline|product|item|flight|article|model|code)(?:$|_| )",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ValueChange:
    """A value that is another one now. `before` is None for a new one, `now` for one that is gone.

    `unit_before`: where it was counted in another unit, which nothing can be reckoned from.
    """

    name: str
    before: float | None
    now: float | None
    unit: str | None = None
    unit_before: str | None = None

    def text(self) -> str:
        """`lowest_price: $412 → $378 (−8 %)`."""
        if self.before is None:
            return f"{self.name}: {amount_text(self.now or 0, self.unit)} (new)"
        if self.now is None:
            return f"{self.name}: gone (was {amount_text(self.before, self.unit)})"
        if self.unit_before is not None:
            return f"{self.name}: {amount_text(self.before, self.unit_before)} → {amount_text(self.now, self.unit)}"
        return f"{self.name}: {change_text(self.before, self.now, self.unit)}"


@dataclass(frozen=True, slots=True)
class CellChange:
    """A cell that is another one now, as text."""

    column: str
    before: str
    now: str

    def text(self) -> str:
        """`price $412 → $378 (−8 %)`."""
        said = f"{self.column} {self.before or '—'} → {self.now or '—'}"
        old, new = read_number(self.before), read_number(self.now)
        share = percent_text(old[0], new[0]) if old and new and old[1] == new[1] else ""
        return f"{said} ({share})" if share else said


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row that was there before, with what is different. `row`: what names it."""

    row: str
    cells: tuple[CellChange, ...]

    def text(self) -> str:
        """`United 10:15: price $412 → $378 (−8 %)`."""
        more = len(self.cells) - _SHOWN_CELLS
        parts = [cell.text() for cell in self.cells[:_SHOWN_CELLS]] + ([f"{more} more"] if more > 0 else [])
        return f"{self.row}: {', '.join(parts)}"


@dataclass(frozen=True, slots=True)
class TableChange:
    """What became of a table's rows; the first few of each kind are named. `table` is None for the main one."""

    table: str | None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[RowChange, ...] = ()
    added_count: int = 0
    removed_count: int = 0
    changed_count: int = 0

    def lines(self) -> list[str]:
        """`2 new rows: United, Delta`."""
        where = f" in {self.table}" if self.table else ""
        said = []
        for count, what, names in (
            (self.added_count, "new", self.added),
            (self.removed_count, "gone", self.removed),
        ):
            if count:
                more = ", …" if count > _SHOWN_ROWS else ""
                said.append(f"{_rows(count, what)}{where}: {', '.join(names[:_SHOWN_ROWS])}{more}")
        said += [row.text() + where for row in self.changed[:_SHOWN_ROWS]]
        if self.changed_count > _SHOWN_ROWS:
            said.append(f"{_rows(self.changed_count - _SHOWN_ROWS, 'more')} changed{where}")
        return said


@dataclass(frozen=True, slots=True)
class Changes:
    """All of it, compared with the run `since_run_id`, which was done at `since_at`."""

    since_run_id: str
    since_at: datetime
    values: tuple[ValueChange, ...] = ()
    tables: tuple[TableChange, ...] = ()
    says_other: bool = False

    @property
    def is_empty(self) -> bool:
        """Nothing new."""
        return not (self.values or self.tables or self.says_other)

    @property
    def new_rows(self) -> int:
        """Rows that were not there before, in all tables."""
        return sum(each.added_count for each in self.tables)

    def lines(self) -> list[str]:
        """One line a change, what matters most first; empty when nothing is new."""
        said = [value.text() for value in self.values[:_SHOWN_VALUES]]
        if len(self.values) > _SHOWN_VALUES:
            said.append(f"{counted(len(self.values) - _SHOWN_VALUES, 'more value')} changed")
        said += [line for table in self.tables for line in table.lines()]
        return said or (["What it says is different."] if self.says_other else [])

    def as_json(self) -> dict[str, Any]:
        """As `task_runs.news` holds it."""
        return {**asdict(self), "since_at": self.since_at.isoformat()}


def compare(before: Result, now: Result, since_run_id: str, since_at: datetime) -> Changes:
    """What is different. Results without any values and rows are compared by what they say."""
    tables = tuple(
        change for name, old, new in _tables(before, now) if (change := _compare_tables(name, old, new)) is not None
    )
    has_data = any(result.values or result.items or result.tables for result in (before, now))
    says_other = not has_data and _words(before.summary) != _words(now.summary)
    return Changes(since_run_id, since_at, tuple(_compare_values(before, now)), tables, says_other)


def stored_changes(data: Mapping[str, Any] | None) -> Changes | None:
    """The changes in a run's `news`, None for a run that there was nothing to compare with."""
    found = (data or {}).get("changes")
    if not found:
        return None
    return Changes(
        found["since_run_id"],
        datetime.fromisoformat(found["since_at"]),
        tuple(ValueChange(**each) for each in found["values"]),
        tuple(
            TableChange(
                **{
                    **table,
                    "added": tuple(table["added"]),
                    "removed": tuple(table["removed"]),
                    "changed": tuple(
                        RowChange(row["row"], tuple(CellChange(**cell) for cell in row["cells"]))
                        for row in table["changed"]
                    ),
                }
            )
            for table in found["tables"]
        ),
        found["says_other"],
    )


def unchanged_text(changes: Changes, result: Result, at: datetime, timezone: str) -> str:
    """`Same as yesterday: $342.` by the calendar of the task's timezone."""
    zone = ZoneInfo(timezone)
    before, now = changes.since_at.astimezone(zone), at.astimezone(zone)
    days = (now.date() - before.date()).days
    when = "earlier today" if days <= 0 else "yesterday" if days == 1 else f"on {before.day} {before:%B}"
    main = next(iter(result.values.values()), None)
    return (
        f"Same as {when}: {amount_text(main.number, main.unit)}."
        if main
        else f"Nothing new since {when.removeprefix('on ')}."
    )


def _compare_values(before: Result, now: Result) -> Iterable[ValueChange]:
    for name, value in now.values.items():
        old = before.values.get(name)
        if old is None:
            yield ValueChange(name, None, value.number, value.unit)
        elif old.unit and value.unit and unit_text(old.unit) != unit_text(value.unit):
            yield ValueChange(name, old.number, value.number, value.unit, old.unit)
        elif old.number != value.number:
            yield ValueChange(name, old.number, value.number, value.unit or old.unit)
    for name, value in before.values.items():
        if name not in now.values:
            yield ValueChange(name, value.number, None, value.unit)


def _tables(before: Result, now: Result) -> Iterable[tuple[str | None, Table, Table]]:
    yield None, before.items, now.items
    for name in dict.fromkeys([*now.tables, *before.tables]):
        yield name, before.tables.get(name, []), now.tables.get(name, [])


def _compare_tables(name: str | None, before: Table, now: Table) -> TableChange | None:
    columns = [column for column in columns_of(before + now) if not _ABOUT_NOW.search(column)]
    key = _key(columns, before, now)
    if not key:
        return _compare_whole(name, columns, before, now)
    old, new = _by_key(key, before), _by_key(key, now)
    added = [_label(columns, row) for known, row in new.items() if known not in old]
    removed = [_label(columns, row) for known, row in old.items() if known not in new]
    changed = [
        RowChange(_label(columns, row), cells)
        for known, row in new.items()
        if known in old and (cells := _cells(columns, old[known], row))
    ]
    return _change(name, added, removed, changed)


def _compare_whole(name: str | None, columns: Sequence[str], before: Table, now: Table) -> TableChange | None:
    """Rows without a name of their own: each is the same, new or gone, as often as it is there."""
    old, new = (Counter(tuple(_word(row.get(column)) for column in columns) for row in rows) for rows in (before, now))
    added, removed = (
        [", ".join(part for part in row[:3] if part)[:_LABEL] or "—" for row in counts.elements()]
        for counts in (new - old, old - new)
    )
    return _change(name, added, removed, [])


def _change(
    name: str | None, added: Sequence[str], removed: Sequence[str], changed: Sequence[RowChange]
) -> TableChange | None:
    if not (added or removed or changed):
        return None
    kept = (tuple(added[:_LISTED]), tuple(removed[:_LISTED]), tuple(changed[:_LISTED]))
    return TableChange(name, *kept, len(added), len(removed), len(changed))


def _key(columns: Sequence[str], before: Table, now: Table) -> tuple[str, ...]:
    """The columns that name a row: one if it can be, two if need be; empty when no row has a name."""
    names = [column for column in columns if _can_name(column, before + now)]
    pairs = [(one, other) for place, one in enumerate(names[:5]) for other in names[place + 1 : 5]]
    for candidates in ([(column,) for column in names], pairs):
        good = []
        for place, key in enumerate(candidates):
            old, new = ([tuple(_word(row.get(column)) for column in key) for row in rows] for rows in (before, now))
            if len(set(old)) == len(old) and len(set(new)) == len(new):
                same = len(set(old) & set(new))
                good.append((same, sum(bool(_NAMING.search(column)) for column in key), -place, key))
        if good:
            return max(good)[-1]
    return ()


def _can_name(column: str, rows: Table) -> bool:
    """A column of words, or one that is called a name: prices and counts are no names."""
    cells = [row.get(column) for row in rows]
    if not any(cell not in (None, "") for cell in cells):
        return False
    if _NAMING.search(column):
        return True
    return not all(cell is None or _is_number(cell) for cell in cells)


def _is_number(cell: Cell) -> bool:
    return not isinstance(cell, str) or read_number(cell.strip()) is not None


def _by_key(key: Sequence[str], rows: Table) -> dict[tuple[str, ...], Mapping[str, Cell]]:
    return {tuple(_word(row.get(column)) for column in key): row for row in rows}


def _cells(columns: Sequence[str], before: Mapping[str, Cell], now: Mapping[str, Cell]) -> tuple[CellChange, ...]:
    return tuple(
        CellChange(column, old[:_LABEL], new[:_LABEL])
        for column in columns
        if (old := _word(before.get(column))) != (new := _word(now.get(column)))
    )[:_LISTED]


def _label(columns: Sequence[str], row: Mapping[str, Cell]) -> str:
    """What a person would call the row: its first words."""
    words = [_word(row.get(column)) for column in columns]
    named = next((word for column, word in zip(columns, words, strict=True) if word and _NAMING.search(column)), "")
    return clean_line(named or next((word for word in words if word and not _is_number(word)), "") or words[0], _LABEL)


def _word(cell: Cell) -> str:
    """A cell as text; what is not there is nothing, and `3.0` is `3`."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int | float):
        return amount_text(cell)
    return " ".join(cell.split())


def _words(prose: str) -> str:
    return " ".join(prose.split()).casefold()


def _rows(count: int, what: str) -> str:
    return f"{counted(count, 'row')} gone" if what == "gone" else counted(count, f"{what} row")
