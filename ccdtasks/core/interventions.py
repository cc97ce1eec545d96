"""When a run needs a person: it waits and its owner is told; somebody resolves it and the run goes on."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.config import Config
from ccdtasks.core.guestlog import GuestEvent
from ccdtasks.core.moves import move
from ccdtasks.core.outbox import Outbox
from ccdtasks.core.taskconfig import read_config
from ccdtasks.core.text import clean_line, clean_text, clean_url
from ccdtasks.db.enums import MessageType, RunStatus
from ccdtasks.db.models import Task, TaskRun

QUESTION = "question"

MAX_REQUESTS = 50
"""A session that calls for people more often is not listened to."""

_ASKS = (QUESTION, "human_needed")


class Interventions:
    """The moves between `running` and `needs_human`, in the transaction that stores the event which causes them.

    `live` of a run holds `asks`, all open requests, and `human`, the latest of them: {"request_id", "reason", "text",
    "choices", "url", "screenshot", "asked_at"}; reason is question, captcha, mfa, login or unclear.
    """

    def __init__(self, config: Config, outbox: Outbox) -> None:
        self._config = config
        self._outbox = outbox

    async def take(self, session: AsyncSession, run: TaskRun, event: GuestEvent, now: datetime) -> bool:
        """Acts on `question`, `human_needed` and `human_done`; True when something changed."""
        if event.type in _ASKS and run.status in (RunStatus.RUNNING, RunStatus.NEEDS_HUMAN):
            return await self._ask(session, run, event, now)
        if event.type == "human_done" and run.status is RunStatus.NEEDS_HUMAN:
            return await self._resolve(session, run, event, now)
        return False

    async def _ask(self, session: AsyncSession, run: TaskRun, event: GuestEvent, now: datetime) -> bool:
        """The run's clock stops with the first open request; the person's starts anew with each."""
        made = run.live.get("requests", 0) + 1
        if made > MAX_REQUESTS:
            return False
        asked = _asked(event, now)
        asks = [each for each in run.live.get("asks", []) if each["request_id"] != asked["request_id"]]
        paused = run.live.get("paused") or {"at": now.isoformat(), "deadline_at": _iso(run.deadline_at)}
        live = {**run.live, "requests": made, "asks": [*asks, asked], "human": asked, "paused": paused}
        task = await session.get_one(Task, run.task_id)
        wait_s = read_config(task.config).human_timeout_s or self._config.limits.human_timeout_s
        deadline_at = now + timedelta(seconds=wait_s)
        await session.flush()
        if run.status is RunStatus.RUNNING:
            await move(session, run.id, RunStatus.NEEDS_HUMAN, epoch=run.epoch, required_intervention=True)
        run.deadline_at, run.live = deadline_at, live
        run.intervention_reason, run.intervention_resolved_at = asked["reason"], None
        payload = {**asked, "deadline_at": deadline_at.isoformat(), "outcome": None}
        await self._outbox.put(session, run, f"human:{asked['request_id']}", _kind(asked), payload)
        return True

    async def _resolve(self, session: AsyncSession, run: TaskRun, event: GuestEvent, now: datetime) -> bool:
        """With the last open request resolved the run goes on, and gets back the time that it waited."""
        request_id = _request_id(event)
        asks = run.live.get("asks", [])
        asked = next((each for each in asks if each["request_id"] == request_id), None)
        if asked is None:
            return False
        rest = [each for each in asks if each is not asked]
        if rest:
            run.live = {**run.live, "asks": rest, "human": rest[-1]}
        else:
            await self._go_on(session, run, now)
        outcome = clean_line(event.data.get("outcome") or "done", 20)
        await self._outbox.put(session, run, f"human:{request_id}", _kind(asked), {**asked, "outcome": outcome})
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
        run.live = {key: value for key, value in live.items() if key not in ("asks", "human", "paused")}
        waited = max(timedelta(0), now - datetime.fromisoformat(paused["at"]))
        run.deadline_at = datetime.fromisoformat(paused["deadline_at"]) + waited if paused["deadline_at"] else None


def _asked(event: GuestEvent, now: datetime) -> dict[str, Any]:
    is_question, data = event.type == QUESTION, event.data
    choices = data.get("choices")
    return {
        "request_id": _request_id(event),
        "reason": QUESTION if is_question else clean_line(data.get("reason") or "unclear", 40),
        "text": clean_text(data.get("question" if is_question else "detail") or "", 1500),
        "choices": [clean_line(choice, 80) for choice in choices[:25]] if isinstance(choices, list) else [],
        "url": clean_url(data.get("url")),
        "screenshot": clean_line(data.get("screenshot") or "", 200) or None,
        "asked_at": now.isoformat(),
    }


def _request_id(event: GuestEvent) -> str:
    return clean_line(event.data.get("request_id") or "", 64)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _kind(asked: dict[str, Any]) -> MessageType:
    return MessageType.ASK_USER if asked["reason"] == QUESTION else MessageType.HUMAN_NEEDED
