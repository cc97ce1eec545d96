"""How tasks do over time: sums of runs by day and month, the course of a result's numbers, and nothing that adds up a
history: each answer reads a bounded number of rows, however many runs there were."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.config import Config
from ccdtasks.core.access import Access, Actor
from ccdtasks.core.definition.taskconfig import read_config
from ccdtasks.core.outcome.rules import Limit, limit_of
from ccdtasks.core.records.counting import ALL, Ended, Tally, scope_of_owner, scope_of_task
from ccdtasks.core.records.sums import COUNTED, Sums
from ccdtasks.core.tasks.tasks import Tasks
from ccdtasks.core.text import clean_line
from ccdtasks.db import Database
from ccdtasks.db.bulk import among
from ccdtasks.db.enums import RunStatus
from ccdtasks.db.models import MetricRollup, RunValue, Task, TaskRun
from ccdtasks.errors import NotFound
from ccdtasks.times import Clock

Timeframe = Literal["day", "week", "month", "all"]
"""Today, the last 7 days, the last 30 days, or everything; days of the task's timezone."""

_DAYS: dict[Timeframe, int] = {"day": 1, "week": 7, "month": 30}
_SHOWN_DAYS_MIN = 7
_MONTHS_MAX = 600
_POINTS_MAX = 2000
_RECENT_RUNS = 50
_COUNTED_AT_ONCE = 1000
_READ_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Period:
    """One day or one month, and the sums of the runs that ended in it."""

    starts_on: date
    sums: Sums


@dataclass(frozen=True, slots=True)
class Report:
    """The sums of a timeframe, and its course by day (by month for `all`), oldest first, without gaps.

    `task` is None for all tasks. `is_counting`: older runs are still being added to the sums.
    """

    task: Task | None
    timeframe: Timeframe
    timezone: str
    total: Sums
    periods: Sequence[Period]
    is_counting: bool


@dataclass(frozen=True, slots=True)
class Series:
    """One number of a task's results over time, oldest first; `unit` is that of the latest.

    `is_cut`: there are more than the newest 2,000, which these are. `threshold`: what the latest result is measured by.
    """

    task: Task
    name: str
    unit: str | None
    points: Sequence[tuple[datetime, float]]
    is_cut: bool
    threshold: Limit | None = None


class Metrics:
    """The figures of tasks."""

    def __init__(self, *, db: Database, clock: Clock, config: Config, access: Access, tasks: Tasks) -> None:
        self._db = db
        self._clock = clock
        self._access = access
        self._tasks = tasks
        self._timezone = config.schedule.timezone

    async def of(self, actor: Actor, task_name: str | None = None, timeframe: Timeframe = "month") -> Report:
        """The figures of one task, or of all that the actor may see."""
        self._access.require_use(actor)
        async with self._db.read() as session:
            task = await self._tasks.find_in(session, actor, task_name) if task_name is not None else None
            timezone = task.schedule_timezone if task else self._timezone
            today = self._clock.now().astimezone(ZoneInfo(timezone)).date()
            scope = scope_of_task(task.id) if task else self._scope_of(actor)
            rows = await _read(session, scope, timeframe, today)
            is_counting = await session.scalar(_uncounted(select(TaskRun.id), 1)) is not None
        total = Sums()
        since = today - timedelta(days=_DAYS.get(timeframe, 0) - 1)
        for starts_on, sums in rows.items():
            if timeframe == "all" or starts_on >= since:
                total.add(sums)
        return Report(task, timeframe, timezone, total, _without_gaps(rows, timeframe, today), is_counting)

    async def series(self, actor: Actor, task_name: str, value: str, timeframe: Timeframe = "month") -> Series:
        """The course of one number of a task's results. Raises NotFound, which names those that there are."""
        self._access.require_use(actor)
        async with self._db.read() as session:
            task = await self._tasks.find_in(session, actor, task_name)
            columns = (RunValue.at, RunValue.number, RunValue.unit, RunValue.run_id)
            query = select(*columns).where(RunValue.task_id == task.id, RunValue.name == clean_line(value, 200))
            if timeframe != "all":
                query = query.where(RunValue.at >= self._since(task, timeframe))
            found = (await session.execute(query.order_by(RunValue.at.desc()).limit(_POINTS_MAX + 1))).all()
            if not found:
                raise await self._no_value(session, task, value, timeframe)
            latest = await session.scalar(select(TaskRun.parameters).where(TaskRun.id == found[0].run_id))
        unit, name = found[0].unit, clean_line(value, 200)
        points = [(at, number) for at, number, its_unit, _ in reversed(found[:_POINTS_MAX]) if its_unit == unit]
        limit = limit_of(read_config(task.config).notify, [name], latest or {})
        return Series(task, name, unit, points, len(found) > _POINTS_MAX, limit)

    async def value_names(self, actor: Actor, task_name: str, typed: str = "", limit: int = 25) -> list[str]:
        """The names of numbers in the task's latest results that contain what was typed."""
        async with self._db.read() as session:
            task = await self._tasks.find_in(session, actor, task_name)
            names = await _names(session, task.id)
        return [name for name in names if typed.casefold() in name.casefold()][:limit]

    async def catch_up(self, limit: int = _COUNTED_AT_ONCE) -> int:
        """Adds runs that ended before there were sums, the newest first; returns how many were added."""
        async with self._db.read() as session:
            ended = await _ended(session, limit)
        if not ended:
            return 0
        tally = await asyncio.to_thread(Tally.of, ended, self._timezone)
        async with self._db.write() as session:
            ids = [each.run.id for each in ended]
            mine = update(TaskRun).where(among(TaskRun.id, "ids"), TaskRun.counted_at.is_(None))
            mine = mine.values(counted_at=self._clock.now()).returning(TaskRun.id)
            counted = set(await (await session.connection()).scalars(mine, {"ids": ids}))
            if len(counted) < len(ids):  # somebody else counted or removed some meanwhile
                tally = Tally.of([each for each in ended if each.run.id in counted], self._timezone)
            await tally.write(session)
        return len(counted)

    def _scope_of(self, actor: Actor) -> str:
        return ALL if self._access.is_admin(actor) else scope_of_owner(actor.user_id)

    def _since(self, task: Task, timeframe: Timeframe) -> datetime:
        zone = ZoneInfo(task.schedule_timezone)
        first = self._clock.now().astimezone(zone).date() - timedelta(days=_DAYS[timeframe] - 1)
        return datetime.combine(first, time.min, zone)

    async def _no_value(self, session: AsyncSession, task: Task, value: str, timeframe: Timeframe) -> NotFound:
        known = await _names(session, task.id)
        if clean_line(value, 200) in known:
            return NotFound(f"{task.task_name} had no {clean_line(value, 80)} in that time.", "try a longer timeframe")
        hint = f"it has {', '.join(known[:10])}" if known else "its results have had no numbers so far"
        return NotFound(f"{task.task_name} has no value {clean_line(value, 80)}.", hint)


async def _read(session: AsyncSession, scope: str, timeframe: Timeframe, today: date) -> dict[date, Sums]:
    query = select(MetricRollup).where(MetricRollup.scope == scope)
    if timeframe == "all":
        query = query.where(MetricRollup.period == "month")
    else:
        since = today - timedelta(days=max(_DAYS[timeframe], _SHOWN_DAYS_MIN) - 1)
        query = query.where(MetricRollup.period == "day", MetricRollup.starts_on >= since)
    rows = await session.scalars(query.order_by(MetricRollup.starts_on.desc()).limit(_MONTHS_MAX))
    return {row.starts_on: Sums.of_row(row) for row in reversed(rows.all())}


def _without_gaps(rows: dict[date, Sums], timeframe: Timeframe, today: date) -> list[Period]:
    """A day or month without a run is one with nothing in it."""
    if timeframe == "all":
        starts = _months(min(rows, default=today.replace(day=1)), today)
    else:
        days = max(_DAYS[timeframe], _SHOWN_DAYS_MIN)
        starts = [today - timedelta(days=back) for back in reversed(range(days))]
    return [Period(start, rows.get(start) or Sums()) for start in starts]


def _months(first: date, last: date) -> list[date]:
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    numbers = [first.year * 12 + first.month - 1 + more for more in range(max(1, count))]
    return [date(number // 12, number % 12 + 1, 1) for number in numbers]


async def _names(session: AsyncSession, task_id: UUID) -> list[str]:
    recent = (
        select(TaskRun.id)
        .where(TaskRun.task_id == task_id, TaskRun.status == RunStatus.COMPLETED)
        .order_by(TaskRun.created_at.desc())
        .limit(_RECENT_RUNS)
    )
    return sorted(await session.scalars(select(RunValue.name).where(RunValue.run_id.in_(recent)).distinct()))


async def _ended(session: AsyncSession, limit: int) -> list[Ended]:
    """Runs that are not in the sums, read in small parts, so that others get their turn on the loop."""
    columns = [getattr(TaskRun, name) for name in COUNTED]
    values = TaskRun.result_data["values"].label("found")
    query = select(*columns, Task.schedule_timezone, values).join(Task, Task.id == TaskRun.task_id)
    found = await session.stream(_uncounted(query, limit).execution_options(yield_per=_READ_AT_ONCE))
    return [Ended(row, row.schedule_timezone, row.found) async for part in found.partitions() for row in part]


def _uncounted(query: Select[Any], limit: int) -> Select[Any]:
    """Narrows `query` to runs that ended before there were sums, which a partial index finds."""
    return (
        query.where(TaskRun.counted_at.is_(None), TaskRun.completed_at.is_not(None))
        .order_by(TaskRun.completed_at.desc())
        .limit(limit)
    )
