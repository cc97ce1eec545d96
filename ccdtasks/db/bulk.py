"""Many rows in one statement: what is the same in all of them is prepared once, and the database is asked once.

SQLAlchemy prepares each value of each row, which takes longer than the database needs to write them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Column, ColumnElement, Dialect, Text, TypeDecorator, bindparam
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from ccdtasks.db.models.base import Base

Rows = Sequence[Mapping[str, Any]]


def among(column: InstrumentedAttribute[UUID], parameter: str) -> ColumnElement[bool]:
    """Whether an id is one of those in the list that is given as `parameter`.

    Unlike `column.in_(...)` the statement is the same for any number of them.
    """
    return _Among(column, bindparam(parameter, type_=_Ids))


class _Ids(TypeDecorator[Sequence[UUID]]):
    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Sequence[UUID] | None, dialect: Dialect) -> str:
        ids = value or ()
        if dialect.name == "sqlite":
            return json.dumps([each.hex for each in ids])
        return "{" + ",".join(str(each) for each in ids) + "}"


class _Among(FunctionElement[bool]):
    inherit_cache = True
    type = Boolean()


@compiles(_Among, "sqlite")
def _in_json(element: _Among, compiler: SQLCompiler, **kw: Any) -> str:
    column, ids = (compiler.process(each, **kw) for each in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({ids}))"  # noqa: S608  parts that are compiled already


@compiles(_Among, "postgresql")
def _in_array(element: _Among, compiler: SQLCompiler, **kw: Any) -> str:
    column, ids = (compiler.process(each, **kw) for each in element.clauses)
    return f"{column} = ANY (CAST({ids} AS UUID[]))"


@dataclass(frozen=True, slots=True)
class Insert:
    """New rows of the same attributes; `same`: those in which they agree.

    Attributes that neither names get their defaults, one value for all rows.
    """

    model: type[Base]
    rows: Rows
    same: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Update:
    """Attributes of rows that are there, given as for `Insert`; each of `rows` has its `id`."""

    model: type[Base]
    rows: Rows
    same: Mapping[str, Any] = field(default_factory=dict)


async def write_rows(session: AsyncSession, *changes: Insert | Update) -> None:
    """Makes the changes in the caller's transaction; none of them touches what another one writes."""
    await session.flush()
    connection = await session.connection()
    changes = tuple(change for change in changes if change.rows)
    if connection.dialect.name == "sqlite":
        for change in changes:
            statement, by_row = _for_each(change, connection.dialect)
            await connection.exec_driver_sql(statement, by_row)
    elif changes:
        await connection.exec_driver_sql(*_at_once(changes, connection.dialect))


def _for_each(change: Insert | Update, dialect: Dialect) -> tuple[str, Any]:
    """A statement that SQLite takes once for each row, and what it takes."""
    own, shared = _prepared(change, dialect)
    marks = {_quoted(column): f"?{at}" for at, column in enumerate([*own, *shared], 1)}
    by_row = [(*row, *shared.values()) for row in zip(*own.values(), strict=True)]
    return _statement(change, marks, ""), by_row


def _at_once(changes: Sequence[Insert | Update], dialect: Dialect) -> tuple[str, Any]:
    """One statement for all changes: asking PostgreSQL one by one takes longer than it needs for the rows."""
    statements, parameters = [], list[Any]()
    for change in changes:
        own, shared = _prepared(change, dialect)
        first, names = len(parameters) + 1, [_quoted(column) for column in own]
        # Arrays of text: of any other array asyncpg first asks the server what it is, which takes it ten milliseconds.
        parameters += [[None if value is None else str(value) for value in values] for values in own.values()]
        arrays = ", ".join(f"${at}::TEXT[]" for at in range(first, len(parameters) + 1))
        fields = [f"r.{name}" for name in names]
        fields += [f"${at}" for at in range(len(parameters) + 1, len(parameters) + 1 + len(shared))]
        parameters += shared.values()
        columns = [*own, *shared]
        values = {
            _quoted(column): f"{at}::{_cast(column, dialect)}" for column, at in zip(columns, fields, strict=True)
        }
        statements.append(_statement(change, values, f"FROM unnest({arrays}) AS r({', '.join(names)})"))
    *before, last = statements
    parts = [f"change{at} AS ({statement})" for at, statement in enumerate(before)]
    return (f"WITH {', '.join(parts)} {last}" if parts else last), tuple(parameters)


def _statement(change: Insert | Update, values: Mapping[str, str], source: str) -> str:
    """`values`: column -> what it gets; `source`: where that comes from."""
    table = change.model.__tablename__
    if isinstance(change, Insert):
        return f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())} {source}"
    sets = ", ".join(f"{name} = {value}" for name, value in values.items() if name != '"id"')
    which = values['"id"']
    return f"UPDATE {table} SET {sets} {source} WHERE {table}.id = {which}"  # noqa: S608  names of our own


def _prepared(change: Insert | Update, dialect: Dialect) -> tuple[dict[Column[Any], list[Any]], dict[Column[Any], Any]]:
    """Column -> its values in all rows, and column -> the one value that all of them get, as the driver takes them."""
    columns, rows, same = change.model.__mapper__.columns, change.rows, dict(change.same)
    if isinstance(change, Insert):
        same = _defaults(change.model, rows[0]) | same
    ready = {name: _ready(columns[name], dialect) for name in [*rows[0], *same]}
    own = {columns[name]: [ready[name](row[name]) for row in rows] for name in rows[0]}
    return own, {columns[name]: ready[name](value) for name, value in same.items()}


def _quoted(column: Column[Any]) -> str:
    return f'"{column.name}"'


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
