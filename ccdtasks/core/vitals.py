"""How the instance is, in numbers that a machine watches: read from few rows, however long the history is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Select, func, literal_column, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.counting import ALL
from ccdtasks.core.facts import Facts
from ccdtasks.core.sums import Sums
from ccdtasks.db import Database
from ccdtasks.db.models import (
    Artifact,
    DiscordMessage,
    MetricRollup,
    PushoverNotification,
    Session,
    Task,
    TaskRun,
)
from ccdtasks.times import Clock

_PENDING: Any = literal_column("'pending'")  # no bound parameter, so that SQLite may use the partial indexes
_LOCAL: Any = literal_column("'local'")


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits, and since when the oldest of it does."""

    count: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Vitals:
    """`total`: the sums of all runs that ever ended. `going`: state -> runs that have not ended.

    `overdue_s`: how long the schedule that is due first has been due. `backlogs`: messages, pushes and uploads.
    """

    total: Sums
    going: Mapping[str, int]
    sessions: int
    tasks: Mapping[str, int]
    overdue_s: float
    backlogs: Mapping[str, Backlog]
    holds: tuple[str, ...]
    database_bytes: int


class VitalSigns:
    """Reads them."""

    def __init__(self, db: Database, clock: Clock, facts: Facts) -> None:
        self._db = db
        self._clock = clock
        self._facts = facts

    async def read(self) -> Vitals:
        """As they are now."""
        now = self._clock.now()
        async with self._db.read() as session:
            total = Sums()
            months = select(MetricRollup).where(MetricRollup.scope == ALL, MetricRollup.period == "month")
            for row in await session.scalars(months):
                total.add(Sums.of_row(row))
            # counted here: for a GROUP BY SQLite would walk an index of all runs, and these are few
            going = await session.scalars(select(TaskRun.status).where(TaskRun.completed_at.is_(None)))
            next_at = await session.scalar(
                select(func.min(Task.next_run_at)).where(Task.enabled.is_(True), Task.paused.is_(False))
            )
            return Vitals(
                total=total,
                going=Counter(status.value for status in going),
                sessions=await session.scalar(select(func.count()).where(Session.removed_at.is_(None))) or 0,
                tasks=await _tasks(session),
                overdue_s=max(0.0, (now - next_at).total_seconds()) if next_at else 0.0,
                backlogs=await _backlogs(session, now),
                holds=tuple(sorted(await self._facts.holds_in(session))),
                database_bytes=await self._size(session),
            )

    async def _size(self, session: AsyncSession) -> int:
        if self._db.path is None:
            return int(await session.scalar(text("SELECT pg_database_size(current_database())")) or 0)
        pages = await session.scalar(text("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"))
        return int(pages or 0) + _bytes(Path(f"{self._db.path}-wal"))


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


async def _tasks(session: AsyncSession) -> dict[str, int]:
    query = select(Task.paused, func.count()).where(Task.deleted_at.is_(None)).group_by(Task.paused)
    counts = {"active": 0, "paused": 0}
    for is_paused, count in await session.execute(query):
        counts["paused" if is_paused else "active"] += count
    return counts


async def _backlogs(session: AsyncSession, now: datetime) -> dict[str, Backlog]:
    waiting: dict[str, Select[Any]] = {
        "messages": _oldest(DiscordMessage).where(DiscordMessage.state == _PENDING),
        "pushes": _oldest(PushoverNotification).where(PushoverNotification.success.is_(None)),
        "uploads": _oldest(Artifact).where(Artifact.state == _LOCAL),
    }
    backlogs = {}
    for name, query in waiting.items():
        count, oldest = (await session.execute(query)).one()
        backlogs[name] = Backlog(count, max(0.0, (now - oldest).total_seconds()) if oldest else 0.0)
    return backlogs


def _oldest(model: Any) -> Select[Any]:
    return select(func.count(), func.min(model.created_at))
