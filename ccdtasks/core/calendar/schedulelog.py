"""The history of schedules: one row for every change, every firing, and every time that came without one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.access import Actor
from ccdtasks.core.calendar.oneshot import is_oneshot, stored_oneshot
from ccdtasks.db.models import ScheduleHistory
from ccdtasks.times import duration_text, local_text

SCHEDULER = "scheduler"
_BY = {"engine": SCHEDULER, "api": "api"}
_WORTH_TELLING_S = 120
_SAID = {
    "created": "{after} set",
    "updated": "set anew",
    "removed": "{before} taken away",
    "resumed": "goes on",
    "repaired": "the next time was put right",
}
_LATE = {
    "not_fired": "did not run; tried again",
    "lost": "the next time was lost, and set again",
    "not_started": "did not start in time",
    "not_ended": "did not end in time",
}


def entry(
    task_id: UUID,
    action: str,
    at: datetime,
    *,
    scheduled_for: datetime | None = None,
    details: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A row as a batch inserts it, written by the scheduler unless `triggered_by` says otherwise."""
    return {
        "id": uuid4(),
        "task_id": task_id,
        "action": action,
        "timestamp": at,
        "scheduled_for": scheduled_for,
        "details": dict(details) if details else None,
        "triggered_by": SCHEDULER,
        **more,
    }


def by(actor: Actor) -> dict[str, Any]:
    """Who changed a schedule, in the words of the table."""
    return {"triggered_by": _BY.get(actor.via, "user_command"), "user_id": actor.user_id}


def said(row: ScheduleHistory, timezone: str) -> str:
    """What a row tells people: `ran 1 h 31 m late`, `0 9 * * * instead of @daily`."""
    details = row.details or {}
    before, after = _shown(row.schedule_before, timezone), _shown(row.schedule_after, timezone)
    if row.action == "triggered":
        late_s = int(details.get("late_s") or 0)
        return f"ran {duration_text(late_s)} late" if late_s >= _WORTH_TELLING_S else "ran"
    if row.action in ("skipped", "missed"):
        count = int(details.get("count") or 1)
        why = "a run still went on" if row.action == "skipped" else "the box was off"
        return f"{row.action}, since {why}" if count == 1 else f"{count:,} times {row.action}, since {why}"
    if row.action == "updated" and before != after:
        return f"{after} instead of {before}"
    if row.action == "paused" and details.get("reason"):
        return f"paused: {details['reason']}"
    if row.action == "late":
        return _LATE.get(str(details.get("kind")), "late")
    return _SAID.get(row.action, row.action).format(before=before, after=after)


def _shown(schedule: str | None, timezone: str) -> str:
    """Cron as it is; a time that happens once on the clock of its schedule."""
    if schedule is None or not is_oneshot(schedule):
        return schedule or ""
    return f"once on {local_text(stored_oneshot(schedule).moment, timezone)}"


async def is_noted(
    session: AsyncSession, task_id: UUID, action: str, scheduled_for: datetime, details: Mapping[str, Any]
) -> bool:
    """Whether the history says that already of that time, perhaps with more `details`."""
    row = ScheduleHistory
    query = select(row.details).where(row.task_id == task_id, row.scheduled_for == scheduled_for, row.action == action)
    return any(details.items() <= (noted or {}).items() for noted in await session.scalars(query))
