"""How often somebody may start a run, and how often their programs may call a phone."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.amounts import counted
from ccdtasks.core.access import Actor
from ccdtasks.db.enums import Trigger
from ccdtasks.db.models import AuditEntry, TaskRun
from ccdtasks.errors import LimitReached
from ccdtasks.times import duration_text

PUSH_SENT = "push.send"
"""The act in the audit log by which pushes of programs are counted."""

_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)
_PUSHES = ((20, _MINUTE, "a minute"), (300, _DAY, "a day"))
"""A program gone wrong must not use up the month of everybody: Pushover takes 10,000 messages of one account."""


async def require_rate(session: AsyncSession, actor: Actor, limit: int, now: datetime) -> None:
    """At most `limit` runs of one user in any sixty seconds; the appliance's own starts are free."""
    if actor.via == "engine":
        return
    own = select(TaskRun.created_at).where(TaskRun.started_by == actor.user_id, TaskRun.trigger != Trigger.RETRY)
    said = f"You have started {counted(limit, 'run')} within a minute."
    await _require_room(session, own, now, limit=limit, within=_MINUTE, said=said)


async def require_push_rate(session: AsyncSession, actor: Actor, now: datetime) -> None:
    """At most 20 pushes in any minute and 300 in any day by all programs of one user together."""
    own = select(AuditEntry.at).where(AuditEntry.action == PUSH_SENT, AuditEntry.actor_id == actor.user_id)
    for limit, within, words in _PUSHES:
        said = f"Your programs have sent {limit} pushes within {words}."
        await _require_room(session, own, now, limit=limit, within=within, said=said)


async def _require_room(
    session: AsyncSession, own: Select[datetime], now: datetime, *, limit: int, within: timedelta, said: str
) -> None:
    """Raises LimitReached when `own` selects `limit` moments within that time.

    What lies ahead, of before a clock was set back, locks nobody out.
    """
    at = own.selected_columns[0]
    query = own.where(at > now - within, at <= now).order_by(at.desc()).limit(limit)
    recent = (await session.scalars(query)).all()
    if len(recent) >= limit:
        wait_s = max(1.0, (recent[-1] + within - now).total_seconds())
        raise LimitReached(said, f"try again in {duration_text(wait_s)}", retry_after_s=wait_s)
