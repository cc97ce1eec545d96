"""Profiles are leased to one session at a time, and a lease ends with its session."""

from __future__ import annotations

from sqlalchemy import select

from ccdtasks.core import Core
from ccdtasks.core.runs.claims import Claim
from ccdtasks.db.models import Profile
from tests.people import ANN
from tests.stories import complete, running


async def _lease(core: Core, name: str, claimed: Claim) -> None:
    async with core.db.write() as session:
        session.add(
            Profile(name=name, owner_user_id=ANN.user_id, leased_by=claimed.session_id, leased_at=core.clock.now())
        )


async def _leased(core: Core) -> list[str]:
    async with core.db.read() as session:
        return list(await session.scalars(select(Profile.name).where(Profile.leased_by.is_not(None))))


async def test_a_lease_ends_when_its_session_is_gone_and_not_before(core: Core) -> None:
    """A run that has ended may still have its container, with a browser that writes into the profile."""
    first, second = await running(core, "first"), await running(core, "second")
    await _lease(core, "shop", first)
    await _lease(core, "bank", second)
    await complete(core, first)
    assert await core.profiles.release_stale() == []
    await core.claims.removed(first)
    assert await core.profiles.release_stale() == ["shop"]
    assert await _leased(core) == ["bank"]
    assert await core.profiles.release_stale() == []
