"""Many rows in one statement: what is the same in all of them is prepared once, and the database is asked once.

SQLAlchemy prepares each value of each row, which takes longer than the database needs to write them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Dialect
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.db.models.base import Base

Rows = Sequence[Mapping[str, Any]]


async def insert_rows(session: AsyncSession, model: type[Base], rows: Rows, **same: Any) -> None:
    """Inserts `rows` of the same attributes in the caller's transaction; `same`: the attributes in which they agree.

    Attributes that neither names get their defaults, one value for all rows.
    """
    if rows:
        await session.flush()
        connection = await session.connection()
        many = _many(model, connection.dialect, rows, _defaults(model, rows[0]) | same)
        names, values = ", ".join(many.values), ", ".join(many.values.values())
        insert = f"INSERT INTO {model.__tablename__} ({names}) SELECT {values} {many.source}"
        await connection.exec_driver_sql(insert, many.parameters)


async def update_rows(session: AsyncSession, model: type[Base], rows: Rows, **same: Any) -> None:
    """Sets attributes of rows that are there, given as for `insert_rows`; each of `rows` has its `id`."""
    if rows:
        await session.flush()
        connection = await session.connection()
        many, table = _many(model, connection.dialect, rows, same), model.__tablename__
        which = many.values.pop('"id"')
        values = ", ".join(f"{name} = {value}" for name, value in many.values.items())
        update = f"UPDATE {table} SET {values} {many.source} WHERE {table}.id = {which}"  # noqa: S608  names of our own
        await connection.exec_driver_sql(update, many.parameters)


@dataclass(frozen=True, slots=True)
class _Many:
    """Parts of a statement over many rows. `values`: column -> the value it gets; `source`: where these come from."""

    values: dict[str, str]
    source: str
    parameters: Any


def _many(model: type[Base], dialect: Dialect, rows: Rows, same: Mapping[str, Any]) -> _Many:
    columns = [model.__mapper__.columns[name] for name in [*rows[0], *same]]
    ready = [_ready(column, dialect) for column in columns]
    each = [[prepare(row[name]) for row in rows] for name, prepare in zip(rows[0], ready, strict=False)]
    shared = [prepare(value) for value, prepare in zip(same.values(), ready[len(each) :], strict=True)]
    names = [f'"{column.name}"' for column in columns]
    if dialect.name == "sqlite":  # takes the statement once for each row
        marks = [f"?{at}" for at in range(1, len(names) + 1)]
        by_row = [(*row, *shared) for row in zip(*each, strict=True)]
        return _Many(dict(zip(names, marks, strict=True)), "", by_row)
    # Arrays of text: of any other array asyncpg first asks the server what it is, which takes it ten milliseconds.
    texts = [[None if value is None else str(value) for value in column] for column in each]
    types = [_cast(column, dialect) for column in columns]
    fields = [f"r.{name}" for name in names[: len(each)]] + [f"${at + 1}" for at in range(len(each), len(names))]
    values = {name: f"{field}::{type}" for name, field, type in zip(names, fields, types, strict=True)}
    arrays = ", ".join(f"${at}::TEXT[]" for at in range(1, len(each) + 1))
    source = f"FROM unnest({arrays}) AS r({', '.join(names[: len(each)])})"
    return _Many(values, source, (*texts, *shared))


def _defaults(model: type[Base], given: Mapping[str, Any]) -> dict[str, Any]:
    """What SQLAlchemy would put into the attributes that are not given."""
    defaults: dict[str, Any] = {name: column.default for name, column in model.__mapper__.columns.items()}
    left = {name: default for name, default in defaults.items() if default is not None and name not in given}
    return {name: default.arg if default.is_scalar else default.arg(None) for name, default in left.items()}


def _cast(column: Column[Any], dialect: Dialect) -> str:
    """The type that a value of this column is read as; VARCHAR(9) would cut what is too long, not refuse it."""
    type = column.type.compile(dialect)
    return "TEXT" if type.startswith("VARCHAR") else type


def _ready(column: Column[Any], dialect: Dialect) -> Callable[[Any], Any]:
    """How a value of this column is handed to the driver."""
    return column.type.dialect_impl(dialect).bind_processor(dialect) or _as_it_is


def _as_it_is(value: Any) -> Any:
    return value
