"""Writing a session's events, each exactly once, and summing what it used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.outcome.guestlog import MAX_EVENTS, TRAFFIC, GuestEvent, count, grown_traffic, read_line
from ccdtasks.core.text import clean_line
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
    """Sums what all sessions of the run used into its row: in all, and by model."""
    await session.flush()
    attempts = (await session.scalars(select(Session).where(Session.run_id == run.id))).all()
    totals: dict[str, int] = {}
    by_model: dict[str, dict[str, int]] = {}
    for attempt in attempts:
        for model, counts in (attempt.usage or {}).items():
            own = by_model.setdefault(clean_line(model, 100), {})
            for name, number in counts.items():
                for sums in (totals, own):
                    sums[name] = sums.get(name, 0) + count(number, 2**53)
    run.api_calls_made = count(totals.pop("requests", 0))
    run.tokens_used = {**totals, "by_model": by_model}
    run.cost_usd = sum((attempt.cost_usd for attempt in attempts), start=type(attempts[0].cost_usd)(0))


async def sum_traffic(session: AsyncSession, run: TaskRun, attempt: Session, news: Sequence[Mapping[str, Any]]) -> bool:
    """Takes the running totals of a session, and sums those of all sessions into the run; True when they grew."""
    before = attempt.traffic
    for data in news:
        attempt.traffic = grown_traffic(attempt.traffic, dict(data))
    if not news or attempt.traffic == before:
        return False
    others = select(Session.traffic).where(
        Session.run_id == run.id, Session.id != attempt.id, Session.traffic.is_not(None)
    )
    all_of_them = [attempt.traffic or {}, *(await session.scalars(others) if run.epoch > 1 else ())]
    sums = {name: sum((each or {}).get(name, 0) for each in all_of_them) for name in TRAFFIC}
    run.pages_loaded = count(sums["pages_loaded"])
    run.http_requests_made = count(sums["http_requests"])
    run.failed_requests = count(sums["failed_requests"])
    run.page_load_ms = sums["load_ms_total"]
    run.data_transferred_bytes = sums["bytes_received"] + sums["bytes_sent"]
    return True


def end_attempt(run: TaskRun, attempt: Session, now: datetime) -> None:
    """Notes the end of a session; the time that it was up is added to the run's."""
    attempt.ended_at = now
    if attempt.started_at is not None:
        up_s = max(0, int((now - attempt.started_at).total_seconds()))
        run.compute_time_seconds = (run.compute_time_seconds or 0) + up_s


async def _last_at(session: AsyncSession, run_id: UUID) -> datetime | None:
    return await session.scalar(
        select(RunEvent.at).where(RunEvent.run_id == run_id).order_by(RunEvent.at.desc()).limit(1)
    )
