"""The values of a task over its runs: what a chart beside a result shows, and which results still want one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from ccdtasks.amounts import amount_text, percent_text, unit_text
from ccdtasks.core.definition.taskconfig import read_config
from ccdtasks.core.outbox import Outbox
from ccdtasks.core.outcome.results import Result
from ccdtasks.core.outcome.resulttables import result_of
from ccdtasks.core.outcome.rules import Limit, limit_of
from ccdtasks.core.records.artifacts import ArtifactDraft, Artifacts
from ccdtasks.db import Database
from ccdtasks.db.models import RunValue, Task, TaskRun
from ccdtasks.events import Bus, MessagePending

CHART = "chart.png"
"""The file with the chart of a run's values."""

_POINTS = 365
_VALUES = 4
_WANTED: Any = literal_column("chart_wanted")  # no bound parameter, so that SQLite may use the partial index

Points = tuple[tuple[datetime, float], ...]


@dataclass(frozen=True, slots=True)
class Trend:
    """A value over the runs that had the same values of parameters, oldest first."""

    name: str
    unit: str | None
    points: Points


@dataclass(frozen=True, slots=True)
class Trends:
    """What a chart of a result shows; the first is the main value. `limit`: what the task's rule compares it with."""

    title: str
    trends: Sequence[Trend]
    limit: Limit | None
    timezone: str


class Charting:
    """Results whose chart is still to be drawn."""

    def __init__(self, db: Database, bus: Bus, outbox: Outbox, artifacts: Artifacts) -> None:
        self._db = db
        self._bus = bus
        self._outbox = outbox
        self._artifacts = artifacts

    async def wanted(self, limit: int = 20) -> Sequence[UUID]:
        """Runs whose values are to be drawn, the latest first: it is what somebody looks at now."""
        query = select(TaskRun.id).where(_WANTED).order_by(TaskRun.completed_at.desc()).limit(limit)
        async with self._db.read() as session:
            return (await session.scalars(query)).all()

    async def of(self, run_id: UUID) -> Trends | None:
        """The values of a run over the runs before it; None when there is nothing to compare them with."""
        async with self._db.read() as session:
            run = await session.get(TaskRun, run_id, options=[defer(TaskRun.result_data, raiseload=True)])
            if run is None:  # cleaned up meanwhile
                return None
            task = await session.get_one(Task, run.task_id)
            found = await result_of(session, run_id)
            if found is None or run.completed_at is None:
                return None
            limit = limit_of(read_config(task.config).notify, [*found[0].values], run.parameters)
            trends = [await _trend(session, run, name, found[0]) for name in _main_first(found[0], limit)]
        shown = [trend for trend in trends if len(trend.points) > 1]
        if not shown:
            return None
        limit = limit if limit and limit.value_name == shown[0].name else None
        return Trends(finding(shown[0]), shown, limit, task.schedule_timezone)

    async def drawn(self, run_id: UUID, chart: ArtifactDraft | None) -> bool:
        """Adds the chart to the run, and to its message; None: it could not be drawn, and is not tried again.

        False when the run was cleaned up meanwhile: then nobody knows of the file any more.
        """
        async with self._db.write() as session:
            await session.execute(update(TaskRun).where(TaskRun.id == run_id).values(chart_wanted=False))
            run = await session.get(TaskRun, run_id, options=[defer(TaskRun.result_data, raiseload=True)])
            if chart is not None and run is not None:
                await self._artifacts.add(session, run, run.session_id, [chart])
                for key in ("result", "card"):
                    await self._outbox.touch(session, run_id, key)
        if chart is not None:
            self._bus.publish(MessagePending(run_id))
        return run is not None


def finding(trend: Trend) -> str:
    """What the line says: `Lowest price, last 30 days: lowest so far`."""
    (began, _), (ended, now) = trend.points[0], trend.points[-1]
    numbers = [number for _, number in trend.points]
    before = numbers[-2]
    if now == min(numbers) and numbers.count(now) == 1:
        said = "lowest so far"
    elif now == max(numbers) and numbers.count(now) == 1:
        said = "highest so far"
    elif now == before:
        said = f"still {amount_text(now, trend.unit)}"
    else:
        said = percent_text(before, now) or f"{'up' if now > before else 'down'} to {amount_text(now, trend.unit)}"
    return f"{_title(trend.name)}, {_span(ended - began, len(numbers))}: {said}"


def _title(name: str) -> str:
    """`lowest_price` as people write it."""
    words = " ".join(name.replace("_", " ").split())
    return words[:1].upper() + words[1:60]


def _span(span: timedelta, count: int) -> str:
    days = round(span / timedelta(days=1))
    if span < timedelta(hours=36):
        return f"last {count} runs"
    return f"last {days} days" if days < 90 else f"last {round(days / 30.4)} months"


def _main_first(result: Result, limit: Limit | None) -> list[str]:
    """The values in order, what the rule is about in front."""
    main = [limit.value_name] if limit else []
    return [*dict.fromkeys([*main, *result.values])][:_VALUES]


async def _trend(session: AsyncSession, run: TaskRun, name: str, result: Result) -> Trend:
    query = (
        select(RunValue.at, RunValue.number, RunValue.unit, TaskRun.parameters)
        .join(TaskRun, TaskRun.id == RunValue.run_id)
        .where(RunValue.task_id == run.task_id, RunValue.name == name, RunValue.at <= run.completed_at)
        .order_by(RunValue.at.desc())
        .limit(_POINTS)
    )
    unit = result.values[name].unit
    rows = [
        (at, number)
        for at, number, of, values in await session.execute(query)
        if values == run.parameters and unit_text(of or unit) == unit_text(unit or of)
    ]
    return Trend(name, unit, tuple(reversed(rows)))
