"""How often somebody may start a run."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.access import Actor
from ccdtasks.db.enums import Trigger
from ccdtasks.db.models import TaskRun
from ccdtasks.errors import LimitReached


async def require_rate(session: AsyncSession, actor: Actor, limit: int, now: datetime) -> None:
    """At most `limit` runs of one user in any sixty seconds; the appliance's own starts are free."""
    if actor.via == "engine":
        return
    query = (
        select(TaskRun.created_at)
        .where(
            TaskRun.started_by == actor.user_id,
            TaskRun.created_at > now - timedelta(minutes=1),
            TaskRun.trigger != Trigger.RETRY,
        )
        .order_by(TaskRun.created_at.desc())
        .limit(limit)
    )
    recent = (await session.scalars(query)).all()
    if len(recent) >= limit:
        wait_s = max(1.0, (recent[-1] + timedelta(minutes=1) - now).total_seconds())
        raise LimitReached(
            f"You have started {limit} runs within a minute.", f"try again in {wait_s:.0f} s", retry_after_s=wait_s
        )
