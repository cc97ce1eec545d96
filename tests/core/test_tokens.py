"""Tokens: who acts through one, until when, and who may make and end them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text

from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.errors import Conflict, Denied, Invalid, NotFound
from tests.clock import MoveableClock
from tests.people import ANN, BOB


async def test_a_token_acts_for_its_user(core: Core) -> None:
    made = await core.tokens.create(SHELL, "phone", user_id=ANN.user_id)
    visitor = await core.tokens.visitor(made.secret)
    assert visitor is not None
    assert (visitor.actor.user_id, visitor.actor.via, visitor.actor.is_admin) == (ANN.user_id, "api", False)
    admin = await core.tokens.create(SHELL, "mine", is_admin=True)
    found = await core.tokens.visitor(admin.secret)
    assert found is not None
    assert (found.actor.user_id, found.actor.is_admin) == ("shell", True)


async def test_only_the_hash_is_kept(core: Core) -> None:
    made = await core.tokens.create(SHELL, "phone", user_id=ANN.user_id)
    async with core.db.read() as session:
        for everything in ("SELECT * FROM api_tokens", "SELECT * FROM audit_log"):
            rows = (await session.execute(text(everything))).all()
            assert rows
            assert made.secret not in str(rows)


@pytest.mark.parametrize("secret", ["", "ccd_", "ccd_wrong", "ccd_" + "x" * 10_000, "ccd_\x00", "ccd_ä", "%"])
async def test_anything_else_lets_nobody_in(core: Core, secret: str) -> None:
    assert await core.tokens.visitor(secret) is None


async def test_a_token_ends_when_it_expires_and_when_it_is_revoked(core: Core, clock: MoveableClock) -> None:
    short = await core.tokens.create(SHELL, "short", expires_at=clock.now() + timedelta(hours=1))
    long = await core.tokens.create(SHELL, "long")
    clock.advance(seconds=3599)
    assert await core.tokens.visitor(short.secret)
    clock.advance(seconds=1)
    assert await core.tokens.visitor(short.secret) is None
    assert await core.tokens.visitor_by_id(short.token.id) is None
    await core.tokens.revoke(SHELL, "long")
    assert await core.tokens.visitor(long.secret) is None
    assert await core.tokens.visitor_by_id(long.token.id) is None
    with pytest.raises(Conflict, match="revoked already"):
        await core.tokens.revoke(SHELL, "long")


async def test_its_last_use_is_noted_and_not_each_one(core: Core, clock: MoveableClock) -> None:
    made = await core.tokens.create(SHELL, "phone")
    first = clock.now()
    for _ in range(3):
        await core.tokens.visitor(made.secret)
        clock.advance(seconds=15)
    assert (await core.tokens.page(SHELL)).rows[0].last_used_at == first
    clock.advance(seconds=60)
    await asyncio.gather(*(core.tokens.visitor(made.secret) for _ in range(5)))
    assert (await core.tokens.page(SHELL)).rows[0].last_used_at == clock.now()


async def test_people_make_see_and_end_their_own_alone(core: Core) -> None:
    mine = await core.tokens.create(ANN, "phone")
    await core.tokens.create(SHELL, "phone", user_id=BOB.user_id)
    assert [token.id for token in (await core.tokens.page(ANN)).rows] == [mine.token.id]
    with pytest.raises(Denied):
        await core.tokens.create(ANN, "his", user_id=BOB.user_id)
    with pytest.raises(Denied, match="may do everything"):
        await core.tokens.create(ANN, "all", is_admin=True)
    with pytest.raises(NotFound):
        await core.tokens.revoke(BOB, str(mine.token.id))
    assert (await core.tokens.revoke(ANN, "phone")).id == mine.token.id


async def test_a_name_that_means_several_is_asked_back(core: Core) -> None:
    first = await core.tokens.create(SHELL, "phone")
    await core.tokens.create(SHELL, "phone")
    with pytest.raises(Conflict, match=str(first.token.id)):
        await core.tokens.revoke(SHELL, "phone")
    await core.tokens.revoke(SHELL, str(first.token.id))
    await core.tokens.revoke(SHELL, "phone")


async def test_what_makes_no_sense_is_refused(core: Core, clock: MoveableClock) -> None:
    for values in (
        {"name": " "},
        {"name": "x" * 101},
        {"name": "a", "user_id": "alice"},
        {"name": "a", "user_id": "1" * 65},
    ):
        with pytest.raises(Invalid):
            await core.tokens.create(SHELL, **values)
    with pytest.raises(Invalid, match="has passed already"):
        await core.tokens.create(SHELL, "late", expires_at=clock.now())


async def test_pages_of_tokens_have_an_end(core: Core) -> None:
    made = {(await core.tokens.create(SHELL, f"t{number}")).token.id for number in range(7)}
    seen, after = [], None
    while True:
        page = await core.tokens.page(SHELL, after, limit=3)
        seen += [token.id for token in page.rows]
        after = page.next_after
        if after is None:
            break
    assert len(seen) == 7
    assert set(seen) == made
