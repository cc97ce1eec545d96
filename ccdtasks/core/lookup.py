"""Finding runs: by what people type, and by what is going on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.states import ACTIVE
from ccdtasks.core.text import clean_line
from ccdtasks.db.enums import RunStatus
from ccdtasks.db.models import Session, Task, TaskRun
from ccdtasks.errors import Conflict, NotFound

GOING = ACTIVE | {RunStatus.SCHEDULED, RunStatus.WAITING_DEPENDENCY, RunStatus.QUEUED}
"""States of runs that have not ended; their `completed_at` is empty, for which there are small partial indexes."""

_LAST_QUEUED = select(func.max(TaskRun.queued_at)).where(TaskRun.status.in_(GOING))
_SHORTEST = 4


async def find_run(session: AsyncSession, id_or_prefix: str) -> TaskRun:
    """The one run whose id, or whose session's id, begins with the given hexadecimal digits (dashes do not count)."""
    digits = id_or_prefix.strip().replace("-", "").lower()
    if len(digits) > 32 or not re.fullmatch(f"[0-9a-f]{{{_SHORTEST},}}", digits):
        raise NotFound(
            f"There is no run `{clean_line(id_or_prefix, 40)}`.",
            f"give the first digits of its id, at least {_SHORTEST}",
        )
    first, last = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
    by_session = select(Session.run_id).where(Session.id.between(first, last))
    found = (
        await session.scalars(
            select(TaskRun).where(or_(TaskRun.id.between(first, last), TaskRun.id.in_(by_session))).limit(3)
        )
    ).all()
    if not found:
        raise NotFound(f"There is no run `{clean_line(id_or_prefix, 40)}`.", "/task-status shows the latest ones")
    if len(found) > 1:
        raise Conflict(f"Several runs begin with `{digits}`.", "give more digits of the id")
    return found[0]


async def going_runs(
    session: AsyncSession, task_id: UUID | None = None, owner: str | None = None, limit: int = 50
) -> Sequence[tuple[TaskRun, str]]:
    """Runs that have not ended, oldest first, with the names of their tasks."""
    query = select(TaskRun, Task.task_name).join(Task, Task.id == TaskRun.task_id).where(TaskRun.completed_at.is_(None))
    if task_id:
        query = query.where(TaskRun.task_id == task_id)
    if owner:
        query = query.where(TaskRun.owner_user_id == owner)
    rows = await session.execute(query.order_by(TaskRun.queued_at, TaskRun.id).limit(limit))
    return [(run, name) for run, name in rows]


async def end_of_queue(session: AsyncSession, now: datetime) -> datetime:
    """The `queued_at` of a run that queues up now: behind all others, also when the clock was set back."""
    last = await session.scalar(_LAST_QUEUED)
    return max(now, last + timedelta(microseconds=1)) if last else now
