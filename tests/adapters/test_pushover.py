"""Pushover's client over a real socket: what it sends, and what each answer means."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from ccdtasks.adapters.pushover import NoAnswer, Push, Pushover, Spent
from ccdtasks.errors import CcdError, Denied, Invalid, Unavailable
from tests.clock import MoveableClock
from tests.doubles.pushover_server import KEY, TOKEN, PushoverServer

HELLO = Push(KEY, "Cheapest: $342", title="✓ ticket-checker: done")


@pytest.fixture
async def server(clock: MoveableClock) -> AsyncIterator[PushoverServer]:
    async with PushoverServer(clock) as pushover:
        pushover.add_user(KEY, "iphone", "pixel")
        yield pushover


@pytest.fixture
async def client(server: PushoverServer) -> AsyncIterator[Pushover]:
    made = Pushover(TOKEN, server.config["api_url"])
    yield made
    await made.close()


async def test_a_message_arrives_as_it_was_meant(server: PushoverServer, client: Pushover) -> None:
    at = datetime(2026, 1, 17, 15, 0, tzinfo=UTC)
    url = "https://discord.com/channels/1/2"
    push = Push(KEY, "Grüße & 100 % = ☃", "T", 1, url=url, url_title="View in Discord", sound="bike", at=at)
    accepted = await client.send(push)
    (taken,) = server.messages
    assert (taken.message, taken.title, taken.priority, taken.sound) == ("Grüße & 100 % = ☃", "T", 1, "bike")
    assert (taken.url, taken.url_title, taken.at) == (url, "View in Discord", at)
    assert accepted.receipt is None
    assert accepted.quota is not None
    assert (accepted.quota.limit, accepted.quota.remaining) == (10_000, 9_999)
    assert accepted.quota.reset_at > at
    server.assert_clean()


async def test_an_emergency_has_a_receipt_that_can_be_followed_and_cancelled(
    server: PushoverServer, client: Pushover, clock: MoveableClock
) -> None:
    accepted = await client.send(Push(KEY, "Fire", priority=2, retry_s=30, expire_s=10_800, tag="t1"))
    assert accepted.receipt is not None
    assert (await client.receipt(accepted.receipt)).acknowledged_at is None
    server.acknowledge(accepted.receipt)
    clock.advance(seconds=6)
    found = await client.receipt(accepted.receipt)
    assert (found.acknowledged_by, found.device) == (KEY, "iphone")
    assert found.acknowledged_at is not None
    await client.cancel(accepted.receipt)
    await client.cancel_tagged("t1")
    await client.cancel_tagged("nothing")
    assert server.receipts[accepted.receipt].is_cancelled
    server.assert_clean()


async def test_keys_and_the_quota_can_be_asked_for(server: PushoverServer, client: Pushover) -> None:
    assert await client.validate(KEY) == ("iphone", "pixel")
    quota = await client.quota()
    assert quota is not None
    assert quota.remaining == 10_000
    with pytest.raises(Invalid, match="no active user") as refusal:
        await client.validate("x" * 30)
    assert refusal.value.field == "key"


@pytest.mark.parametrize(
    ("push", "field"),
    [
        (Push("x" * 30, "hello"), "key"),
        (Push(KEY, "x" * 1025), "message"),
        (Push(KEY, "Fire", priority=2), "message"),
        (Push(KEY, "Fire", priority=2, retry_s=29, expire_s=60), "message"),
    ],
)
async def test_what_pushover_refuses_is_no_outage(client: Pushover, push: Push, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await client.send(push)
    assert refusal.value.field == field


async def test_a_refused_token_is_told_apart(server: PushoverServer, client: Pushover) -> None:
    server.token = "another"
    with pytest.raises(Denied, match="refuses the token"):
        await client.send(HELLO)


async def test_a_spent_month_says_until_when(server: PushoverServer, client: Pushover, clock: MoveableClock) -> None:
    server.spend_quota()
    with pytest.raises(Spent) as spent:
        await client.send(HELLO)
    assert spent.value.reset_at is not None
    assert spent.value.reset_at > clock.now()


async def test_what_may_be_repeated_says_whether_it_may_have_been_taken(server: PushoverServer) -> None:
    client = Pushover(TOKEN, server.config["api_url"])
    hasty = Pushover(TOKEN, server.config["api_url"], timeout_s=0.2)
    for misbehave, asks, error in (
        (server.break_down, client, Unavailable),
        (server.talk_nonsense, client, Unavailable),
        (server.never_answer, hasty, NoAnswer),
        (server.drop_after_acceptance, client, NoAnswer),
    ):
        misbehave()
        with pytest.raises(Unavailable) as away:
            await asks.send(HELLO)
        assert type(away.value) is error
    await hasty.close()
    await server.go_down()
    with pytest.raises(Unavailable, match="cannot be reached") as away:
        await client.send(HELLO)
    assert type(away.value) is Unavailable
    await client.close()


async def test_no_more_than_two_connections_and_they_are_used_again(server: PushoverServer, client: Pushover) -> None:
    await asyncio.gather(*(client.validate(KEY) for _ in range(20)))
    server.assert_clean()
    assert len(server.requests) == 20


async def test_no_error_gives_a_secret_away(server: PushoverServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = Pushover(TOKEN, server.config["api_url"], timeout_s=0.2)
    said = []
    for misbehave in (server.break_down, server.never_answer, server.drop_after_acceptance):
        for ask in (lambda: client.receipt("r" * 30), lambda: client.send(HELLO), client.quota):
            misbehave("*")
            try:
                await ask()
            except CcdError as error:
                said.append("".join(traceback.format_exception(error)))
    await client.close()
    assert len(said) >= 6
    assert TOKEN not in caplog.text + "".join(said)
    assert KEY not in caplog.text + "".join(said)


async def test_without_a_token_it_says_what_to_do() -> None:
    with pytest.raises(Unavailable, match="not set up"):
        await Pushover(None, "https://api.pushover.net").send(HELLO)
