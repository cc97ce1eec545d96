"""The tables of a result, a page at a time.

The database itself counts, sorts out and hands over rows, so that a result of many megabytes is never read whole.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, Text, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.numbers import read_number
from ccdtasks.core.outcome.results import Cell, Result, stored_result

_SORTED_BY = 100
"""Rows are put in order by so many characters of a cell."""

_DIGITS = re.compile(r"(\d+)")

_TABLES = {
    "sqlite": """
        WITH tables(place, name, rows) AS (
            SELECT 0, NULL, json_extract(result_data, '$.items') FROM task_runs WHERE id = :run
            UNION ALL
            SELECT row_number() OVER (ORDER BY t.id), t.key, t.value
            FROM task_runs r, json_each(r.result_data, '$.tables') t WHERE r.id = :run)""",
    "postgresql": """
        WITH tables(place, name, rows) AS (
            SELECT 0, NULL, result_data -> 'items' FROM task_runs WHERE id = :run
            UNION ALL
            SELECT t.place::int, t.key, t.value FROM task_runs r,
            jsonb_each(r.result_data -> 'tables') WITH ORDINALITY t(key, value, place) WHERE r.id = :run)""",
}
_REST = {
    "sqlite": "SELECT json_remove(result_data, '$.items', '$.tables') FROM task_runs WHERE id = :run",
    "postgresql": "SELECT CAST(result_data - 'items' - 'tables' AS text) FROM task_runs WHERE id = :run",
}
_COUNTS = {
    "sqlite": "SELECT place, name, json_array_length(rows) FROM tables ORDER BY place",
    "postgresql": "SELECT place, name, jsonb_array_length(rows) FROM tables ORDER BY place",
}
_COLUMNS = {
    "sqlite": """
        SELECT c.key FROM tables t, json_each(t.rows) r, json_each(r.value) c WHERE t.place = :place
        GROUP BY c.key ORDER BY min(r.key * 1000 + c.id)""",
    "postgresql": """
        SELECT c.key FROM tables t, jsonb_array_elements(t.rows) WITH ORDINALITY r(cells, place),
        jsonb_object_keys(r.cells) WITH ORDINALITY c(key, place) WHERE t.place = :place
        GROUP BY c.key ORDER BY min(r.place * 1000 + c.place)""",
}
_CELLS = {
    "sqlite": """
        SELECT json_group_array(json_array(r.key, substr(c.atom, 1, :most)))
        FROM tables t, json_each(t.rows) r, json_each(r.value) c WHERE t.place = :place AND c.key = :column""",
    "postgresql": """
        SELECT CAST(jsonb_agg(jsonb_build_array(r.place - 1, left(r.cells ->> :column, :most))) AS text)
        FROM tables t, jsonb_array_elements(t.rows) WITH ORDINALITY r(cells, place) WHERE t.place = :place""",
}
_ROWS = {
    "sqlite": """
        SELECT r.key, r.value FROM tables t, json_each(t.rows) r WHERE t.place = :place AND r.key IN :places""",
    "postgresql": """
        SELECT r.place - 1, CAST(r.cells AS text) FROM tables t,
        jsonb_array_elements(t.rows) WITH ORDINALITY r(cells, place)
        WHERE t.place = :place AND r.place - 1 IN :places""",
}


@dataclass(frozen=True, slots=True)
class Outline:
    """A table without its rows. `place`: its number; 0 is the main one (`items`), which has no name."""

    place: int
    name: str | None
    count: int
    columns: Sequence[str]


@dataclass(frozen=True, slots=True)
class Order:
    """In which order rows are shown: by the column of that number, else as they were found."""

    column: int | None = None
    is_descending: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a table from `start` (0 is the first) on, in `order`."""

    outline: Outline
    order: Order
    start: int
    rows: Sequence[dict[str, Cell]]


async def result_of(session: AsyncSession, run_id: UUID) -> tuple[Result, list[Outline]] | None:
    """A run's result without its tables, and what tables it has; None for a run that has no result."""
    rest = (await _ask(session, _REST, run_id)).scalar_one_or_none()
    if not rest:
        return None
    found = json.loads(rest)
    known = dict(found.get("columns") or ())
    outlines = [
        Outline(place, name, count, known.get(name) or await _columns(session, run_id, place))
        for place, name, count in await _ask(session, _COUNTS, run_id, of_tables=True)
        if count
    ]
    listed = [*known]
    outlines.sort(key=lambda each: listed.index(each.name) if each.name in known else each.place)
    result = stored_result(found)
    return (result, outlines) if result else None


async def rows_of(
    session: AsyncSession, run_id: UUID, outline: Outline, *, order: Order, start: int, limit: int
) -> Rows:
    """The rows from `start` on; a start beyond the end shows the last ones, a column that is not there no order."""
    if order.column is not None and order.column >= len(outline.columns):
        order = Order()
    start = max(0, min(start, outline.count - 1))
    places: Sequence[int] = range(start, min(start + limit, outline.count))
    if order.column is not None:
        wanted = {"place": outline.place, "column": outline.columns[order.column], "most": _SORTED_BY}
        answer = await _ask(session, _CELLS, run_id, of_tables=True, **wanted)
        cells = answer.scalar_one() or "[]"
        places = (await asyncio.to_thread(_places, cells, outline.count, order.is_descending))[start : start + limit]
    answer = await _ask(session, _ROWS, run_id, of_tables=True, place=outline.place, places=[*places])
    found = {place: json.loads(row) for place, row in answer}
    return Rows(outline, order, start, [found[place] for place in places if place in found])


def _places(cells: str, count: int, is_descending: bool) -> list[int]:
    """The numbers of the rows in order of a column's cells; rows without a cell come last either way."""
    known = {place: str(cell).strip() for place, cell in json.loads(cells) if cell not in (None, "")}
    numbers = {place: read_number(cell) for place, cell in known.items()}
    units = {number[1] for number in numbers.values() if number}
    if None not in numbers.values() and len(units) <= 1:
        filled = sorted(known, key=lambda place: (numbers[place] or (0.0,))[0], reverse=is_descending)
    else:
        filled = sorted(known, key=lambda place: _natural(known[place]), reverse=is_descending)
    return filled + [place for place in range(count) if place not in known]


def _natural(cell: str) -> list[tuple[int, int, str]]:
    """Words in the order of a telephone book, numbers within them by size."""
    parts = _DIGITS.split(cell.casefold())
    return [(1, int(part), "") if place % 2 else (0, 0, part) for place, part in enumerate(parts)]


async def _columns(session: AsyncSession, run_id: UUID, place: int) -> list[str]:
    """The columns of a table whose result does not list them."""
    return [key for (key,) in await _ask(session, _COLUMNS, run_id, of_tables=True, place=place)]


async def _ask(
    session: AsyncSession, statements: dict[str, str], run_id: UUID, *, of_tables: bool = False, **values: Any
) -> Any:
    dialect = (await session.connection()).dialect.name
    binds: list[Any] = [bindparam("run", run_id, type_=Uuid())]
    kinds: dict[str, Any] = {"place": Integer(), "most": Integer(), "column": Text()}
    for name, value in values.items():
        is_list = isinstance(value, list)
        binds.append(bindparam(name, value, type_=Integer() if is_list else kinds[name], expanding=is_list))
    statement = (_TABLES[dialect] if of_tables else "") + statements[dialect]
    return await session.execute(text(statement).bindparams(*binds))
