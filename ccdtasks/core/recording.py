"""Writing a session's events, each exactly once, and summing what it used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.guestlog import MAX_EVENTS, GuestEvent, count, read_line
from ccdtasks.db.models import RunEvent, Session, TaskRun

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
    session: AsyncSession, run: TaskRun, session_id: UUID, *, type: str, data: Mapping[str, Any], now: datetime
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


async def sum_usage(session: AsyncSession, run: TaskRun) -> None:
    """Sums what all sessions of the run used into its row."""
    await session.flush()
    attempts = (await session.scalars(select(Session).where(Session.run_id == run.id))).all()
    totals: dict[str, int] = {}
    for attempt in attempts:
        for counts in (attempt.usage or {}).values():
            for name, number in counts.items():
                totals[name] = totals.get(name, 0) + count(number, 2**53)
    run.api_calls_made = count(totals.pop("requests", 0))
    run.tokens_used = totals
    run.cost_usd = sum((attempt.cost_usd for attempt in attempts), start=type(attempts[0].cost_usd)(0))


async def _last_at(session: AsyncSession, run_id: UUID) -> datetime | None:
    return await session.scalar(
        select(RunEvent.at).where(RunEvent.run_id == run_id).order_by(RunEvent.at.desc()).limit(1)
    )
