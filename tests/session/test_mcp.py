from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from session import mcp


class Tools:
    """Echoes; `wait` never ends by itself; `break` fails in a way nobody foresaw."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()

    def definitions(self) -> list[dict[str, Any]]:
        return [{"name": "echo", "inputSchema": {"type": "object"}}]

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        match name:
            case "echo":
                return str(arguments["text"])
            case "wait":
                try:
                    await asyncio.Event().wait()
                finally:
                    self.cancelled.set()
            case "break":
                raise OSError("disk full")
        raise mcp.ToolError("no such tool")


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    def send(self, method: str, params: dict[str, Any] | None = None, request_id: int | None = None) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        self.writer.write(json.dumps({**message, **({"id": request_id} if request_id else {})}).encode() + b"\n")

    async def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await asyncio.wait_for(self._reader.readline(), 30))
        return message

    async def ask(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        self.send(method, params, 7)
        return await self.receive()


@pytest.fixture
async def tools() -> Tools:
    return Tools()


@pytest.fixture
async def client(tmp_path: Path, tools: Tools) -> AsyncIterator[Client]:
    server = await mcp.serve(tools, tmp_path / "mcp.sock")
    client = Client(*await asyncio.open_unix_connection(str(tmp_path / "mcp.sock")))
    yield client
    client.writer.close()
    server.close()


async def test_the_handshake_and_the_list(client: Client) -> None:
    hello = await client.ask("initialize", {"protocolVersion": "2025-06-18"})
    assert hello["result"]["protocolVersion"] == "2025-06-18"
    client.send("notifications/initialized")
    assert (await client.ask("ping"))["result"] == {}
    assert [tool["name"] for tool in (await client.ask("tools/list"))["result"]["tools"]] == ["echo"]
    assert (await client.ask("resources/list"))["error"]["code"] == -32601


async def test_answers_refusals_and_failures_all_reach_the_agent(client: Client) -> None:
    good = await client.ask("tools/call", {"name": "echo", "arguments": {"text": "hi"}})
    assert good["result"] == {"content": [{"type": "text", "text": "hi"}], "isError": False}
    for name, words in {"nothing": "no such tool", "break": "disk full"}.items():
        bad = await client.ask("tools/call", {"name": name})
        assert bad["result"]["isError"] is True
        assert words in bad["result"]["content"][0]["text"]


async def test_a_waiting_call_blocks_nothing_and_can_be_cancelled(client: Client, tools: Tools) -> None:
    client.send("tools/call", {"name": "wait"}, 1)
    assert (await client.ask("ping"))["id"] == 7
    client.send("notifications/cancelled", {"requestId": 1})
    await asyncio.wait_for(tools.cancelled.wait(), 30)


async def test_a_client_that_goes_away_cancels_what_it_waits_for(client: Client, tools: Tools) -> None:
    client.send("tools/call", {"name": "wait"}, 1)
    assert (await client.ask("ping"))["id"] == 7
    client.writer.close()
    await asyncio.wait_for(tools.cancelled.wait(), 30)
