"""The history of schedules: one row for every change, every firing, and every time that came without one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.access import Actor
from ccdtasks.db.models import ScheduleHistory

SCHEDULER = "scheduler"
_BY = {"engine": SCHEDULER, "api": "api"}


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


async def is_noted(session: AsyncSession, task_id: UUID, action: str, scheduled_for: datetime) -> bool:
    """Whether the history says so already of that time."""
    row = ScheduleHistory
    query = select(row.id).where(row.task_id == task_id, row.scheduled_for == scheduled_for, row.action == action)
    return await session.scalar(query.limit(1)) is not None
