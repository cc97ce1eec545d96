"""The queue as people see it: who waits for what since when; admins reorder and clear it; cards know their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.access import Access, Actor
from ccdtasks.core.audit import Audit
from ccdtasks.core.ending.endings import Endings, Outcome
from ccdtasks.core.facts import Facts, Hold
from ccdtasks.core.lookup import find_run
from ccdtasks.core.outbox import Outbox
from ccdtasks.core.records.line import line
from ccdtasks.db import Database
from ccdtasks.db.enums import RunStatus
from ccdtasks.db.models import Task, TaskRun
from ccdtasks.errors import Conflict, Denied
from ccdtasks.events import Bus, MessagePending, RunChanged, RunQueued
from ccdtasks.times import Clock

MOVE_MAX = 50
"""The last place to which a run can be moved: all before it are put in order for good."""

_CLEARED_AT_ONCE = 50
_NEAR = 20
_LOOKED_AT = 500
_TOLD_AT_ONCE = 20


class WaitsFor(StrEnum):
    """What a queued run waits for: a free session, the end of a hold, its time, or the run of its task that goes on."""

    SESSION = "session"
    HOLD = "hold"
    TIME = "time"
    TASK = "task"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run in the queue. `place` from 1; None while it does not stand in line. `task_name` is None for others'."""

    run: TaskRun
    task_name: str | None
    place: int | None
    waits_for: WaitsFor


@dataclass(frozen=True, slots=True)
class QueuePage:
    """Some of the waiting runs, those in line first; `total` of all; `next_start` leads to the next page."""

    rows: Sequence[Waiting]
    total: int
    holds: Sequence[Hold]
    start: int
    next_start: int | None


class Queue:
    """Acts on all runs that wait."""

    def __init__(
        self,
        *,
        db: Database,
        bus: Bus,
        clock: Clock,
        access: Access,
        audit: Audit,
        outbox: Outbox,
        endings: Endings,
        facts: Facts,
    ) -> None:
        self._db = db
        self._bus = bus
        self._clock = clock
        self._access = access
        self._audit = audit
        self._outbox = outbox
        self._endings = endings
        self._facts = facts

    async def page(self, actor: Actor, start: int = 0, limit: int = 10) -> QueuePage:
        """The runs that wait, from number `start` (0: the first). All see the line, and the names of their tasks."""
        self._access.require_use(actor)
        now = self._clock.now()
        async with self._db.read() as session:
            holds = list((await self._facts.holds_in(session)).values())
            places = line(now)
            query = (
                select(TaskRun, Task.task_name, places.c.place)
                .join(Task, Task.id == TaskRun.task_id)
                .outerjoin(places, places.c.id == TaskRun.id)
                .where(TaskRun.status == RunStatus.QUEUED)
                .order_by(places.c.place.is_(None), places.c.place, TaskRun.not_before, TaskRun.id)
                .offset(max(0, start))
                .limit(limit + 1)
            )
            found = (await session.execute(query)).all()
            total = await session.scalar(select(func.count()).where(TaskRun.status == RunStatus.QUEUED)) or 0
        rows = [self._waiting(actor, run, name, place, holds) for run, name, place in found[:limit]]
        return QueuePage(rows, total, holds, max(0, start), max(0, start) + limit if len(found) > limit else None)

    async def move(self, actor: Actor, id_or_prefix: str, to: int = 1) -> int:
        """Puts a waiting run at place `to` of the line, for admins; returns the place it got (the line may be shorter).

        Whoever stands before it then stays there: the order up to that place no longer follows whose turn it is.
        """
        self._require_admin(actor, "change the order of the queue")
        async with self._db.write() as session:
            run = await find_run(session, id_or_prefix)
            places = line(self._clock.now())
            ids = list(await session.scalars(select(places.c.id).order_by(places.c.place)))
            if run.id not in ids:
                raise Conflict("This run does not stand in line.", "/task-queue shows those that do")
            ids.remove(run.id)
            place = min(max(1, to), len(ids) + 1, MOVE_MAX)
            await self._put_first(session, [*ids[: place - 1], run.id])
            self._audit.record(session, actor, "queue.move", run.id, {"to": place})
        self._bus.publish(RunQueued(run.id))
        return place

    async def clear(self, actor: Actor) -> int:
        """Cancels all runs that wait in the queue now, for admins; returns how many. Runs that have begun go on."""
        self._require_admin(actor, "clear the queue")
        began_at, count = self._clock.now(), 0
        while cleared := await self._clear_some(actor, began_at):
            count += len(cleared)
            for run_id in cleared:
                self._bus.publish(RunChanged(run_id))
            self._bus.publish(MessagePending())
        async with self._db.write() as session:
            self._audit.record(session, actor, "queue.clear", actor.user_id, {"runs": count})
        return count

    async def tell_places(self) -> int:
        """Lets the cards of waiting runs show their present place; returns how many had to change.

        Near the front each step is told; farther back only when it makes a difference, and a few at a time: a claim
        must not cost a message for each of hundreds that wait.
        """
        places = line(self._clock.now())
        query = (
            select(TaskRun.id, TaskRun.live, places.c.place)
            .join(places, places.c.id == TaskRun.id)
            .order_by(places.c.place)
            .limit(_LOOKED_AT)
        )
        async with self._db.read() as session:
            rows = (await session.execute(query)).all()
            held_by = next(iter(await self._facts.holds_in(session)), None)
        stale = {row.id: row.place for row in rows if _is_stale(row.live or {}, row.place, held_by)}
        due = dict(list(stale.items())[:_TOLD_AT_ONCE])
        if not due:
            return 0
        async with self._db.write() as session:
            query_runs = select(TaskRun).where(TaskRun.id.in_(due), TaskRun.status == RunStatus.QUEUED)
            for run in await session.scalars(query_runs):
                run.live = {**(run.live or {}), "position": due[run.id], "held_by": held_by}
                await self._outbox.touch(session, run.id, "card")
        self._bus.publish(MessagePending())
        return len(due)

    def _waiting(self, actor: Actor, run: TaskRun, name: str, place: int | None, holds: Sequence[Hold]) -> Waiting:
        is_mine = run.owner_user_id == actor.user_id or self._access.is_admin(actor)
        return Waiting(run, name if is_mine else None, place, self._waits_for(run, place, bool(holds)))

    def _waits_for(self, run: TaskRun, place: int | None, is_held: bool) -> WaitsFor:
        if place is not None:
            return WaitsFor.HOLD if is_held else WaitsFor.SESSION
        return WaitsFor.TIME if run.not_before and run.not_before > self._clock.now() else WaitsFor.TASK

    def _require_admin(self, actor: Actor, act: str) -> None:
        self._access.require_use(actor)
        if not self._access.is_admin(actor):
            raise Denied(f"Only an admin can {act}.")

    async def _put_first(self, session: AsyncSession, ids: Sequence[UUID]) -> None:
        """Gives these runs priorities above all others that wait, in this order."""
        others = select(func.max(TaskRun.priority)).where(TaskRun.status == RunStatus.QUEUED, TaskRun.id.not_in(ids))
        highest = await session.scalar(others) or 0
        for number, run_id in enumerate(reversed(ids), 1):
            run = await session.get_one(TaskRun, run_id)
            run.priority = highest + number

    async def _clear_some(self, actor: Actor, began_at: datetime) -> list[UUID]:
        """One transaction: what a claim took meanwhile is not queued any more, so it is left alone."""
        query = (
            select(TaskRun)
            .where(TaskRun.status == RunStatus.QUEUED, TaskRun.created_at <= began_at)
            .order_by(TaskRun.queued_at.desc())
            .limit(_CLEARED_AT_ONCE)
        )
        async with self._db.write() as session:
            runs = (await session.scalars(query)).all()
            for run in runs:
                run.stop_requested_at, run.stop_requested_by = self._clock.now(), actor.user_id
            await session.flush()
            for run in runs:
                await self._endings.end(session, run, Outcome(RunStatus.CANCELLED))
        return [run.id for run in runs]


def _is_stale(live: dict[str, object], place: int, held_by: str | None) -> bool:
    shown = live.get("position")
    if not isinstance(shown, int):
        return place <= _NEAR
    if place <= _NEAR and live.get("held_by") != held_by:
        return True
    return shown != place if place <= _NEAR else abs(shown - place) * 4 > shown
