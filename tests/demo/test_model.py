"""The stand-in for the model: it speaks the Messages API exactly, and decides by what the tools answered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession

from ccdtasks.demo.messages_api import MessagesApi
from ccdtasks.demo.scripted import offers_in, reply_to
from ccdtasks.demo.shop import served

KEY = "sk-ant-demo-1"
TOOLS = [
    {"name": name}
    for name in (
        "Bash",
        "mcp__playwright__browser_navigate",
        "mcp__playwright__browser_snapshot",
        "mcp__playwright__browser_type",
        "mcp__playwright__browser_wait_for",
        "mcp__playwright__browser_take_screenshot",
        "mcp__ccdtasks__report_progress",
        "mcp__ccdtasks__save_file",
        "mcp__ccdtasks__submit_result",
    )
]
TASK = (
    "Find the cheapest {product}.\n\n```json\n"
    '{"shop": "http://shop.demo:1/", "product": "teapots", "price_threshold": "50"}\n```'
)
FRONT = """### Page
- Page URL: http://shop.demo:1/
```yaml
- search [ref=e4]:
  - searchbox "Search products" [ref=e9]
```"""
FOUND = """### Page
- Page URL: http://shop.demo:1/search?q=teapots
```yaml
- heading "2 results" [level=1]
- list:
  - listitem [ref=e10]:
    - link [ref=e11] [cursor=pointer]:
      - /url: /product/big
    - heading [level=2] [ref=e18]:
      - link "Big Pot" [ref=e19] [cursor=pointer]:
        - /url: /product/big
    - paragraph [ref=e20]: $1,077.31
  - listitem [ref=e22]:
    - heading [level=2] [ref=e30]:
      - link "Small Pot" [ref=e31] [cursor=pointer]:
        - /url: /product/small
    - paragraph [ref=e32]: $41.13
```"""
DETAIL = """### Page
- Page URL: http://shop.demo:1/product/small
```yaml
- heading "Small Pot" [level=1] [ref=f2e18]
- paragraph [ref=f2e20]: $41.13
```"""


def _body(messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"model": "claude-x", "max_tokens": 64000, "tools": TOOLS, "messages": messages, **more}


@pytest.fixture
async def api() -> AsyncIterator[ClientSession]:
    headers = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
    async with (
        served(MessagesApi(KEY, reply_to).app()) as port,
        ClientSession(f"http://127.0.0.1:{port}", headers=headers) as session,
    ):
        yield session


async def _ask(api: ClientSession, messages: list[dict[str, Any]]) -> dict[str, Any]:
    async with api.post("/v1/messages", params={"beta": "true"}, json=_body(messages, stream=True)) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        return assembled(await response.text())


def assembled(stream: str) -> dict[str, Any]:
    """Puts a streamed message together as a client does, and refuses what the true API never sends."""
    events = []
    for part in stream.removesuffix("\n\n").split("\n\n"):
        name, data = part.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    events = [event for event in events if event["type"] != "ping"]
    assert events[0]["type"] == "message_start"
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    message: dict[str, Any] = events[0]["message"]
    assert message["content"] == []
    assert message["stop_reason"] is None
    assert {"input_tokens", "output_tokens"} <= set(message["usage"])
    partial = ""
    for event in events[1:-2]:
        if event["type"] == "content_block_start":
            assert event["index"] == len(message["content"])
            message["content"].append(event["content_block"])
            partial = ""
        elif event["type"] == "content_block_delta":
            block = message["content"][event["index"]]
            if block["type"] == "text":
                assert event["delta"]["type"] == "text_delta"
                block["text"] += event["delta"]["text"]
            else:
                assert event["delta"]["type"] == "input_json_delta"
                partial += event["delta"]["partial_json"]
        else:
            assert event["type"] == "content_block_stop"
            block = message["content"][event["index"]]
            if block["type"] == "tool_use":
                assert block["input"] == {}
                block["input"] = json.loads(partial)
    message["stop_reason"] = events[-2]["delta"]["stop_reason"]
    message["usage"].update(events[-2]["usage"])
    return message


async def _play(
    api: ClientSession, answers: dict[str, list[str]], failing: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    """The whole conversation with tools that give `answers`; every tool call that was made."""
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "a note in the middle"},
        {"role": "user", "content": [{"type": "text", "text": TASK}]},
    ]
    made: list[dict[str, Any]] = []
    for _turn in range(20):
        message = await _ask(api, messages)
        calls = [block for block in message["content"] if block["type"] == "tool_use"]
        assert message["stop_reason"] == ("tool_use" if calls else "end_turn")
        if not calls:
            return made
        made += calls
        messages.append({"role": "assistant", "content": message["content"]})
        results = []
        for call in calls:
            queue = answers.get(call["name"], ["ok"])
            text = queue.pop(0) if len(queue) > 1 else queue[0]
            failed = call["name"] in failing
            content = [{"type": "text", "text": text}]
            results.append({"type": "tool_result", "tool_use_id": call["id"], "content": content, "is_error": failed})
        messages.append({"role": "user", "content": results})
    raise AssertionError("the model never came to an end")


async def test_it_hands_in_what_the_browser_saw(api: ClientSession) -> None:
    made = await _play(api, {"mcp__playwright__browser_snapshot": [FRONT, FOUND, DETAIL]})
    by_name = {call["name"]: call["input"] for call in made}
    assert by_name["mcp__playwright__browser_type"]["target"] == "e9"
    assert by_name["mcp__playwright__browser_type"]["text"] == "teapots"
    assert "Small Pot,41.13" in by_name["Bash"]["command"]
    assert by_name["mcp__playwright__browser_navigate"]["url"] == "http://shop.demo:1/product/small"
    result = by_name["mcp__ccdtasks__submit_result"]
    assert result["items"] == [
        {"product": "Small Pot", "price": 41.13, "currency": "USD"},
        {"product": "Big Pot", "price": 1077.31, "currency": "USD"},
    ]
    assert result["values"] == {"lowest_price": {"number": 41.13, "unit": "USD"}}
    assert result["evidence_url"] == "http://shop.demo:1/product/small"
    assert "less than $50.00" in result["alerts"][0]["text"]
    assert [call["name"] for call in made].count("mcp__ccdtasks__report_progress") >= 3


async def test_it_waits_for_results_that_come_late(api: ClientSession) -> None:
    made = await _play(api, {"mcp__playwright__browser_snapshot": [FRONT, FRONT, FRONT, FOUND, DETAIL]})
    names = [call["name"] for call in made]
    assert names.count("mcp__playwright__browser_wait_for") == 2
    assert made[-1]["input"]["values"] == {"lowest_price": {"number": 41.13, "unit": "USD"}}


@pytest.mark.parametrize(
    ("snapshots", "failing"),
    [
        ([FRONT, "### Page\n- Page URL: x\n"], ()),
        ([FRONT], ()),
        (["nothing that could be searched"], ()),
        (["Error: net::ERR_CONNECTION_REFUSED"], ("mcp__playwright__browser_navigate",)),
    ],
)
async def test_it_claims_nothing_that_the_browser_did_not_see(
    api: ClientSession, snapshots: list[str], failing: tuple[str, ...]
) -> None:
    made = await _play(api, {"mcp__playwright__browser_snapshot": snapshots}, failing)
    (result,) = [call["input"] for call in made if call["name"] == "mcp__ccdtasks__submit_result"]
    assert set(result) == {"summary"}
    assert "could not" in result["summary"]


async def test_it_says_so_when_its_tools_are_missing(api: ClientSession) -> None:
    body = _body([{"role": "user", "content": TASK}], stream=True) | {"tools": []}
    async with api.post("/v1/messages", json=body) as response:
        message = assembled(await response.text())
    assert message["stop_reason"] == "end_turn"
    assert "no tool" in message["content"][0]["text"]


async def test_a_wish_for_a_summary_is_answered_in_text_only(api: ClientSession) -> None:
    task = {"role": "user", "content": TASK}
    wish = {"role": "user", "content": "CRITICAL: Respond with TEXT ONLY. Summarize."}
    message = await _ask(api, [task, {"role": "assistant", "content": "..."}, wish])
    assert message["content"][0]["text"].startswith("<summary>")


async def test_tokens_are_counted_and_answers_come_whole_when_asked_for(api: ClientSession) -> None:
    body = _body([{"role": "user", "content": TASK}])
    async with api.post("/v1/messages/count_tokens", json=body) as response:
        assert (await response.json())["input_tokens"] > 50
    async with api.post("/v1/messages", json=body) as response:
        message = await response.json()
    assert message["role"] == "assistant"
    assert message["content"][-1]["type"] == "tool_use"


async def test_mistakes_are_refused_as_the_true_api_does(api: ClientSession) -> None:
    async with api.post("/v1/messages", json={}, headers={"x-api-key": "wrong"}) as response:
        assert response.status == 401
        assert (await response.json())["error"]["type"] == "authentication_error"
    async with api.post("/v1/messages", json={"model": "m"}) as response:
        assert response.status == 400
        assert (await response.json())["error"]["type"] == "invalid_request_error"
    async with api.post("/v1/messages", data=b"{") as response:
        assert response.status == 400


def test_a_page_without_prices_has_no_offers() -> None:
    assert offers_in(FRONT) == []
    assert [offer.name for offer in offers_in(FOUND)] == ["Small Pot", "Big Pot"]
