"""The attempts that follow one start: rows of one thread, each a run of its own."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.lookup import end_of_queue
from ccdtasks.db.enums import RunStatus, Trigger
from ccdtasks.db.models import Task, TaskRun


def first_of(run: TaskRun) -> UUID:
    """The id of the first attempt, which is that of the whole thread."""
    return run.retry_of or run.id


async def latest_of(session: AsyncSession, run: TaskRun) -> TaskRun:
    """The last attempt so far."""
    first = first_of(run)
    query = select(TaskRun).where(or_(TaskRun.id == first, TaskRun.retry_of == first))
    latest = await session.scalar(query.order_by(TaskRun.attempt.desc()).limit(1))
    return latest or run


async def first_attempt(
    session: AsyncSession, task: Task, now: datetime, *, status: RunStatus, trigger: Trigger, **values: Any
) -> TaskRun:
    """Inserts a run of a task that begins a thread of its own, at the end of the queue."""
    run = TaskRun(
        id=uuid4(),
        task_id=task.id,
        owner_user_id=task.owner_user_id,
        status=status,
        trigger=trigger,
        discord_channel_id=task.discord_channel_id,
        attempt=1,
        retry_count=0,
        priority=0,
        epoch=0,
        live={},
        queued_at=await end_of_queue(session, now),
        created_at=now,
        **values,
    )
    session.add(run)
    await session.flush()
    return run


async def next_attempt(
    session: AsyncSession, run: TaskRun, now: datetime, *, trigger: Trigger, not_before: datetime | None, **values: Any
) -> TaskRun:
    """Inserts the attempt that follows `run`, at the end of the queue; `values` replace what it would inherit."""
    inherited = {
        name: getattr(run, name)
        for name in (
            "task_id",
            "owner_user_id",
            "started_by",
            "parameters",
            "chain_id",
            "upstream_runs",
            "discord_channel_id",
            "discord_thread_id",
        )
    }
    attempt = TaskRun(
        **{**inherited, **values},
        id=uuid4(),
        status=RunStatus.QUEUED,
        trigger=trigger,
        attempt=run.attempt + 1,
        retry_count=run.retry_count + 1,
        retry_of=first_of(run),
        priority=0,
        epoch=0,
        live={},
        queued_at=await end_of_queue(session, now),
        created_at=now,
        not_before=not_before,
    )
    session.add(attempt)
    await session.flush()
    return attempt
