"""Firing: what the schedules of many tasks owe by now becomes rows, each time exactly once.

    one transaction a batch:  due tasks --> what each owes (times, values) --> run + its messages  |  a skipped or
                              missed time, told  |  a pause, told      + the next time + history

A crash before the commit leaves the task due, one after it leaves nothing to do; `UNIQUE (task_id, scheduled_for)` and
a look at the runs that exist keep a time from being fired again, whatever happens to the clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import CompoundSelect, Integer, bindparam, func, select, text, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.config import Config
from ccdtasks.core.access import SYSTEM
from ccdtasks.core.calendar.schedulelog import entry
from ccdtasks.core.due.owed import Owed, Reckonings, SeenTask, owed
from ccdtasks.core.lookup import end_of_queue
from ccdtasks.core.outbox import MessageDraft, Outbox
from ccdtasks.db import Database
from ccdtasks.db.bulk import Insert, Update, among, write_rows
from ccdtasks.db.enums import MessageType, RunStatus, Trigger
from ccdtasks.db.models import ScheduleHistory, Task, TaskRun
from ccdtasks.events import Bus, MessagePending, RunChanged, RunQueued
from ccdtasks.times import Clock

BATCH = 52
"""Tasks in one transaction: some 10 ms. Of a hundred that are due at once the greater half is queued by then."""

_PLANS_AT_ONCE = 5
_TICK = timedelta(microseconds=1)
_ANY_TIME = datetime.max.replace(tzinfo=UTC)
_CAN_FIRE: Any = text("enabled AND NOT paused")  # to the letter as the partial index has it


@dataclass(slots=True)
class _Batch:
    """What one transaction writes."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    messages: list[MessageDraft] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    moved: list[dict[str, Any]] = field(default_factory=list)

    def note(
        self, plan: Owed, action: str, at: datetime, scheduled_for: datetime | None, details: Mapping[str, Any]
    ) -> None:
        row = entry(plan.task.id, action, at, scheduled_for=scheduled_for, details=details)
        row["schedule_before"], row["schedule_after"] = plan.task.schedule_cron, plan.moved()["schedule_cron"]
        self.history.append(row)


class Firing:
    """The engine's side of schedules."""

    def __init__(self, *, db: Database, bus: Bus, clock: Clock, config: Config, outbox: Outbox) -> None:
        self._db = db
        self._bus = bus
        self._clock = clock
        self._config = config
        self._outbox = outbox

    async def fire_due(self) -> int:
        """Fires everything that is due now; returns the number of tasks that were."""
        fired, reckonings = 0, Reckonings()
        while moved := await self._fire(reckonings):
            fired += moved
            if moved < BATCH:
                break
        return fired

    async def next_due_at(self) -> datetime | None:
        """When the next task is due."""
        query = select(func.min(Task.next_run_at)).where(_CAN_FIRE)
        async with self._db.read() as session:
            return await session.scalar(query)

    async def rehearse(self) -> None:
        """Fires the next task ahead of its time, and takes all of it back: the first firing of a process is quick then.

        By then both sides know the statements, which takes them as long as a firing itself.
        """
        async with self._db.write() as session:
            due = await _due(session, _ANY_TIME, limit=1)
            await self._transact(
                session, [Owed(task, task.next_run_at, task.next_run_at, is_once=True) for task in due]
            )
            await session.rollback()

    async def _fire(self, reckonings: Reckonings) -> int:
        async with self._db.write() as session:
            due = await _due(session, self._clock.now())
            batch = await self._transact(session, await self._plan(due, reckonings))
        if batch.runs:
            self._bus.publish(RunQueued(batch.runs[-1]["id"]))
            self._bus.publish(RunChanged(batch.runs[-1]["id"]))
        if batch.moved:
            self._bus.publish(MessagePending())
        return len(batch.moved)

    async def _plan(self, due: Sequence[SeenTask], reckonings: Reckonings) -> list[Owed]:
        """The arithmetic, with room for the rest of the process in between."""
        now, plans = self._clock.now(), []
        for number, task in enumerate(due, 1):
            plans.append(owed(task, now, self._config.schedule, reckonings))
            if number % _PLANS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return plans

    async def _transact(self, session: AsyncSession, plans: Sequence[Owed]) -> _Batch:
        now, batch = self._clock.now(), _Batch()
        if not plans:
            return batch
        runs = await _runs(session, plans)
        queued_at = await end_of_queue(session, now)
        for plan in plans:
            of_task = runs.get(plan.task.id, ())
            busy = plan.blocked_by([run for run in of_task if run.completed_at is None])
            if plan.paused_because:
                await self._pause(session, batch, plan, now)
            elif plan.is_void or any(run.scheduled_for == plan.scheduled_for for run in of_task):
                pass  # nothing is owed; only the next time is set
            elif plan.is_missed:
                self._tell_missed(batch, plan, now)
            elif busy is not None:
                await self._tell_skipped(session, batch, plan, busy, now)
            else:
                self._run(batch, plan, queued_at)
                self._open_thread(batch, plan, now)
                queued_at += _TICK
            batch.moved.append(plan.moved())
        await self._write(session, batch, now)
        return batch

    async def _write(self, session: AsyncSession, batch: _Batch, now: datetime) -> None:
        """As few statements as there can be, past the unit of work: a thousand at once is an ordinary Monday at 9."""
        same = {
            "started_by": SYSTEM.user_id,
            "status": RunStatus.QUEUED,
            "trigger": Trigger.SCHEDULED,
            "created_at": now,
        }
        await write_rows(
            session,
            Insert(TaskRun, batch.runs, same),
            await self._outbox.drafted(session, batch.messages),
            Insert(ScheduleHistory, batch.history),
            Update(Task, batch.moved, {"updated_at": now}),
        )

    def _run(self, batch: _Batch, plan: Owed, queued_at: datetime) -> None:
        task, stagger = plan.task, plan.stagger(self._config.schedule.jitter_s)
        batch.runs.append(
            {
                "id": uuid4(),
                "task_id": task.id,
                "owner_user_id": task.owner_user_id,
                "parameters": plan.values,
                "scheduled_for": plan.scheduled_for,
                "queued_at": queued_at,
                "not_before": plan.scheduled_for + stagger if stagger else None,
                "discord_channel_id": task.discord_channel_id,
            }
        )

    def _open_thread(self, batch: _Batch, plan: Owed, now: datetime) -> None:
        """What is told of the run that was added last."""
        task, run_id = plan.task, batch.runs[-1]["id"]

        def say(key: str, type: MessageType, payload: Mapping[str, Any]) -> None:
            batch.messages.append(MessageDraft(run_id, task.id, key, type, payload))

        opening = {
            "task": task.task_name,
            "session_id": str(run_id),
            "parameters": plan.values,
            "trigger": Trigger.SCHEDULED.value,
        }
        say("opening", MessageType.RUN_OPENING, opening)
        say("card", MessageType.LIVE_CARD, {})
        if plan.is_late or plan.missed:
            news = plan.news("caught_up", ran_at=now.isoformat())
            say("caught_up", MessageType.NOTIFICATION, news)
        if plan.missed:
            batch.note(plan, "missed", now, plan.first_missed, {"count": plan.missed, "made_up_by": str(run_id)})
        late_s = round((now - plan.scheduled_for).total_seconds())
        batch.note(plan, "triggered", now, plan.scheduled_for, {"run": str(run_id), "late_s": late_s})

    def _tell_missed(self, batch: _Batch, plan: Owed, now: datetime) -> None:
        news, key = plan.news("missed"), f"missed:{plan.task.id}:{plan.scheduled_for:%Y%m%dT%H%M%S}"
        batch.messages.append(MessageDraft(None, plan.task.id, key, MessageType.NOTIFICATION, news))
        batch.note(plan, "missed", now, plan.scheduled_for, {"count": plan.missed + 1})

    async def _tell_skipped(self, session: AsyncSession, batch: _Batch, plan: Owed, busy: UUID, now: datetime) -> None:
        """Tells it in the thread of the run that still goes on: one message, however many times are skipped."""
        run = await session.get_one(TaskRun, busy)
        count = int((run.live or {}).get("skipped", 0)) + 1 + plan.missed
        run.live = {**(run.live or {}), "skipped": count}
        news = plan.news("skipped", count=count)
        await self._outbox.put(session, run, "skipped", MessageType.NOTIFICATION, news)
        details = {"because": str(busy), "count": plan.missed + 1}
        batch.note(plan, "skipped", now, plan.scheduled_for, details)

    async def _pause(self, session: AsyncSession, batch: _Batch, plan: Owed, now: datetime) -> None:
        task = await session.get_one(Task, plan.task.id)
        task.paused, task.paused_reason = True, (plan.paused_because or "")[:200]
        news, key = plan.news("paused", reason=plan.paused_because), f"paused:{task.id}:{now:%Y%m%dT%H%M%S}"
        await self._outbox.put(session, None, key, MessageType.NOTIFICATION, news, task_id=task.id)
        batch.note(plan, "paused", now, plan.scheduled_for, {"reason": plan.paused_because})


_DUE = (
    select(*(getattr(Task, name) for name in SeenTask.__slots__))
    .where(_CAN_FIRE, Task.next_run_at <= bindparam("until"))
    .order_by(Task.next_run_at)
    .limit(bindparam("most", type_=Integer))
)
"""Statements that are the same each time are built once: that takes longer than the database needs to answer them."""


async def _due(session: AsyncSession, until: datetime, limit: int = BATCH) -> list[SeenTask]:
    rows = await session.execute(_DUE, {"until": until, "most": limit})
    return [SeenTask(*row) for row in rows]


def _runs_of_tasks() -> CompoundSelect[Any]:
    names = ("id", "task_id", "status", "trigger", "scheduled_for", "completed_at", "queued_at")
    columns: list[Any] = [getattr(TaskRun, name) for name in names]
    of_these = among(TaskRun.task_id, "tasks")
    return union_all(
        select(*columns).where(of_these, TaskRun.completed_at.is_(None)),
        select(*columns).where(
            of_these,
            TaskRun.completed_at.is_not(None),
            TaskRun.scheduled_for.between(bindparam("first"), bindparam("last")),
        ),
    ).order_by("queued_at")


_RUNS = _runs_of_tasks()


async def _runs(session: AsyncSession, plans: Sequence[Owed]) -> dict[UUID, list[Any]]:
    """By task: its runs that have not ended, oldest first, and those that it has for such a time already."""
    found: dict[UUID, list[Any]] = {}
    times = [plan.scheduled_for for plan in plans]
    given = {"tasks": [plan.task.id for plan in plans], "first": min(times), "last": max(times)}
    for row in await session.execute(_RUNS, given):
        found.setdefault(row.task_id, []).append(row)
    return found
