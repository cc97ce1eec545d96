"""An upgrade from each released schema with rows of every kind and state in it, as long use leaves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from ccdtasks.app import open_core
from ccdtasks.config import Config, DatabaseConfig, PathsConfig
from ccdtasks.core.access import SHELL
from ccdtasks.core.states import FINAL
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.db.migrate import OURS, Chain, bring_up_to_date
from ccdtasks.db.models import Base
from ccdtasks.db.types import EnumText, Json, UtcDateTime
from tests.clock import MoveableClock

NOW = datetime(2026, 1, 17, 15, 30, tzinfo=UTC)
ROWS = max(len(Reason), len(RunStatus))
"""In each table, so that every status and every reason comes at least once."""

CHANGED = {("tasks", "pushover_enabled")}
"""On purpose: until 0002 the switch had no effect."""

Row = Mapping[str, Any]


def _rows(table: sa.Table, columns: list[sa.Column[Any]]) -> list[dict[str, Any]]:
    rows = [{column.name: _value(table, column, number) for column in columns} for number in range(ROWS)]
    for number, row in enumerate(rows):
        if table.name == "task_runs":  # whose session is written later: they refer to each other
            row |= {"session_id": None, "completed_at": row["completed_at"] if row["status"] in FINAL else None}
        elif table.name == "tasks" and number % 4:
            row["deleted_at"] = None
    return rows


def _value(table: sa.Table, column: sa.Column[Any], number: int) -> Any:
    """Something that fits the column; another one in each row, and for each word of a closed list."""
    if column.foreign_keys:
        return _reference(table, column, number)
    if isinstance(column.type, EnumText):
        words = [*column.type.enum]
        return words[number % len(words)]
    if column.default is not None and (column.type is Json or column.default.is_scalar):
        return column.default.arg(None) if column.default.is_callable else column.default.arg
    return next(make(table.name, number) for kind, make in _MADE.items() if isinstance(column.type, kind))


def _reference(table: sa.Table, column: sa.Column[Any], number: int) -> UUID | None:
    """The row of the same number; another one where a table refers to one of its own rows or to two of a table."""
    target = next(iter(column.foreign_keys)).column.table
    if target is table:
        return None
    others = [other for other in table.columns if other.references(target.c.id)]
    return _id(target.name, (number + others.index(column)) % ROWS)


def _id(table: str, number: int) -> UUID:
    return uuid5(UUID(int=0), f"{table}:{number}")


_MADE: dict[type[sa.types.TypeEngine[Any]], Callable[[str, int], Any]] = {
    sa.Uuid: _id,
    UtcDateTime: lambda _, number: NOW - timedelta(minutes=number),
    sa.Boolean: lambda _, number: number % 2 == 0,
    sa.Numeric: lambda _, number: number % 10,
    sa.Integer: lambda _, number: number,
    sa.JSON: lambda _, number: {},
    sa.String: lambda _, number: f"{number}",
}


async def _fill(url: str) -> dict[str, list[Row]]:
    """Rows in every table of the schema as it is; what was written, by table, as it reads."""
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.begin() as connection:
        there = await connection.run_sync(_columns)
        for table in Base.metadata.sorted_tables:
            if table.name in there:
                bare = sa.table(table.name, *(sa.column(each.name, each.type) for each in there[table.name]))
                await connection.execute(bare.insert(), _rows(table, there[table.name]))
        latest = "UPDATE task_runs SET session_id = (SELECT id FROM sessions WHERE run_id = task_runs.id)"
        await connection.execute(sa.text(latest))
        written = {name: await _read(connection, columns) for name, columns in there.items()}
    await engine.dispose()
    return written


async def _read_again(url: str, written: Mapping[str, list[Row]]) -> dict[str, list[Row]]:
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        found = {
            name: await _read(connection, [Base.metadata.tables[name].c[column] for column in rows[0]])
            for name, rows in written.items()
        }
    await engine.dispose()
    return found


def _columns(connection: sa.Connection) -> dict[str, list[sa.Column[Any]]]:
    """The tables and columns of the models that are there by now."""
    inspector = sa.inspect(connection)
    tables = Base.metadata.tables
    return {
        name: [tables[name].c[column["name"]] for column in inspector.get_columns(name)]
        for name in inspector.get_table_names()
        if name in tables
    }


async def _read(connection: Any, columns: list[sa.Column[Any]]) -> list[Row]:
    kept = [column for column in columns if (column.table.name, column.name) not in CHANGED]
    rows = (await connection.execute(sa.select(*kept))).mappings()
    return sorted((dict(row) for row in rows), key=lambda row: [str(value) for value in row.values()])


@pytest.mark.parametrize("revisions", [OURS.revisions[: end + 1] for end in range(len(OURS.revisions) - 1)])
async def test_rows_of_every_state_are_the_same_after_an_upgrade_and_of_use(
    revisions: tuple[str, ...], empty_database_url: str, data_dir: Path, clock: MoveableClock
) -> None:
    await bring_up_to_date(empty_database_url, data_dir / "b", NOW, chain=Chain(revisions, OURS.location))
    written = await _fill(empty_database_url)
    assert len(written) >= 20
    assert {row["status"] for row in written["task_runs"]} == {*RunStatus}

    config = Config(database=DatabaseConfig(url=empty_database_url), paths=PathsConfig(data_dir=data_dir))
    async with open_core(config, clock) as core:
        assert await _read_again(empty_database_url, written) == written
        assert len((await core.runs.page(SHELL, limit=50)).rows) == ROWS
        assert len((await core.tasks.page(SHELL, limit=50)).rows) > 0
        for row in written["task_runs"]:
            view = await core.runs.load(row["id"])
            assert (view.run.status, view.session is not None) == (row["status"], True)
        await core.claims.open()
        await core.vitals.read()
        ended = sum(row["status"] in FINAL for row in written["task_runs"])
        assert await core.metrics.catch_up(100) == ended
