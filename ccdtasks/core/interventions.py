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


class Interventions:
    """The moves between `running` and `needs_human`, in the transaction that stores the event which causes them."""

    def __init__(self, config: Config, outbox: Outbox) -> None:
        self._config = config
        self._outbox = outbox

    async def take(self, session: AsyncSession, run: TaskRun, event: GuestEvent, now: datetime) -> bool:
        """Acts on `question`, `human_needed` and `human_done`; True when the run moved. Other events are no concern."""
        if event.type in (QUESTION, "human_needed") and run.status is RunStatus.RUNNING:
            await self._wait(session, run, event, now)
            return True
        if event.type == "human_done" and run.status is RunStatus.NEEDS_HUMAN and run.live.get("human"):
            await self._go_on(session, run, event, now)
            return True
        return False

    async def _wait(self, session: AsyncSession, run: TaskRun, event: GuestEvent, now: datetime) -> None:
        """RUNNING -> NEEDS_HUMAN: the run's clock stops, the person's starts."""
        await session.flush()
        task = await session.get_one(Task, run.task_id)
        wait_s = read_config(task.config).human_timeout_s or self._config.limits.human_timeout_s
        deadline_at = now + timedelta(seconds=wait_s)
        asked = _asked(run, event, now)
        await move(
            session,
            run.id,
            RunStatus.NEEDS_HUMAN,
            epoch=run.epoch,
            deadline_at=deadline_at,
            required_intervention=True,
            intervention_reason=asked["reason"],
            intervention_resolved_at=None,
            live={**run.live, "human": asked},
        )
        payload = {**asked, "deadline_at": deadline_at.isoformat(), "outcome": None}
        await self._outbox.put(session, run, f"human:{asked['request_id']}", _kind(asked), payload)

    async def _go_on(self, session: AsyncSession, run: TaskRun, event: GuestEvent, now: datetime) -> None:
        """NEEDS_HUMAN -> RUNNING: the run gets back the time that it waited."""
        await session.flush()
        asked = run.live["human"]
        deadline_at = None
        if asked["run_deadline_at"]:
            waited = max(timedelta(0), now - datetime.fromisoformat(asked["asked_at"]))
            deadline_at = datetime.fromisoformat(asked["run_deadline_at"]) + waited
        await move(
            session,
            run.id,
            RunStatus.RUNNING,
            epoch=run.epoch,
            sources={RunStatus.NEEDS_HUMAN},
            deadline_at=deadline_at,
            required_intervention=False,
            intervention_resolved_at=now,
            live={key: value for key, value in run.live.items() if key != "human"},
        )
        outcome = clean_line(event.data.get("outcome") or "done", 20)
        await self._outbox.put(
            session, run, f"human:{asked['request_id']}", _kind(asked), {**asked, "outcome": outcome}
        )


def _asked(run: TaskRun, event: GuestEvent, now: datetime) -> dict[str, Any]:
    """What is asked, as the live card and the message show it."""
    is_question, data = event.type == QUESTION, event.data
    choices = data.get("choices")
    return {
        "request_id": clean_line(data.get("request_id") or "", 64),
        "reason": QUESTION if is_question else clean_line(data.get("reason") or "unclear", 40),
        "text": clean_text(data.get("question" if is_question else "detail") or "", 1500),
        "choices": [clean_line(choice, 80) for choice in choices[:25]] if isinstance(choices, list) else [],
        "url": clean_url(data.get("url")),
        "screenshot": clean_line(data.get("screenshot") or "", 200) or None,
        "asked_at": now.isoformat(),
        "run_deadline_at": run.deadline_at.isoformat() if run.deadline_at else None,
    }


def _kind(asked: dict[str, Any]) -> MessageType:
    return MessageType.ASK_USER if asked["reason"] == QUESTION else MessageType.HUMAN_NEEDED
