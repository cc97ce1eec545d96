"""The engine's side of runs: claims. Each write names the claim's epoch; one that comes too late raises Lost."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.config import Config
from ccdtasks.core.definition.taskconfig import read_config
from ccdtasks.core.ending.asking import Asking
from ccdtasks.core.ending.endings import Ended, Endings, Outcome
from ccdtasks.core.facts import Facts
from ccdtasks.core.outbox import Outbox
from ccdtasks.core.outcome.comparing import changes_of
from ccdtasks.core.outcome.guestlog import GuestEvent, fold, put_result
from ccdtasks.core.outcome.results import read_result
from ccdtasks.core.records import recording
from ccdtasks.core.records.budgets import Budgets
from ccdtasks.core.records.line import active_of_owners, may_go
from ccdtasks.core.records.moves import Lost, move
from ccdtasks.core.states import ACTIVE
from ccdtasks.core.text import clean_json
from ccdtasks.db import Database
from ccdtasks.db.enums import Effect, Reason, RunStatus
from ccdtasks.db.models import Session, Task, TaskRun
from ccdtasks.errors import LimitReached
from ccdtasks.events import Bus, ChartWanted, Event, MessagePending, PushPending, RunChanged, RunQueued
from ccdtasks.times import Clock


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim of a run, with the session that was made for it.

    `status` and everything below it are as of when the claim was read. `is_current`: no later claim exists.
    `dummy`: the session's dummy credential; only the claim itself knows it, the database holds its SHA-256.
    """

    run_id: UUID
    session_id: UUID
    task_id: UUID
    epoch: int
    attempt: int
    container_name: str
    folder: str
    claude_session_id: UUID
    boot_id: str | None
    status: RunStatus
    is_current: bool
    container_id: str | None = None
    events_offset: int = 0
    events_seq: int = 0
    created_at: datetime | None = None
    started_at: datetime | None = None
    deadline_at: datetime | None = None
    dummy: str | None = field(default=None, repr=False)

    @property
    def is_live(self) -> bool:
        """Whether the run still goes on in this claim; else its container and folder are only to be removed."""
        return self.is_current and self.status in ACTIVE


@dataclass(frozen=True, slots=True)
class Wish:
    """What the row asks of the engine now. `status` tells a run that waits for a person from a running one."""

    status: RunStatus
    deadline_at: datetime | None
    stop: bool
    force: bool


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a batch of lines brought: the new events in order, and how many lines were no events or old ones."""

    events: Sequence[GuestEvent]
    skipped: int


class Claims:
    """Claims of runs, from the queue to the final state."""

    def __init__(
        self,
        *,
        db: Database,
        bus: Bus,
        clock: Clock,
        config: Config,
        outbox: Outbox,
        facts: Facts,
        endings: Endings,
        budgets: Budgets,
        asking: Asking,
    ) -> None:
        self._db = db
        self._bus = bus
        self._clock = clock
        self._config = config
        self._outbox = outbox
        self._facts = facts
        self._endings = endings
        self._budgets = budgets
        self._asking = asking

    async def claim_next(self, now: datetime, boot_id: str, limit: int) -> Claim | None:
        """Claims the run whose turn it is: of the owner with the fewest active runs, the one that waits longest.

        None when nothing may start: empty queue, `limit` sessions exist, a hold, or all waiting runs are put off.
        A run whose earlier session may still have a container is passed over, so that nothing runs twice. Runs whose
        budget is used up are ended on the way.
        """
        async with self._db.read() as session:
            if await self._next(session, now, limit) is None:
                return None
        while isinstance(taken := await self._take_next(now, boot_id, limit), Ended):
            self._publish_end(taken)
        if taken is not None:
            self._publish(RunChanged(taken.run_id), MessagePending(taken.run_id))
        return taken

    async def _take_next(self, now: datetime, boot_id: str, limit: int) -> Claim | Ended | None:
        async with self._db.write() as session:
            run = await self._next(session, now, limit)
            if run is None:
                return None
            try:
                await self._budgets.require(session, await session.get_one(Task, run.task_id))
            except LimitReached as refusal:
                return await self._endings.end(session, run, Outcome(RunStatus.FAILED, Reason.BUDGET, refusal.message))
            attempt, dummy = self._new_session(run, now, boot_id)
            session.add(attempt)
            await session.flush()
            run = await move(
                session,
                run.id,
                RunStatus.STARTING,
                epoch=run.epoch,
                sources={RunStatus.QUEUED},
                session_id=attempt.id,
                not_before=None,
                live={},
                new_epoch=run.epoch + 1,
            )
            await self._outbox.touch(session, run.id, "card")
            return _claim(attempt, run, dummy)

    async def created(self, claim: Claim, container_id: str, image_id: str | None = None) -> None:
        """Notes the container of the claim, before it is started."""
        async with self._db.write() as session:
            await self._mine(session, claim)
            attempt = await session.get_one(Session, claim.session_id)
            attempt.container_id, attempt.image_id = container_id[:64], image_id[:80] if image_id else None

    async def running(self, claim: Claim) -> None:
        """The session is up: from now on the run's time limit counts, and the task has really been run."""
        now = self._clock.now()
        async with self._db.write() as session:
            run = await move(session, claim.run_id, RunStatus.RUNNING, epoch=claim.epoch, sources={RunStatus.STARTING})
            task = await session.get_one(Task, run.task_id)
            timeout_s = read_config(task.config).timeout_s or self._config.limits.run_timeout_s
            run.started_at = run.started_at or now
            run.deadline_at = now + timedelta(seconds=timeout_s)
            task.last_run_at = now
            attempt = await session.get_one(Session, claim.session_id)
            attempt.started_at = attempt.started_at or now
            await self._outbox.touch(session, run.id, "card")
        self._publish(RunChanged(claim.run_id), MessagePending(claim.run_id))

    async def record(self, claim: Claim, lines: Sequence[bytes], offset: int) -> Recorded:
        """Stores a batch of lines of `events.jsonl`, what they mean for the run, and `offset`, in one transaction.

        `lines`: whole lines without line feeds; `offset`: the position in the file behind the last one.
        """
        now = self._clock.now()
        async with self._db.write() as session:
            run = await self._mine(session, claim)
            attempt = await session.get_one(Session, claim.session_id)
            batch = await recording.store(session, run, attempt, lines, now)
            attempt.events_offset = max(attempt.events_offset, offset)
            changed = asked = False
            for event in batch.events:
                if fold(run, event):
                    changed = True
                elif await self._asking.take(session, run, event, now):
                    changed = asked = True
            metrics = [event.data for event in batch.events if event.type == "metrics"]
            changed |= await recording.sum_traffic(session, run, attempt, metrics)
            if changed:
                await self._outbox.touch(session, run.id, "card")
        if changed:
            self._publish(RunChanged(claim.run_id), MessagePending(claim.run_id))
        elif batch.events:
            self._publish(RunChanged(claim.run_id))
        if asked:
            self._publish(PushPending())
        return Recorded(batch.events, batch.skipped)

    async def take_result(self, claim: Claim, given: Mapping[str, Any]) -> None:
        """Replaces a result that was cut to fit a line of the log by the whole one; raises Invalid for a wrong one."""
        result = await asyncio.to_thread(read_result, given)
        async with self._db.write() as session:
            put_result(await self._mine(session, claim), result)

    async def note(self, claim: Claim, type: str, data: Mapping[str, Any]) -> None:
        """Adds an event of the engine's own to the log of the run, with a number below zero."""
        async with self._db.write() as session:
            run = await self._mine(session, claim)
            cleaned, now = clean_json(dict(data)), self._clock.now()
            await recording.note(session, run, claim.session_id, type=type, data=cleaned, now=now)
        self._publish(RunChanged(claim.run_id))

    async def meter(
        self,
        claim: Claim,
        usage: Mapping[str, Mapping[str, int]],
        cost_usd: Decimal,
        egress: Mapping[str, Any] | None = None,
    ) -> None:
        """Stores what the session has used so far. Totals, not differences, so a repeated call changes nothing.

        `usage`: model -> {"input", "output", "cache_read", "cache_write", "requests"}.
        """
        async with self._db.write() as session:
            run = await self._mine(session, claim)
            attempt = await session.get_one(Session, claim.session_id)
            attempt.usage = {model: dict(counts) for model, counts in usage.items()}
            attempt.cost_usd = cost_usd
            if egress is not None:
                attempt.egress = clean_json(dict(egress))
            before_usd = run.cost_usd or Decimal(0)
            await recording.sum_usage(session, run)
            await self._budgets.note_spending(session, run, before_usd)
        self._publish(RunChanged(claim.run_id), MessagePending(claim.run_id))

    async def look(self, claim: Claim) -> Wish:
        """What the row asks of the engine now; raises Lost when the run has ended or was claimed again."""
        async with self._db.read() as session:
            run = await self._mine(session, claim)
            return Wish(run.status, run.deadline_at, run.stop_requested_at is not None, run.stop_force)

    async def collecting(self, claim: Claim) -> None:
        """The session has ended or is to end; its files are being gathered."""
        async with self._db.write() as session:
            await move(session, claim.run_id, RunStatus.COLLECTING, epoch=claim.epoch, required_intervention=False)
            await self._outbox.touch(session, claim.run_id, "card")
        self._publish(RunChanged(claim.run_id), MessagePending(claim.run_id))

    async def finish(self, claim: Claim, outcome: Outcome) -> Ended:
        """Ends the run, with everything that follows from it, in one transaction.

        What is new in a result is found before, so that no other writer waits for it.
        """
        changes = None
        if outcome.status is RunStatus.COMPLETED:
            async with self._db.read() as session:
                changes = await changes_of(session, claim.run_id)
        async with self._db.write() as session:
            run = await self._mine(session, claim)
            attempt = await session.get_one(Session, claim.session_id)
            ended = await self._endings.end(session, run, outcome, attempt, changes)
        self._publish_end(ended)
        if ended.status is RunStatus.COMPLETED:
            self._publish(ChartWanted())
        return ended

    async def requeue(self, claim: Claim, not_before: datetime, reason: Reason, *, holds_all: bool = False) -> bool:
        """Puts the run back into the queue until `not_before` without using up an attempt; False when it must end.

        It must when somebody wishes to stop it, or when it is an `acts` run that has begun: then `finish` it.
        `holds_all`: the model's usage limit is reached, so no run starts before.
        """
        async with self._db.write() as session:
            run = await self._mine(session, claim)
            if holds_all:
                await self._endings.hold_until(session, not_before)
            attempt = await session.get_one(Session, claim.session_id)
            task = await session.get_one(Task, run.task_id)
            must_end = run.stop_requested_at is not None or (task.effect is Effect.ACTS and run.started_at is not None)
            if not must_end:
                await self._put_back(session, run, attempt, not_before, reason)
        if not must_end:
            self._publish(RunQueued(claim.run_id), RunChanged(claim.run_id))
        self._publish(MessagePending(claim.run_id))
        return not must_end

    async def removed(self, claim: Claim) -> None:
        """Container and folder of the claim are gone. Always allowed, however old the claim is."""
        async with self._db.write() as session:
            attempt = await session.get_one(Session, claim.session_id)
            attempt.removed_at = attempt.removed_at or self._clock.now()
            attempt.ended_at = attempt.ended_at or attempt.removed_at
        self._publish(RunQueued(claim.run_id))

    async def open(self) -> list[Claim]:
        """Every claim whose container may exist, oldest first: what a restart adopts or removes."""
        query = (
            select(Session, TaskRun)
            .join(TaskRun, TaskRun.id == Session.run_id)
            .where(Session.removed_at.is_(None))
            .order_by(Session.created_at)
        )
        async with self._db.read() as session:
            return [_claim(attempt, run) for attempt, run in await session.execute(query)]

    async def _next(self, session: AsyncSession, now: datetime, limit: int) -> TaskRun | None:
        if await self._facts.holds_in(session):
            return None
        thread = func.coalesce(TaskRun.retry_of, TaskRun.id)
        busy = (
            await session.scalars(
                select(thread).join(Session, Session.run_id == TaskRun.id).where(Session.removed_at.is_(None))
            )
        ).all()
        if len(busy) >= limit:
            return None
        active = active_of_owners()
        return await session.scalar(
            select(TaskRun)
            .outerjoin(active, active.c.owner_user_id == TaskRun.owner_user_id)
            .where(may_go(now), thread.not_in(busy))
            .order_by(TaskRun.priority.desc(), func.coalesce(active.c.runs, 0), TaskRun.queued_at, TaskRun.id)
            .limit(1)
        )

    async def _put_back(
        self, session: AsyncSession, run: TaskRun, attempt: Session, not_before: datetime, reason: Reason
    ) -> None:
        now = self._clock.now()
        recording.end_attempt(run, attempt, now)
        await self._asking.close(session, run, now)
        if run.status is RunStatus.NEEDS_HUMAN:
            await move(session, run.id, RunStatus.COLLECTING, epoch=run.epoch)
        await move(
            session,
            run.id,
            RunStatus.QUEUED,
            epoch=run.epoch,
            not_before=not_before,
            deadline_at=None,
            required_intervention=False,
            live={"put_off": reason.value},
            new_epoch=run.epoch + 1,
        )
        await self._outbox.touch(session, run.id, "card")

    def _new_session(self, run: TaskRun, now: datetime, boot_id: str) -> tuple[Session, str]:
        kind = "sk-ant-oat01-" if self._config.claude.oauth_token else "sk-ant-api03-"
        dummy, session_id, epoch = kind + secrets.token_urlsafe(32), uuid4(), run.epoch + 1
        session = Session(
            id=session_id,
            run_id=run.id,
            task_id=run.task_id,
            attempt=run.attempt,
            epoch=epoch,
            container_name=f"ccd-{run.id.hex[:12]}-{epoch}",
            folder=session_id.hex[:12],
            boot_id=boot_id,
            dummy_hash=sha256(dummy.encode()).hexdigest(),
            claude_session_id=uuid4(),
            created_at=now,
            events_offset=0,
            events_seq=0,
        )
        return session, dummy

    async def _mine(self, session: AsyncSession, claim: Claim) -> TaskRun:
        """The run, when it is still active in this claim. In a write session nobody changes it before the commit."""
        run = await session.get_one(TaskRun, claim.run_id)
        if run.epoch != claim.epoch or run.status not in ACTIVE:
            raise Lost(f"run {claim.run_id} is {run.status} in epoch {run.epoch}, not in {claim.epoch}")
        return run

    def _publish(self, *events: Event) -> None:
        for event in events:
            self._bus.publish(event)

    def _publish_end(self, ended: Ended) -> None:
        self._publish(RunChanged(ended.run_id), MessagePending(ended.run_id), PushPending())
        self._publish(RunQueued(ended.retry_run_id or ended.run_id))


def _claim(attempt: Session, run: TaskRun, dummy: str | None = None) -> Claim:
    return Claim(
        run_id=run.id,
        session_id=attempt.id,
        task_id=run.task_id,
        epoch=attempt.epoch,
        attempt=attempt.attempt,
        container_name=attempt.container_name,
        folder=attempt.folder,
        claude_session_id=attempt.claude_session_id,
        boot_id=attempt.boot_id,
        status=run.status,
        is_current=run.epoch == attempt.epoch,
        container_id=attempt.container_id,
        events_offset=attempt.events_offset,
        events_seq=attempt.events_seq,
        created_at=attempt.created_at,
        started_at=attempt.started_at,
        deadline_at=run.deadline_at,
        dummy=dummy,
    )
