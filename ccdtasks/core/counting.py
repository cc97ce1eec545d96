"""Adds runs that have ended to the sums by day and month, each run once, in the transaction of its end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.sums import NAMES, Sums
from ccdtasks.db.bulk import Insert, write_rows
from ccdtasks.db.enums import RunStatus
from ccdtasks.db.models import MetricRollup, RunValue, Task, TaskRun

ALL = "all"

_Key = tuple[str, str, date]
_KEY = (MetricRollup.scope, MetricRollup.period, MetricRollup.starts_on)


def scope_of_task(task_id: UUID) -> str:
    """The `scope` of one task's rows."""
    return f"task:{task_id}"


def scope_of_owner(user_id: str) -> str:
    """The `scope` of the rows of everything that belongs to somebody."""
    return f"owner:{user_id}"


async def count_runs(
    session: AsyncSession, ended: Iterable[tuple[TaskRun, Task, object]], timezone: str, now: datetime
) -> None:
    """Adds runs, each with its task and the `values` of its result, to the sums, unless they were added already.

    `timezone`: of days that belong to no one task. Two transactions may do so at once: rows are made first, and then
    locked in one order.
    """
    sums: dict[_Key, Sums] = {}
    numbers: list[dict[str, object]] = []
    for run, task, values in ended:
        if run.counted_at is not None or run.completed_at is None:
            continue
        run.counted_at = now
        own = Sums.of(run)
        if own.runs:
            for key in _keys(run, task, run.completed_at, timezone):
                sums.setdefault(key, Sums()).add(own)
        if run.status is RunStatus.COMPLETED:
            numbers += _numbers(run, values)
    if sums:
        await _add(session, sums)
    if numbers:
        await write_rows(session, Insert(RunValue, numbers))


def _keys(run: TaskRun, task: Task, at: datetime, timezone: str) -> list[_Key]:
    scopes = (
        (scope_of_task(task.id), task.schedule_timezone),
        (scope_of_owner(run.owner_user_id), timezone),
        (ALL, timezone),
    )
    days = ((scope, at.astimezone(ZoneInfo(zone)).date()) for scope, zone in scopes)
    return [key for scope, day in days for key in ((scope, "day", day), (scope, "month", day.replace(day=1)))]


async def _add(session: AsyncSession, sums: Mapping[_Key, Sums]) -> None:
    make = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    keys = sorted(sums)
    empty = Sums().as_columns()
    named = [dict(zip(("scope", "period", "starts_on"), key, strict=True)) for key in keys]
    table = MetricRollup.__table__
    await session.execute(make(table).on_conflict_do_nothing(), [{**key, **empty} for key in named])  # type: ignore[arg-type]
    query = select(MetricRollup).where(tuple_(*_KEY).in_(keys)).order_by(*_KEY)
    rows = await session.scalars(query.with_for_update().execution_options(populate_existing=True))
    for row in rows:
        total = Sums.of_row(row)
        total.add(sums[row.scope, row.period, row.starts_on])
        for name in NAMES:
            setattr(row, name, getattr(total, name))


def _numbers(run: TaskRun, values: object) -> list[dict[str, object]]:
    """The numbers of a result as rows. What is no number is left out: a run must end whatever its result says."""
    rows: list[dict[str, object]] = []
    for name, value in values.items() if isinstance(values, Mapping) else ():
        number = _number(value.get("number")) if isinstance(value, Mapping) else None
        if number is not None:
            unit = str(value.get("unit") or "")[:40] or None
            own = {"run_id": run.id, "task_id": run.task_id, "at": run.completed_at}
            rows.append({**own, "name": str(name)[:200], "number": number, "unit": unit})
    return rows


def _number(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
