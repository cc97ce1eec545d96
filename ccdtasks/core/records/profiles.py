"""Browser profiles that outlive runs; a profile is leased to one session at a time."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update

from ccdtasks.db import Database
from ccdtasks.db.models import Profile, Session


class Profiles:
    """The profiles of all tasks."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def release_stale(self) -> Sequence[str]:
        """Gives back the profiles whose session is gone, its container included; returns their names."""
        gone = select(Session.id).where(Session.removed_at.is_not(None))
        is_stale = Profile.leased_by.in_(gone)
        async with self._db.read() as session:
            if await session.scalar(select(Profile.id).where(is_stale).limit(1)) is None:
                return []
        async with self._db.write() as session:
            freed = update(Profile).where(is_stale).values(leased_by=None, leased_at=None).returning(Profile.name)
            return (await session.scalars(freed)).all()
