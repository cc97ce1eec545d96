"""A usage limit, an empty account and a refused key are what the API says, not what a session says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.clock import MoveableClock
from tests.doubles.model_upstream import ModelUpstream, Streams, refuses
from tests.gateways.modelling import BODY, SECRET, Client, session

CREDIT = "Your credit balance is too low to access the Anthropic API."


@pytest.fixture
async def upstream() -> AsyncIterator[ModelUpstream]:
    async with ModelUpstream(SECRET) as double:
        yield double
        assert double.faults == []


@pytest.fixture
async def client(tmp_path: Path, upstream: ModelUpstream, clock: MoveableClock) -> AsyncIterator[Client]:
    async with session(tmp_path, upstream.url, clock=clock) as opened:
        yield opened


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "3600"}, 3600),
        ({"retry_after": "Sat, 17 Jan 2026 17:30:00 GMT"}, 7200),
        ({"anthropic_ratelimit_unified_status": "rejected", "anthropic_ratelimit_unified_reset": "1768678200"}, 14_400),
        ({"retry_after": "99999999"}, 8 * 86_400),
        ({"retry_after": "1" * 300}, None),
        ({"retry_after": "45"}, None),
        ({"retry_after": "-5"}, None),
        ({"retry_after": "soon"}, None),
        ({"anthropic_ratelimit_unified_status": "allowed", "anthropic_ratelimit_unified_reset": "1768678200"}, None),
        ({"anthropic_ratelimit_unified_status": "rejected", "anthropic_ratelimit_unified_reset": "x"}, None),
        ({}, None),
    ],
)
async def test_when_a_limit_is_lifted(
    client: Client, upstream: ModelUpstream, clock: MoveableClock, headers: dict[str, str], seconds: int | None
) -> None:
    upstream.then(refuses(429, "rate_limit_error", "This request would exceed your limit", **headers))
    status, body = await client.ask()
    assert (status, b"exceed" in body) == (429, True)  # passed on as it is
    assert client.served.limited_until == (clock.now() + timedelta(seconds=seconds) if seconds else None)
    assert client.served.spent_usd == 0


@pytest.mark.parametrize(("status", "kind"), [(429, "rate_limit_error"), (529, "overloaded_error"), (500, "api_error")])
async def test_case_38_errors_pass_and_cost_nothing(
    client: Client, upstream: ModelUpstream, status: int, kind: str
) -> None:
    """reliability.md 38: the model API's 429, 529 and 5xx are passed through, and the budget's counter is right."""
    upstream.then(Streams(), refuses(status, kind), Streams())
    await client.ask()
    spent_usd = client.served.spent_usd
    assert spent_usd > 0
    assert (await client.ask())[0] == status
    assert client.served.spent_usd == spent_usd
    assert (await client.ask())[0] == 200
    assert client.served.spent_usd == 2 * spent_usd


async def test_an_answer_lifts_what_was_said_before(client: Client, upstream: ModelUpstream) -> None:
    upstream.then(refuses(429, "rate_limit_error", retry_after="3600"), refuses(401, "authentication_error"), Streams())
    await client.ask()
    await client.ask()
    assert client.served.limited_until
    assert client.served.auth_failed
    await client.ask()
    assert (client.served.limited_until, client.served.auth_failed) == (None, False)


@pytest.mark.parametrize(("status", "kind"), [(400, "invalid_request_error"), (402, "billing_error")])
async def test_an_account_without_credit_stops_all(
    client: Client, upstream: ModelUpstream, status: int, kind: str
) -> None:
    upstream.then(refuses(status, kind, CREDIT))
    answer, body = await client.ask()
    assert (answer, b"no credit" in body) == (403, True)
    assert (client.served.auth_failed, client.served.lacks_credit) == (True, True)


async def test_an_error_that_only_quotes_those_words_does_not(client: Client, upstream: ModelUpstream) -> None:
    """A session could put them into a field whose name the API repeats."""
    upstream.then(refuses(400, "invalid_request_error", f'messages.0."{CREDIT}": unknown'))
    assert (await client.ask({**BODY, "messages": []}))[0] == 400
    assert not client.served.auth_failed
