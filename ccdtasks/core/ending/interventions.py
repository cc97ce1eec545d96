"""What people answer a session that waits for them, and say to one that works; the engine hands it over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.access import Access, Actor, person
from ccdtasks.core.audit import Audit
from ccdtasks.core.ending.asking import QUESTION, Asking
from ccdtasks.core.lookup import find_run
from ccdtasks.core.pages import page_size
from ccdtasks.core.states import FINAL
from ccdtasks.core.text import clean_text
from ccdtasks.db import Database
from ccdtasks.db.enums import RunStatus
from ccdtasks.db.models import Intervention, SessionMessage, Task, TaskRun
from ccdtasks.errors import Conflict, Invalid, NotFound
from ccdtasks.events import Bus, MessagePending, PushPending, RunChanged
from ccdtasks.times import Clock

MAX_TEXT = 2000
_HEARS = (RunStatus.STARTING, RunStatus.RUNNING, RunStatus.NEEDS_HUMAN)
_OVER = {
    "left": "That is solved already, and the run goes on.",
    "timeout": "Nobody came in time, so the run went on without an answer.",
    "ended": "The run ended before anybody answered.",
}

Untold = Intervention | SessionMessage
"""What a session is still to be told."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person decided. `outcome`: answered, by `text` or by the number of a choice from 0; done; or skipped."""

    outcome: Literal["answered", "done", "skipped"]
    text: str = ""
    choice: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A run with something that it asks, or asked."""

    run: TaskRun
    task_name: str
    request: Intervention


class Interventions:
    """The acts of people on what sessions ask, and the engine's view of them."""

    def __init__(self, *, db: Database, bus: Bus, clock: Clock, access: Access, audit: Audit, asking: Asking) -> None:
        self._db = db
        self._bus = bus
        self._clock = clock
        self._access = access
        self._audit = audit
        self._asking = asking

    async def answer(self, actor: Actor, run_ref: str, answer: Answer, request: UUID | None = None) -> Asked:
        """Keeps a person's answer for the session, once. `request`: the id of the row, else the run's latest open one.

        Raises Conflict when the run does not wait (any more), Invalid for an answer that cannot be one.
        """
        async with self._db.write() as session:
            asked = await self._open(session, actor, run_ref, request)
            run, found = asked.run, asked.request
            found.outcome, found.answer = answer.outcome, _words(found, answer) or None
            found.answered_by, found.answered_at = actor.user_id, self._clock.now()
            await self._asking.answered(session, run, found)
            # without the words: they may be a code that opens something
            self._audit.record(
                session, actor, "run.answer", run.id, {"request": found.request_id, "outcome": answer.outcome}
            )
        self._bus.publish(RunChanged(run.id))
        self._bus.publish(MessagePending(run.id))
        self._bus.publish(PushPending())  # what rings is silenced
        return asked

    async def find(self, actor: Actor, run_ref: str, request: UUID | None = None) -> Asked:
        """What the actor may answer now; raises as `answer` does."""
        async with self._db.read() as session:
            return await self._open(session, actor, run_ref, request)

    async def waiting(self, actor: Actor, limit: int = 25) -> Sequence[Asked]:
        """The requests that the actor may answer, the oldest first."""
        self._access.require_use(actor)
        query = (
            select(TaskRun, Task.task_name, Intervention)
            .join(Task, Task.id == TaskRun.task_id)
            .join(Intervention, Intervention.session_id == TaskRun.session_id)
            .where(TaskRun.required_intervention, Intervention.settled_at.is_(None), Intervention.answered_at.is_(None))
            .order_by(Intervention.asked_at, Intervention.request_id)
            .limit(page_size(limit))
        )
        if not self._access.is_admin(actor):
            query = query.where(TaskRun.owner_user_id == actor.user_id)
        async with self._db.read() as session:
            return [Asked(run, name, request) for run, name, request in await session.execute(query)]

    async def say(self, actor: Actor, run_ref: str, text: str) -> TaskRun:
        """Keeps a message of a person for the running agent. Raises Conflict when there is none."""
        async with self._db.write() as session:
            run = await find_run(session, run_ref)
            self._access.require_owner(actor, run.owner_user_id, "talk to this run")
            if run.status not in _HEARS or run.stop_requested_at is not None or run.session_id is None:
                raise Conflict("This run does not listen now.", "only one that is running does")
            is_owner = actor.user_id == run.owner_user_id
            message = SessionMessage(
                run_id=run.id,
                session_id=run.session_id,
                author_user_id=actor.user_id,
                author="the owner" if is_owner else "an admin",
                text=_checked("message", text),
                said_at=self._clock.now(),
            )
            session.add(message)
            self._audit.record(session, actor, "run.say", run.id)
        self._bus.publish(RunChanged(run.id))
        return run

    async def untold(self, session_id: UUID) -> Sequence[Untold]:
        """What the session has not confirmed yet, in the order in which people said it."""
        answers = select(Intervention).where(
            Intervention.session_id == session_id,
            Intervention.settled_at.is_(None),
            Intervention.answered_at.is_not(None),
            Intervention.told_at.is_(None),
        )
        messages = select(SessionMessage).where(
            SessionMessage.session_id == session_id, SessionMessage.told_at.is_(None)
        )
        async with self._db.read() as session:
            found: list[Untold] = [*await session.scalars(answers), *await session.scalars(messages)]
        return sorted(found, key=_said_at)

    async def told(self, untold: Untold) -> None:
        """The session confirmed that it has it."""
        kind = type(untold)
        async with self._db.write() as session:
            await session.execute(
                update(kind).where(kind.id == untold.id, kind.told_at.is_(None)).values(told_at=self._clock.now())
            )

    async def _open(self, session: AsyncSession, actor: Actor, run_ref: str, request: UUID | None) -> Asked:
        run = await find_run(session, run_ref)
        self._access.require_owner(actor, run.owner_user_id, "answer this run")
        found = await _request(session, run, request)
        if found is not None and found.answered_by is not None:
            raise Conflict(f"That was {found.outcome} already by {person(found.answered_by)}.")
        if found is not None and found.settled_at is not None:
            raise Conflict(_OVER.get(found.outcome or "", "The run does not wait for that any more."))
        if run.status in FINAL:
            raise Conflict("This run has ended.")
        if run.stop_requested_at is not None or run.status is RunStatus.COLLECTING:
            raise Conflict("This run is ending.")
        if found is None or run.status is not RunStatus.NEEDS_HUMAN:
            raise Conflict("This run does not wait for anybody.")
        return Asked(run, (await session.get_one(Task, run.task_id)).task_name, found)


async def _request(session: AsyncSession, run: TaskRun, request: UUID | None) -> Intervention | None:
    """The named request of the run; else the latest one that waits, or that was answered and waits to be told."""
    query = select(Intervention).where(Intervention.run_id == run.id)
    if request is not None:
        found = await session.scalar(query.where(Intervention.id == request))
        if found is None:
            raise NotFound("This run did not ask that.")
        return found
    still_open = query.where(Intervention.session_id == run.session_id, Intervention.settled_at.is_(None))
    return await session.scalar(
        still_open.order_by(
            Intervention.answered_at.is_not(None), Intervention.asked_at.desc(), Intervention.request_id.desc()
        ).limit(1)
    )


def _words(asked: Intervention, answer: Answer) -> str:
    """The answer's text, as it is handed over; a choice in its own spelling."""
    if answer.choice is not None:
        if not 0 <= answer.choice < len(asked.choices):
            raise Invalid("answer", "There is no such choice.", "press one of the buttons")
        return asked.choices[answer.choice]
    if answer.outcome == "done" and asked.reason == QUESTION:
        raise Invalid("answer", "It asks a question, so it needs an answer.", _hint(asked))
    if answer.outcome != "answered" and not answer.text.strip():
        return ""
    text = _checked("answer", answer.text)
    return next((choice for choice in asked.choices if choice.casefold() == text.casefold()), text)


def _hint(asked: Intervention) -> str:
    return f"choose: {', '.join(asked.choices[:5])}" if asked.choices else "say it in a few words"


def _checked(field: str, given: str) -> str:
    text = clean_text(given, MAX_TEXT * 2).strip()
    if not text:
        raise Invalid(field, "There is nothing in it.", "say it in a few words")
    if len(text) > MAX_TEXT:
        raise Invalid(field, f"It has {len(text):,} characters; {MAX_TEXT:,} are allowed.", "say it shorter")
    return text


def _said_at(untold: Untold) -> tuple[datetime, str]:
    at = untold.said_at if isinstance(untold, SessionMessage) else untold.answered_at
    assert at is not None  # noqa: S101  only what was answered is untold
    return at, str(untold.id)
