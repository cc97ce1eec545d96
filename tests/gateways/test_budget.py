"""Metering and the budget: what is counted while it flows, and that nothing is spent beyond what was granted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccdtasks.errors import Invalid
from ccdtasks.gateways.metering import Account, Meter, Usage
from ccdtasks.gateways.prices import PriceTable, Tokens
from tests.doubles.model_upstream import ModelUpstream, Streams
from tests.gateways.modelling import BODY, SECRET, error_of, grant, session, usd

pytestmark = pytest.mark.timeout(60)  # a stream that never ends must fail, not hang

SONNET = "claude-sonnet-5"
# 1000 input at 3, 200 read at 0.3, 40 written at 3.75, 7 output at 15 dollars per million
ONE_ANSWER_USD = usd("0.003315")


@pytest.fixture
async def upstream() -> AsyncIterator[ModelUpstream]:
    async with ModelUpstream(SECRET) as double:
        yield double
        assert double.faults == []


async def test_tokens_and_dollars_are_counted_per_model(folder: Path, upstream: ModelUpstream) -> None:
    hour = {"input_tokens": 0, "output_tokens": 1, "cache_creation_input_tokens": 1_000_000}
    hour["cache_creation"] = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 1_000_000}  # type: ignore[assignment]
    upstream.then(Streams(), Streams(), Streams(usage=dict(hour), output_tokens=1_000_000))
    async with session(folder, upstream.url) as client:
        await client.ask()
        await client.ask()
        await client.ask({**BODY, "model": "claude-haiku-4-5-20251001"})
    total = client.served.total
    assert total[SONNET] == Usage(SONNET, 2000, 14, 400, 80, 2 * ONE_ANSWER_USD, 2)
    assert total["claude-haiku-4-5-20251001"].cost_usd == 2 + 5  # a million kept an hour, a million written
    assert sum((usage.cost_usd for usage in client.usages), Decimal(0)) == client.served.spent_usd


async def test_the_input_is_reported_before_the_answer_ends(folder: Path, upstream: ModelUpstream) -> None:
    upstream.then(Streams(hold=(hold := asyncio.Event())))
    async with session(folder, upstream.url) as client, client.post() as response:
        await response.content.readany()
        assert [(usage.input_tokens, usage.requests) for usage in client.usages] == [(1000, 1)]
        hold.set()
        await response.read()
    assert [(usage.input_tokens, usage.output_tokens, usage.requests) for usage in client.usages] == [
        (1000, 2, 1),
        (0, 5, 0),
    ]


@pytest.mark.parametrize(("line_end", "in_pieces"), [("\n", True), ("\r\n", False), ("\r\n", True)])
async def test_events_are_read_however_they_are_cut(
    folder: Path, upstream: ModelUpstream, line_end: str, in_pieces: bool
) -> None:
    upstream.then(Streams(line_end=line_end, in_pieces=in_pieces))
    async with session(folder, upstream.url) as client:
        await client.ask()
    assert client.served.total[SONNET].cost_usd == ONE_ANSWER_USD


async def test_a_spent_budget_refuses_the_next_request(folder: Path, upstream: ModelUpstream) -> None:
    async with session(folder, upstream.url, grant=grant(budget_usd=ONE_ANSWER_USD)) as client:
        assert (await client.ask())[0] == 200
        status, body = await client.ask()
    assert status == 403
    assert error_of(body)[0] == "permission_error"
    assert "budget of $0.003315" in error_of(body)[1]
    assert len(upstream.requests) == 1


async def test_what_earlier_attempts_spent_counts(folder: Path, upstream: ModelUpstream) -> None:
    async with session(folder, upstream.url, grant=grant(budget_usd=usd("5"), spent_usd=usd("5"))) as client:
        assert (await client.ask())[0] == 403
        assert client.served.total == {}
    assert upstream.requests == []


async def test_an_answer_is_stopped_when_the_budget_is_used_up_on_the_way(
    folder: Path, upstream: ModelUpstream
) -> None:
    hold = asyncio.Event()
    upstream.then(Streams(texts=("a" * 40_000, "never"), hold=hold))  # estimated 10,000 tokens: 15 cents
    async with session(folder, upstream.url, grant=grant(budget_usd=usd("0.10"))) as client:
        status, body = await client.ask()  # the API holds the rest: this ends because the gateway ends it
        await upstream.client_left.wait()
    assert status == 200
    *events, last = body.decode().strip().split("\n\n")
    read = [json.loads(event.partition("data: ")[2])["type"] for event in events]
    assert read == ["message_start", "content_block_start", "content_block_delta"]
    assert last.startswith("event: error\ndata: ")
    assert "budget" in error_of(last.partition("data: ")[2].encode())[1]
    assert b"never" not in body
    assert client.served.total[SONNET].output_tokens == 10_000


async def test_the_dear_input_alone_stops_an_answer(folder: Path, upstream: ModelUpstream) -> None:
    upstream.then(Streams(usage={"input_tokens": 1_000_000, "output_tokens": 1}, hold=asyncio.Event()))
    async with session(folder, upstream.url, grant=grant(budget_usd=usd("1"))) as client:
        _, body = await client.ask()
    assert b"budget" in body


async def test_an_answer_that_is_whole_is_not_spoilt_by_its_price(folder: Path, upstream: ModelUpstream) -> None:
    upstream.then(Streams(output_tokens=1_000_000))
    async with session(folder, upstream.url, grant=grant(budget_usd=usd("1"))) as client:
        _, body = await client.ask()
        assert b"message_stop" in body
        assert b"event: error" not in body
        assert (await client.ask())[0] == 403


async def test_requests_sent_together_are_few_until_their_price_is_known(folder: Path, upstream: ModelUpstream) -> None:
    hold = asyncio.Event()
    upstream.then(*(Streams(usage={"input_tokens": 1_000_000, "output_tokens": 1}, hold=hold) for _ in range(20)))
    async with session(folder, upstream.url, grant=grant(budget_usd=usd("1"))) as client:
        answers = await asyncio.gather(*(client.ask() for _ in range(20)))
    assert len(upstream.requests) <= 4
    assert sum(status == 403 for status, _ in answers) >= 16


@pytest.mark.parametrize(
    "body",
    [
        {**BODY, "tools": [{"type": "web_fetch_20260209", "name": "web_fetch"}]},
        {**BODY, "tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {**BODY, "tools": [{"name": "mine", "input_schema": {}}, {"type": "code_execution_20250825"}]},
        {**BODY, "tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}]},
        {**BODY, "tools": [{"type": "invented_2027", "name": "x"}]},
        {**BODY, "tools": [{"type": ["web_fetch"], "name": "x"}]},
        {**BODY, "mcp_servers": [{"type": "url", "url": "https://evil.example"}]},
        {**BODY, "container": "container_1"},
        {**BODY, "container": {"skills": []}},
        {**BODY, "messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "u"}}]}]},
        {**BODY, "messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "file"}}]}]},
        {**BODY, "messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "f"}]}]},
        {
            **BODY,
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "content": [{"type": "image", "source": {"type": "url"}}]}],
                }
            ],
        },
        {
            **BODY,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "document",
                            "source": {"type": "content", "content": [{"type": "image", "source": {"type": "url"}}]},
                        }
                    ],
                }
            ],
        },
        {**BODY, "system": [{"type": "document", "source": {"type": "url"}}]},
    ],
)
async def test_what_fetches_or_stores_at_the_api_needs_the_owners_leave(
    folder: Path, upstream: ModelUpstream, body: dict[str, Any]
) -> None:
    async with session(folder, upstream.url) as client:
        status, answer = await client.ask(body)
        assert (status, error_of(answer)[0]) == (400, "invalid_request_error")
        assert (await client.ask(body, path="/v1/messages/count_tokens"))[0] == 400
    assert upstream.requests == []
    async with session(folder, upstream.url, grant=grant(allow_server_tools=True)) as client:
        assert (await client.ask(body))[0] == 200


async def test_the_clis_own_tools_and_free_tool_inputs_pass(folder: Path, upstream: ModelUpstream) -> None:
    looks_bad = {"source": {"type": "url", "url": "https://x"}, "type": "container_upload"}
    body = {
        **BODY,
        "tools": [
            {"name": "Bash", "description": "d", "input_schema": {"type": "object"}},
            {"type": "custom", "name": "mine", "input_schema": {}},
            {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
        ],
        "mcp_servers": [],
        "container": None,
        "messages": [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "mine", "input": looks_bad}]}
        ],
    }
    async with session(folder, upstream.url) as client:
        assert (await client.ask(body))[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"claude-haiku-4-5","model":"claude-opus-4-8","messages":[]}',
        b'{"model":"claude-haiku-4-5","messages":[{"role":"user","role":"x"}]}',
        '{"model":"claude-sonnet-5","messages":[]}'.encode("utf-16"),
        b'\xef\xbb\xbf{"model":"claude-sonnet-5","messages":[]}',
        b'{"model":"claude-sonnet-5","messages":[],"x":NaN}',
        b'{"model":"\xff","messages":[]}',
        b'{"model":["claude-sonnet-5"],"messages":[]}',
        b'{"messages":[]}',
        b'{"model":""}',
        b"[]",
        b"",
        b"{",
        b'{"model":"claude-sonnet-5","messages":' + b"[" * 100_000,
    ],
)
async def test_what_two_readers_could_read_in_two_ways_is_malformed(
    folder: Path, upstream: ModelUpstream, body: bytes
) -> None:
    async with session(folder, upstream.url) as client:
        status, answer = await client.ask(body)
    assert (status, error_of(answer)[0]) == (400, "invalid_request_error")
    assert upstream.requests == []


async def test_a_body_that_would_fill_the_memory_is_not_read(folder: Path, upstream: ModelUpstream) -> None:
    """3 MB of empty lists take 80 MB as objects; the 32 MB that may be sent would take almost a gigabyte."""
    lists = b'{"model":"claude-sonnet-5","messages":[],"x":[' + b"[]," * 1_000_000 + b"1]}"
    async with session(folder, upstream.url) as client:
        status, answer = await client.ask(lists)
        assert (status, error_of(answer)) == (400, ("invalid_request_error", "ccdtasks: The body has too many parts."))
        assert (await client.ask({**BODY, "system": "[{,}]" * 100_000}))[0] == 200
    assert len(upstream.requests) == 1


async def test_a_compressed_body_cannot_hide(folder: Path, upstream: ModelUpstream) -> None:
    async with session(folder, upstream.url) as client:
        assert (await client.ask(b"junk", headers={"Content-Encoding": "gzip"}))[0] == 400
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("changes", "asked", "status"),
    [
        ({}, "claude-opus-4-8", 200),
        ({}, "claude-opus-4-8[1m]", 200),
        ({}, "my-own-model", 400),
        ({"configured": ("my-own-model",)}, "my-own-model", 200),
        ({"models": ("claude-sonnet-5",)}, "claude-sonnet-5", 200),
        ({"models": ("claude-sonnet-5",)}, "claude-opus-4-8", 400),
        ({"models": ("claude-sonnet-5",), "configured": ("claude-haiku-4-5",)}, "claude-haiku-4-5", 200),
        ({"models": ()}, "claude-sonnet-5", 400),
    ],
)
async def test_only_models_of_the_grant_are_open(
    folder: Path, upstream: ModelUpstream, changes: dict[str, Any], asked: str, status: int
) -> None:
    async with session(folder, upstream.url, grant=grant(**changes)) as client:
        assert (await client.ask({**BODY, "model": asked}))[0] == status


async def test_fast_mode_is_not_open(folder: Path, upstream: ModelUpstream) -> None:
    async with session(folder, upstream.url) as client:
        assert (await client.ask({**BODY, "speed": "fast"}))[0] == 400
        assert (await client.ask({**BODY, "speed": "standard"}))[0] == 200


def test_prices_can_be_set_and_the_longest_name_counts() -> None:
    table = PriceTable(
        {"claude-sonnet-5-pro": {"input": 1, "output": "2.5", "cache_read": 0}, "mine": {"input": 0, "output": 0}}
    )
    million = Tokens(input=1_000_000, output=1_000_000, cache_read=1_000_000)
    assert table.cost_usd("claude-sonnet-5-pro-20260101", million) == usd("3.5")
    assert table.cost_usd("claude-sonnet-5", million) == usd("18.3")
    assert table.cost_usd("mine", million) == 0
    assert not table.knows("claude-sonnet-55")
    assert not table.knows("")


def test_an_unknown_model_counts_as_the_dearest() -> None:
    assert PriceTable().cost_usd("unheard-of", Tokens(output=1_000_000)) == 75
    assert PriceTable({"gold": {"input": 100, "output": 500}}).cost_usd("unheard-of", Tokens(output=1_000_000)) == 500


@pytest.mark.parametrize(
    "numbers",
    [{"input": 1}, {"input": 1, "output": "x"}, {"input": -1, "output": 1}, {"input": 1, "output": 1, "y": 1}],
)
def test_what_is_no_price_is_refused(numbers: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        PriceTable({"m": numbers})


@given(st.lists(st.integers(1, 40), max_size=30))
def test_a_meter_knows_where_the_last_whole_event_ended(cuts: list[int]) -> None:
    stream = b'event: ping\ndata: {"type": "ping"}\n\n' * 6
    meter = Meter(SONNET)
    fed = 0
    for size in cuts:
        meter.feed(stream[fed : fed + size])
        fed = min(len(stream), fed + size)
        assert meter.tail_bytes == fed % (len(stream) // 6)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.booleans()), max_size=8))
def test_increments_always_add_up_to_the_total(answers: list[tuple[int, int, bool]]) -> None:
    heard: list[Usage] = []
    account = Account(PriceTable(), Decimal(3), heard.append)
    for input_tokens, output_tokens, cut in answers:
        meter = account.open(SONNET)
        meter.feed(b'data: {"type":"message_start","message":{"usage":{"input_tokens":%d}}}\n\n' % input_tokens)
        account.note(meter)
        if not cut:
            meter.feed(b'data: {"type":"message_delta","usage":{"output_tokens":%d}}\n\n' % output_tokens)
        account.close(meter)
        account.close(meter)
    total = sum(heard, Usage(SONNET))
    assert total == account.totals.get(SONNET, Usage(SONNET))
    assert total.requests == len(answers)
    assert total.input_tokens == sum(number for number, _, _ in answers)
    assert total.output_tokens == sum(number for _, number, cut in answers if not cut)
    assert account.spent_usd == 3 + total.cost_usd
