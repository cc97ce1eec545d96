"""When a session calls for a person: its run waits and the owner is told; it is resolved and the run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.config import Config
from ccdtasks.core.definition.taskconfig import read_config
from ccdtasks.core.outbox import Outbox
from ccdtasks.core.outcome.guestlog import GuestEvent
from ccdtasks.core.phone.pushes import Pushes
from ccdtasks.core.records.moves import move
from ccdtasks.core.text import clean_line, clean_text, clean_url
from ccdtasks.db.enums import MessageType, RunStatus
from ccdtasks.db.models import Intervention, Task, TaskRun

QUESTION = "question"
ENDED = "ended"

MAX_REQUESTS = 50
"""A session that calls for people more often is not listened to."""

_ASKS = (QUESTION, "human_needed")
_CHOICES_MAX = 25
_LIVE = ("human", "paused")


class Asking:
    """The moves between `running` and `needs_human`, in the transaction that stores the event which causes them.

    `live` of a run that waits holds `human`, the latest request that nobody answered yet (`shape`), and `paused`.
    """

    def __init__(self, config: Config, outbox: Outbox, pushes: Pushes) -> None:
        self._config = config
        self._outbox = outbox
        self._pushes = pushes

    async def take(self, session: AsyncSession, run: TaskRun, event: GuestEvent, now: datetime) -> bool:
        """Acts on `question`, `human_needed` and `human_done`; True when something changed."""
        if event.type in _ASKS and run.status in (RunStatus.RUNNING, RunStatus.NEEDS_HUMAN):
            return await self._ask(session, run, event, now)
        if event.type == "human_done" and run.status is RunStatus.NEEDS_HUMAN:
            return await self._resolve(session, run, event, now)
        return False

    async def close(self, session: AsyncSession, run: TaskRun, now: datetime) -> None:
        """The session is over: what it still asked is not asked any more, and its messages say so."""
        for asked in await _open_requests(session, run):
            if asked.told_at is None:
                asked.outcome = ENDED
            asked.settled_at = now
            await self.show(session, run, asked)
            await self._pushes.no_longer(session, run, asked)
        run.live = {key: value for key, value in (run.live or {}).items() if key not in _LIVE}

    async def answered(self, session: AsyncSession, run: TaskRun, asked: Intervention) -> None:
        """A person answered: the message says so, and the next open request comes to the front."""
        run.live = _with_human(run.live, await _open_requests(session, run))
        await self.show(session, run, asked)
        await self._pushes.no_longer(session, run, asked)

    async def show(self, session: AsyncSession, run: TaskRun, asked: Intervention) -> None:
        """Writes or renews the message of a request."""
        kind = MessageType.ASK_USER if asked.reason == QUESTION else MessageType.HUMAN_NEEDED
        await self._outbox.put(session, run, f"human:{run.epoch}:{asked.request_id}", kind, _payload(asked))

    async def _ask(self, session: AsyncSession, run: TaskRun, event: GuestEvent, now: datetime) -> bool:
        """The run's clock stops with the first open request; the person's starts anew with each."""
        request_id = _request_id(event)
        if not request_id or not await _is_heard(session, run, request_id):
            return False
        task = await session.get_one(Task, run.task_id)
        wait_s = read_config(task.config).human_timeout_s or self._config.limits.human_timeout_s
        asked = _asked(run, event, now, now + timedelta(seconds=wait_s))
        session.add(asked)
        paused = run.live.get("paused") or {"at": now.isoformat(), "deadline_at": _iso(run.deadline_at)}
        live = {**run.live, "human": shape(asked), "paused": paused}
        await session.flush()
        if run.status is RunStatus.RUNNING:
            await move(session, run.id, RunStatus.NEEDS_HUMAN, epoch=run.epoch, required_intervention=True)
        run.deadline_at, run.live = asked.deadline_at, live
        run.intervention_reason, run.intervention_resolved_at = asked.reason, None
        await self.show(session, run, asked)
        await self._pushes.tell_wanted(session, task, run, asked)
        return True

    async def _resolve(self, session: AsyncSession, run: TaskRun, event: GuestEvent, now: datetime) -> bool:
        """With the last open request resolved the run goes on, and gets back the time that it waited."""
        request_id = _request_id(event)
        requests = await _open_requests(session, run)
        asked = next((each for each in requests if each.request_id == request_id), None)
        if asked is None:
            return False
        asked.outcome = clean_line(event.data.get("outcome") or "done", 20)
        asked.settled_at = now
        rest = [each for each in requests if each is not asked]
        if rest:
            run.live = _with_human(run.live, rest)
        else:
            await self._go_on(session, run, now)
        await self.show(session, run, asked)
        await self._pushes.no_longer(session, run, asked)
        return True

    async def _go_on(self, session: AsyncSession, run: TaskRun, now: datetime) -> None:
        paused, live = run.live["paused"], run.live
        await session.flush()
        await move(
            session,
            run.id,
            RunStatus.RUNNING,
            epoch=run.epoch,
            sources={RunStatus.NEEDS_HUMAN},
            required_intervention=False,
            intervention_resolved_at=now,
        )
        run.live = {key: value for key, value in live.items() if key not in _LIVE}
        waited = max(timedelta(0), now - datetime.fromisoformat(paused["at"]))
        run.deadline_at = datetime.fromisoformat(paused["deadline_at"]) + waited if paused["deadline_at"] else None


def shape(asked: Intervention) -> dict[str, Any]:
    """What is asked, as JSON."""
    return {
        "request_id": asked.request_id,
        "reason": asked.reason,
        "text": asked.text,
        "choices": asked.choices,
        "url": asked.url,
        "screenshot": asked.screenshot,
        "asked_at": asked.asked_at.isoformat(),
        "deadline_at": asked.deadline_at.isoformat(),
    }


async def _open_requests(session: AsyncSession, run: TaskRun) -> Sequence[Intervention]:
    """What the run's present session still waits for, in the order in which it asked."""
    query = select(Intervention).where(Intervention.session_id == run.session_id, Intervention.settled_at.is_(None))
    return (await session.scalars(query.order_by(Intervention.asked_at, Intervention.request_id))).all()


async def _is_heard(session: AsyncSession, run: TaskRun, request_id: str) -> bool:
    """Whether a request is new, and the session has not called too often."""
    mine = Intervention.session_id == run.session_id
    known = await session.scalar(select(Intervention.id).where(mine, Intervention.request_id == request_id))
    made = await session.scalar(select(func.count()).select_from(Intervention).where(mine))
    return known is None and (made or 0) < MAX_REQUESTS


def _asked(run: TaskRun, event: GuestEvent, now: datetime, deadline_at: datetime) -> Intervention:
    is_question, data = event.type == QUESTION, event.data
    return Intervention(
        id=uuid4(),
        run_id=run.id,
        session_id=run.session_id,
        request_id=_request_id(event),
        reason=QUESTION if is_question else clean_line(data.get("reason") or "unclear", 40),
        text=clean_text(data.get("question" if is_question else "detail") or "", 1500),
        choices=_choices(data.get("choices")),
        url=clean_url(data.get("url")),
        screenshot=clean_line(data.get("screenshot") or "", 200) or None,
        asked_at=now,
        deadline_at=deadline_at,
    )


def _choices(given: object) -> list[str]:
    """Each once and none of them empty: they become buttons."""
    words = [clean_line(choice, 80) for choice in given[:_CHOICES_MAX]] if isinstance(given, list) else []
    return list(dict.fromkeys(word for word in words if word))


def _payload(asked: Intervention) -> dict[str, Any]:
    is_late = asked.answered_at is not None and asked.outcome not in ("answered", "done", "skipped")
    told = {"id": str(asked.id), "outcome": asked.outcome, "is_late": is_late}
    return {**shape(asked), **told, "answer": asked.answer, "answered_by": asked.answered_by}


def _with_human(live: dict[str, Any], requests: Sequence[Intervention]) -> dict[str, Any]:
    unanswered = [each for each in requests if each.answered_at is None]
    rest = {key: value for key, value in live.items() if key != "human"}
    return {**rest, "human": shape(unanswered[-1])} if unanswered else rest


def _request_id(event: GuestEvent) -> str:
    return clean_line(event.data.get("request_id") or "", 64)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
