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

from ccdtasks.core.facts import Facts
from ccdtasks.core.records.counting import ALL
from ccdtasks.core.records.sums import NAMES, Sums
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
        """As they are now; in four questions, since on a busy machine each costs a turn of its own."""
        now = self._clock.now()
        async with self._db.read() as session:
            total = await _total(session)
            # counted here: for a GROUP BY SQLite would walk an index of all runs, and these are few
            going = await session.scalars(select(TaskRun.status).where(TaskRun.completed_at.is_(None)))
            counts = (await session.execute(_COUNTS)).one()._mapping
            return Vitals(
                total=total,
                going=Counter(status.value for status in going),
                sessions=counts["sessions"],
                tasks={state: counts[state] for state in _TASKS},
                overdue_s=_since(counts["next_at"], now),
                backlogs={kind: Backlog(counts[kind], _since(counts[f"{kind}_since"], now)) for kind in _WAITING},
                holds=tuple(sorted(await self._facts.holds_in(session))),
                database_bytes=await self._size(session),
            )

    async def _size(self, session: AsyncSession) -> int:
        if self._db.path is None:
            return int(await session.scalar(text("SELECT pg_database_size(current_database())")) or 0)
        return _bytes(self._db.path) + _bytes(Path(f"{self._db.path}-wal"))


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _since(moment: datetime | None, now: datetime) -> float:
    return max(0.0, (now - moment).total_seconds()) if moment else 0.0


async def _total(session: AsyncSession) -> Sums:
    """The sums of all months, without what nobody watches here: histograms and steps, which are most of each row."""
    columns = [getattr(MetricRollup, name) for name in _WATCHED]
    total = Sums()
    for row in await session.execute(select(*columns).where(MetricRollup.scope == ALL, MetricRollup.period == "month")):
        total.add(Sums(**row._mapping))
    return total


_WATCHED = tuple(name for name in NAMES if name not in ("durations", "steps"))
_TASKS = {"active": Task.paused.is_(False), "paused": Task.paused.is_(True)}
_WAITING: dict[str, tuple[Any, Any]] = {
    "messages": (DiscordMessage, DiscordMessage.state == _PENDING),
    "pushes": (PushoverNotification, PushoverNotification.success.is_(None)),
    "uploads": (Artifact, Artifact.state == _LOCAL),
}


def _counts() -> Select[Any]:
    """Every count, and since when, in one row."""
    due = select(func.min(Task.next_run_at)).where(text("enabled AND NOT paused"))  # as the partial index has it
    parts = {"sessions": select(func.count()).where(Session.removed_at.is_(None)), "next_at": due}
    parts |= {state: select(func.count()).where(Task.deleted_at.is_(None), is_it) for state, is_it in _TASKS.items()}
    for kind, (model, waits) in _WAITING.items():
        parts |= {kind: select(func.count(model.id)).where(waits)}
        parts |= {f"{kind}_since": select(func.min(model.created_at)).where(waits)}
    return select(*(part.scalar_subquery().label(name) for name, part in parts.items()))


_COUNTS = _counts()
