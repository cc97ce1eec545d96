"""The dead man's switch of schedules: what should have happened by now, from their text alone, and did not.

It trusts neither `next_run_at` nor the loop that fires: both may be what is broken. A time of a schedule needs its run,
or the note that it was skipped or missed; a run needs to start and to end in time. What lacks that is told once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ccdtasks.config import Config
from ccdtasks.core.calendar.schedulelog import entry, is_noted
from ccdtasks.core.calendar.timezones import find_zone
from ccdtasks.core.calendar.timing import Timing, stored_timing
from ccdtasks.core.definition.taskconfig import read_config
from ccdtasks.core.outbox import Outbox
from ccdtasks.db import Database
from ccdtasks.db.enums import MessageType, RunStatus, Trigger
from ccdtasks.db.models import ScheduleHistory, Task, TaskRun
from ccdtasks.errors import CcdError
from ccdtasks.events import Bus, MessagePending, TaskChanged
from ccdtasks.times import Clock, local_text

_log = logging.getLogger(__name__)

_GRACE = timedelta(minutes=2)
_START_WITHIN = timedelta(hours=1)
_END_WITHIN = timedelta(minutes=10)
"""Beyond the run's own time limit and that of a person."""
_KEY = "%Y%m%dT%H%M%S"
_PAGE = 200
_SUMS_AT_ONCE = 20
_ACCOUNTED = ("triggered", "skipped", "missed", "paused")


@dataclass(frozen=True, slots=True)
class _Watched:
    """A scheduled task, as a check reads it."""

    id: UUID
    task_name: str
    owner_user_id: str
    schedule_cron: str
    schedule_timezone: str
    schedule_set_at: datetime | None
    next_run_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Sums:
    """What the schedule's text says. `last`: the latest time that must have been dealt with; `first`, `second`: the
    times of which one must be the next. They hold from `since` until `until`."""

    task: _Watched
    last: datetime | None
    first: datetime | None
    second: datetime | None
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class _Repair:
    """A task whose next time becomes `at`. `tells`: lost, not_fired (at `owed`), or None for a change of clocks."""

    task: _Watched
    at: datetime | None
    tells: str | None
    owed: datetime | None = None


class DeadMan:
    """Checks all schedules. It remembers the arithmetic between checks, and what looked odd in the last one."""

    def __init__(self, *, db: Database, bus: Bus, clock: Clock, config: Config, outbox: Outbox) -> None:
        self._db = db
        self._bus = bus
        self._clock = clock
        self._config = config
        self._outbox = outbox
        self._sums: dict[UUID, _Sums] = {}
        self._odd: dict[UUID, datetime] = {}
        self._fine: dict[UUID, datetime] = {}

    async def check(self) -> int:
        """Looks at everything once; returns how many schedules and runs had something told or mended.

        A time without its run is told at the second check that finds it so, since the first one after a pause of the
        whole machine may come before the loop that fires.
        """
        found, after, seen = 0, UUID(int=0), set[UUID]()
        while page := await self._page(after):
            found += await self._judge(await self._compute(page))
            seen.update(task.id for task in page)
            after = page[-1].id
        for memory in (self._sums, self._odd, self._fine):
            for gone in memory.keys() - seen:
                del memory[gone]
        return found + await self._judge_runs()

    async def _page(self, after: UUID) -> Sequence[_Watched]:
        columns = [getattr(Task, name) for name in _Watched.__slots__]
        query = select(*columns).where(text("enabled AND NOT paused"), Task.schedule_cron.is_not(None), Task.id > after)
        async with self._db.read() as session:
            rows = await session.execute(query.order_by(Task.id).limit(_PAGE))
            return [_Watched(*row) for row in rows]

    async def _compute(self, page: Sequence[_Watched]) -> list[_Sums]:
        now, found = self._clock.now(), []
        for number, task in enumerate(page, 1):
            known = self._sums.get(task.id)
            sums = replace(known, task=task) if known and _holds(known, task, now) else _sums(task, now)
            self._sums[task.id] = sums
            found.append(sums)
            if number % _SUMS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return found

    async def _judge(self, page: Sequence[_Sums]) -> int:
        """What to do about each, then does it; returns how many had something to be done about."""
        now, owed = self._clock.now(), await self._owed(page)
        repairs: list[_Repair] = []
        for sums in page:
            task, last = sums.task, owed.get(sums.task.id)
            was_odd = self._odd.pop(task.id, None)
            if last is not None and task.next_run_at is not None:
                self._odd[task.id] = last
                if was_odd == last:
                    repairs.append(_Repair(task, min(last, task.next_run_at), "not_fired", last))
            elif task.next_run_at is None:
                repairs.append(_Repair(task, last or sums.second, "lost"))
            elif task.next_run_at > now and task.next_run_at not in (sums.first, sums.second):
                repairs.append(_Repair(task, sums.second, None))
        return await self._mend(await self._with_free_times(repairs)) if repairs else 0

    async def _owed(self, page: Sequence[_Sums]) -> dict[UUID, datetime]:
        """The times that must have been dealt with and have neither a run nor a note, by task."""
        open_ = {s.task.id: s.last for s in page if s.last and self._fine.get(s.task.id) != s.last}
        if not open_:
            return {}
        run, row, pairs = TaskRun, ScheduleHistory, list(open_.items())
        has_run = select(run.task_id).where(tuple_(run.task_id, run.scheduled_for).in_(pairs))
        is_told = select(row.task_id).where(
            tuple_(row.task_id, row.scheduled_for).in_(pairs), row.action.in_(_ACCOUNTED)
        )
        async with self._db.read() as session:
            fine = set(await session.scalars(has_run)) | set(await session.scalars(is_told))
        self._fine.update((task_id, open_[task_id]) for task_id in fine)
        return {task_id: last for task_id, last in open_.items() if task_id not in fine}

    async def _with_free_times(self, repairs: Sequence[_Repair]) -> list[_Repair]:
        """Passes over times that have their run already: a clock that was set back has seen later ones than now."""
        query = select(TaskRun.task_id, TaskRun.scheduled_for).where(
            TaskRun.task_id.in_([repair.task.id for repair in repairs]), TaskRun.scheduled_for > self._clock.now()
        )
        async with self._db.read() as session:
            taken = {(task_id, at) for task_id, at in await session.execute(query) if at is not None}
        found = []
        for repair in repairs:
            timing, at = _timing(repair.task), repair.at
            while timing and at and (repair.task.id, at) in taken:
                at = timing.next_after(at)
            if at != repair.task.next_run_at or repair.tells:
                found.append(replace(repair, at=at))
        return found

    async def _mend(self, repairs: Sequence[_Repair]) -> int:
        """Sets the next times, tells what has to be told, and notes both, in one transaction."""
        now, mended = self._clock.now(), 0
        async with self._db.write() as session:
            for repair in repairs:
                mended += await self._mend_one(session, repair, now)
        if mended:
            _log.warning(
                "the next times of %d schedules were put right, the first of %s", mended, repairs[0].task.task_name
            )
            self._bus.publish(TaskChanged(repairs[0].task.id))
            self._bus.publish(MessagePending())
        return mended

    async def _mend_one(self, session: AsyncSession, repair: _Repair, now: datetime) -> bool:
        task, at = repair.task, repair.at
        details = {"kind": repair.tells or ""}
        if repair.tells == "not_fired" and await is_noted(session, task.id, "late", repair.owed or now, details):
            return False
        if at is None or not await _set_next(session, task, at):
            return False
        was = task.next_run_at.isoformat() if task.next_run_at else None
        if at != task.next_run_at:
            row = entry(task.id, "repaired", now, details={"was": was, "is": at.isoformat()})
            session.add(ScheduleHistory(**row))
        if repair.tells == "lost":
            said = (
                f"{task.task_name} had lost its next time. It is set again: {local_text(at, task.schedule_timezone)}."
            )
            key = f"late:{task.id}:{now:{_KEY}}:lost"
            await self._tell(session, task.id, key=key, at=now, news=_news(task, "lost", at, said), details=details)
        elif repair.tells and repair.owed:
            await self._tell_not_fired(session, task, repair.owed)
        return True

    async def _tell_not_fired(self, session: AsyncSession, task: _Watched, at: datetime) -> None:
        """One message for as long as it lasts: that of the first such time, with how many there are by now."""
        since, count = await _streak(session, task.id, at)
        said = f"{task.task_name} should have run at {local_text(at, task.schedule_timezone)} and has not."
        news = {**_news(task, "not_fired", at, said), "since": since.isoformat(), "count": count}
        details = {"kind": "not_fired", "since": since.isoformat(), "count": count}
        key = f"late:{task.id}:{since:{_KEY}}:not_fired"
        await self._tell(session, task.id, key=key, at=at, news=news, details=details)

    async def _judge_runs(self) -> int:
        """Runs of schedules, and their further attempts, that should have started or ended by now."""
        now, first = self._clock.now(), aliased(TaskRun)
        query = (
            select(TaskRun, Task, func.coalesce(first.scheduled_for, TaskRun.scheduled_for))
            .join(Task, Task.id == TaskRun.task_id)
            .outerjoin(first, first.id == TaskRun.retry_of)
            .where(
                TaskRun.completed_at.is_(None),
                func.coalesce(first.trigger, TaskRun.trigger) == Trigger.SCHEDULED,
                func.coalesce(first.scheduled_for, TaskRun.scheduled_for) <= now - _START_WITHIN,
            )
        )
        async with self._db.read() as session:
            rows = (await session.execute(query)).all()
        late = [(run, task, at, kind) for run, task, at in rows if (kind := self._lateness(run, task, now))]
        return sum([await self._tell_run(run, task, at, kind) for run, task, at, kind in late])

    def _lateness(self, run: TaskRun, task: Task, now: datetime) -> str | None:
        if run.started_at is None:
            since = max(run.scheduled_for or run.created_at, run.created_at, run.not_before or run.created_at)
            return "not_started" if since <= now - _START_WITHIN else None
        limits, settings = self._config.limits, read_config(task.config)
        allowed_s = (settings.timeout_s or limits.run_timeout_s) + (settings.human_timeout_s or limits.human_timeout_s)
        return "not_ended" if run.started_at + timedelta(seconds=allowed_s) + _END_WITHIN <= now else None

    async def _tell_run(self, run: TaskRun, task: Task, at: datetime, kind: str) -> int:
        still = "still waits in line" if run.status is RunStatus.QUEUED else "has still not ended"
        said = f"The run of {task.task_name} of {local_text(at, task.schedule_timezone)} {still}."
        watched = _Watched(*(getattr(task, name) for name in _Watched.__slots__))
        details = {"kind": kind, "run": str(run.id)}
        async with self._db.write() as session:
            if await is_noted(session, task.id, "late", at, details):
                return 0
            news, key = {**_news(watched, kind, at, said), "run": str(run.id)}, f"late:{run.id}:{kind}"
            await self._tell(session, task.id, key=key, at=at, news=news, details=details)
        self._bus.publish(MessagePending())
        return 1

    async def _tell(
        self,
        session: AsyncSession,
        task_id: UUID,
        *,
        key: str,
        at: datetime,
        news: dict[str, Any],
        details: Mapping[str, Any],
    ) -> None:
        """In the notification channel, for whoever looks after the box, and in the task's own, for its owner."""
        await self._outbox.put(session, None, f"{key}:box", MessageType.NOTIFICATION, {**news, "owner": None})
        await self._outbox.put(session, None, key, MessageType.NOTIFICATION, news, task_id=task_id)
        session.add(ScheduleHistory(**entry(task_id, "late", self._clock.now(), scheduled_for=at, details=details)))


async def _streak(session: AsyncSession, task_id: UUID, at: datetime) -> tuple[datetime, int]:
    """Since when a task has not run at all, and for how many times up to `at`."""
    row = ScheduleHistory
    query = select(row).where(row.task_id == task_id, row.scheduled_for < at, row.action.in_((*_ACCOUNTED, "late")))
    last = await session.scalar(query.order_by(row.scheduled_for.desc(), row.timestamp.desc()).limit(1))
    details = (last.details if last else None) or {}
    if last is None or last.action != "late" or details.get("kind") != "not_fired":
        return at, 1
    since = datetime.fromisoformat(details["since"]) if "since" in details else last.scheduled_for or at
    return since, int(details.get("count", 1)) + 1


def _sums(task: _Watched, now: datetime) -> _Sums:
    timing, due_at = _timing(task), now - _GRACE
    if timing is None:
        return _Sums(task, None, now, now, now, now + _GRACE)
    last = timing.last_until(due_at, task.schedule_set_at) if task.schedule_set_at else None
    first, second = timing.next_after(due_at), timing.next_after(now)
    return _Sums(task, last, first, second, now, min(first + _GRACE, second) if first and second else now + _GRACE)


def _holds(sums: _Sums, task: _Watched, now: datetime) -> bool:
    known = sums.task
    is_same = (known.schedule_cron, known.schedule_timezone, known.schedule_set_at) == (
        task.schedule_cron,
        task.schedule_timezone,
        task.schedule_set_at,
    )
    return is_same and sums.since <= now < sums.until


def _timing(task: _Watched) -> Timing | None:
    """None for a text that cannot be read any more: made due, so that the loop that fires pauses it and tells why."""
    try:
        return stored_timing(task.schedule_cron, find_zone(task.schedule_timezone))
    except CcdError:
        return None


async def _set_next(session: AsyncSession, task: _Watched, at: datetime | None) -> bool:
    """Sets the next time of a task that is still as it was seen."""
    seen = Task.next_run_at.is_(None) if task.next_run_at is None else Task.next_run_at == task.next_run_at
    changed = await session.execute(
        update(Task)
        .where(Task.id == task.id, seen, Task.schedule_cron == task.schedule_cron, text("enabled AND NOT paused"))
        .values(next_run_at=at)
        .returning(Task.id)
    )
    return changed.first() is not None


def _news(task: _Watched, kind: str, at: datetime, said: str) -> dict[str, Any]:
    return {
        "about": "schedule",
        "kind": kind,
        "task": task.task_name,
        "owner": task.owner_user_id,
        "scheduled_for": at.isoformat(),
        "text": said,
    }
