"""Money that several sessions share: together they overshoot it by what is under way, not once each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path

import pytest

from ccdtasks.gateways.purse import Purse
from tests.doubles.model_upstream import ModelUpstream, Streams
from tests.gateways.modelling import SECRET, error_of, grant, session


@pytest.fixture
async def upstream() -> AsyncIterator[ModelUpstream]:
    async with ModelUpstream(SECRET) as double:
        yield double


async def _cost(folder: Path, upstream: ModelUpstream) -> Decimal:
    """What one answer of the double costs."""
    async with session(folder, upstream.url) as client:
        await client.ask()
        return client.served.spent_usd


async def test_ten_sessions_of_one_purse_stop_together(tmp_path: Path, upstream: ModelUpstream) -> None:
    cost = await _cost(tmp_path, upstream)
    purse = Purse("This month's budget", cost * 15, Decimal(0))
    async with AsyncExitStack() as stack:
        clients = []
        for number in range(10):
            folder = tmp_path / str(number)
            folder.mkdir()
            opened = session(folder, upstream.url, grant=grant(budget_usd=Decimal(100), purses=(purse,)))
            clients.append(await stack.enter_async_context(opened))
        answers = []
        for _ in range(3):
            answers += await asyncio.gather(*(client.ask() for client in clients))
        assert purse.spent_usd <= cost * 25  # the second round was under way when it ran out; no third one began
        refused = [body for status, body in answers if status == 403]
        assert len(refused) >= 10
        kind, words = error_of(refused[-1])
        assert kind == "permission_error"
        assert "This month's budget" in words
        assert "is used up" in words
        assert clients[0].served.exhausted == purse.empty_text()
    assert purse.is_idle
    assert purse.spent_usd == cost * (30 - len(refused))  # what closed sessions used stays spent


async def test_one_session_feels_what_another_spends_at_that_moment(tmp_path: Path, upstream: ModelUpstream) -> None:
    cost = await _cost(tmp_path, upstream)
    purse = Purse("Today's budget of this task", cost, Decimal(0))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    given = grant(purses=(purse,))
    async with (
        session(tmp_path / "a", upstream.url, grant=given) as one,
        session(tmp_path / "b", upstream.url, grant=given) as two,
    ):
        hold = asyncio.Event()
        upstream.then(Streams(texts=("word " * 4000, "more"), hold=hold))
        async with one.post() as flowing:
            while not purse.is_empty:
                await flowing.content.readany()
            status, body = await two.ask()
            hold.set()
        assert (status, "used up" in error_of(body)[1]) == (403, True)


def test_what_was_spent_before_counts_and_a_raised_limit_helps() -> None:
    purse = Purse("This month's budget", Decimal(10), Decimal(10))
    assert purse.is_empty
    assert purse.empty_text() == "This month's budget of $10.00 is used up ($10.00 spent)."
    purse.limit_usd = Decimal(11)
    assert not purse.is_empty
