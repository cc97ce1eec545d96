"""Who did what: one row an act, written in the transaction of the act."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.access import Actor
from ccdtasks.core.pages import page_size
from ccdtasks.db import Database
from ccdtasks.db.models import AuditEntry
from ccdtasks.times import Clock


class Audit:
    """The audit log."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def record(
        self,
        session: AsyncSession,
        actor: Actor,
        action: str,
        object_id: object,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds an entry to the caller's transaction. `action`: `task.create`, `run.stop`; no secrets."""
        session.add(
            AuditEntry(
                at=self._clock.now(),
                actor_id=actor.user_id,
                via=actor.via,
                action=action,
                object_type=action.partition(".")[0],
                object_id=str(object_id),
                details=dict(details) if details else None,
            )
        )

    async def entries(self, object_type: str, object_id: object, limit: int = 50) -> Sequence[AuditEntry]:
        """What was done to one thing, newest first."""
        query = (
            select(AuditEntry)
            .where(AuditEntry.object_type == object_type, AuditEntry.object_id == str(object_id))
            .order_by(AuditEntry.at.desc())
            .limit(page_size(limit))
        )
        async with self._db.read() as session:
            return (await session.scalars(query)).all()
