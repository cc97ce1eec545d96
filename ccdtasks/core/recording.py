"""Writing a session's events, each exactly once, and what they mean for the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.config import Config
from ccdtasks.core.guestlog import MAX_EVENTS, GuestEvent, count, fold, read_line
from ccdtasks.core.moves import move
from ccdtasks.core.outbox import Outbox
from ccdtasks.core.taskconfig import read_config
from ccdtasks.core.text import clean_line, clean_text, clean_url
from ccdtasks.db.enums import MessageType, RunStatus
from ccdtasks.db.models import RunEvent, Session, Task, TaskRun

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Batch:
    """The events that were new, and the number of lines that were not."""

    events: list[GuestEvent]
    skipped: int


async def store(session: AsyncSession, run: TaskRun, attempt: Session, lines: Sequence[bytes], now: datetime) -> Batch:
    """Inserts the new events among `lines`.

    An event whose number was seen already is dropped. A number that jumps is not believed: the log counts on by one,
    so that no forged number shuts out what follows. `at` rises strictly within a run and so serves as a cursor.
    """
    last_at = await _last_at(session, run.id)
    events: list[GuestEvent] = []
    rows: list[dict[str, Any]] = []
    for line in lines:
        event = read_line(line, now)
        if event is None or event.seq <= attempt.events_seq:
            continue
        attempt.events_seq += 1
        last_at = max(min(event.at, now), last_at + _TICK) if last_at else min(event.at, now)
        events.append(event)
        if attempt.events_seq <= MAX_EVENTS:
            rows.append(
                {
                    "session_id": attempt.id,
                    "seq": attempt.events_seq,
                    "run_id": run.id,
                    "at": last_at,
                    "type": event.type,
                    "data": event.data,
                }
            )
    if rows:
        await session.execute(insert(RunEvent), rows)
    return Batch(events, len(lines) - len(events))


async def note(
    session: AsyncSession, run: TaskRun, session_id: UUID, type: str, data: Mapping[str, Any], now: datetime
) -> None:
    """Inserts an event of our own; its number is the lowest so far minus one."""
    lowest = await session.scalar(select(func.min(RunEvent.seq)).where(RunEvent.session_id == session_id))
    last_at = await _last_at(session, run.id)
    await session.execute(
        insert(RunEvent).values(
            session_id=session_id,
            seq=min(lowest or 0, 0) - 1,
            run_id=run.id,
            at=max(now, last_at + _TICK) if last_at else now,
            type=type,
            data=dict(data),
        )
    )


async def apply(
    session: AsyncSession, run: TaskRun, events: Sequence[GuestEvent], now: datetime, outbox: Outbox, config: Config
) -> bool:
    """Brings the run's row up to date; a question or a call for a person also moves it and tells the owner."""
    changed = False
    for event in events:
        if event.type in ("question", "human_needed"):
            changed |= await _wait_for_person(session, run, event, now, outbox, config)
        elif event.type == "human_done":
            changed |= await _go_on(session, run, event, now, outbox)
        else:
            changed |= fold(run, event)
    return changed


async def sum_usage(session: AsyncSession, run: TaskRun) -> None:
    """Sums what all sessions of the run used into its row."""
    await session.flush()
    attempts = (await session.scalars(select(Session).where(Session.run_id == run.id))).all()
    totals: dict[str, int] = {}
    for attempt in attempts:
        for counts in (attempt.usage or {}).values():
            for name, number in counts.items():
                totals[name] = totals.get(name, 0) + count(number)
    run.api_calls_made = totals.pop("requests", 0)
    run.tokens_used = totals
    run.cost_usd = sum((attempt.cost_usd for attempt in attempts), start=type(attempts[0].cost_usd)(0))


async def _wait_for_person(
    session: AsyncSession, run: TaskRun, event: GuestEvent, now: datetime, outbox: Outbox, config: Config
) -> bool:
    """RUNNING -> NEEDS_HUMAN: the run's clock stops, the person's starts."""
    if run.status is not RunStatus.RUNNING:
        return False
    await session.flush()
    task = await session.get_one(Task, run.task_id)
    wait_s = read_config(task.config).human_timeout_s or config.limits.human_timeout_s
    is_question = event.type == "question"
    asked = {
        "request_id": clean_line(event.data.get("request_id", ""), 64),
        "reason": "question" if is_question else clean_line(event.data.get("reason", "unclear"), 40),
        "text": clean_text(event.data.get("question" if is_question else "detail") or "", 1500),
        "choices": _choices(event.data.get("choices")),
        "url": clean_url(event.data.get("url")),
        "screenshot": clean_line(event.data.get("screenshot") or "", 200) or None,
        "asked_at": now.isoformat(),
        "run_deadline_at": run.deadline_at.isoformat() if run.deadline_at else None,
    }
    deadline_at = now + timedelta(seconds=wait_s)
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
    kind = MessageType.ASK_USER if is_question else MessageType.HUMAN_NEEDED
    payload = {**asked, "deadline_at": deadline_at.isoformat(), "outcome": None}
    await outbox.put(session, run, f"human:{asked['request_id']}", kind, payload)
    return True


async def _go_on(session: AsyncSession, run: TaskRun, event: GuestEvent, now: datetime, outbox: Outbox) -> bool:
    """NEEDS_HUMAN -> RUNNING: the run gets back the time that it waited."""
    asked = run.live.get("human")
    if run.status is not RunStatus.NEEDS_HUMAN or not asked:
        return False
    await session.flush()
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
    kind = MessageType.ASK_USER if asked["reason"] == "question" else MessageType.HUMAN_NEEDED
    outcome = clean_line(event.data.get("outcome", "done"), 20)
    await outbox.put(session, run, f"human:{asked['request_id']}", kind, {**asked, "outcome": outcome})
    return True


def _choices(value: object) -> list[str]:
    return [clean_line(choice, 80) for choice in value[:25]] if isinstance(value, list) else []


async def _last_at(session: AsyncSession, run_id: UUID) -> datetime | None:
    return await session.scalar(
        select(RunEvent.at).where(RunEvent.run_id == run_id).order_by(RunEvent.at.desc()).limit(1)
    )
