"""A Model Context Protocol server for the agent: tools over one JSON message a line.

It listens on a unix socket in this process and the CLI reaches it through `socat`: no second Python to start, and a
tool can wait hours for a person without a thread or a poll. Only what the CLI uses is spoken: initialize, ping,
tools/list, tools/call and the notice that a call was cancelled.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Protocol

_LINE_LIMIT = 16 * 1024 * 1024


class ToolError(Exception):
    """A tool refuses; the message is for the agent."""


class Tools(Protocol):
    """What is served."""

    def definitions(self) -> list[dict[str, Any]]: ...

    async def call(self, name: str, arguments: dict[str, Any]) -> str: ...


async def serve(tools: Tools, socket: Path) -> asyncio.Server:
    """Serve `tools` to everybody who connects to `socket`."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _Connection(tools, writer).run(reader)

    return await asyncio.start_unix_server(serve_one, str(socket), limit=_LINE_LIMIT)


class _Connection:
    def __init__(self, tools: Tools, writer: asyncio.StreamWriter) -> None:
        self._tools = tools
        self._writer = writer
        self._calls: dict[Any, asyncio.Task[None]] = {}

    async def run(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._take(json.loads(line))
        except (ValueError, ConnectionError, AttributeError):
            pass  # not our protocol, or gone
        finally:
            for task in self._calls.values():
                task.cancel()
            self._writer.close()

    def _take(self, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params") or {}
        request_id = message.get("id")
        if method == "notifications/cancelled":
            task = self._calls.get(params.get("requestId"))
            if task is not None:
                task.cancel()
        elif request_id is None:
            return  # a notice that needs nothing
        elif method == "tools/call":
            task = asyncio.create_task(self._call(request_id, params))
            self._calls[request_id] = task
            task.add_done_callback(lambda _: self._calls.pop(request_id, None))
        else:
            self._reply(request_id, self._answer(method, params))

    def _answer(self, method: str | None, params: dict[str, Any]) -> dict[str, Any] | None:
        if method == "initialize":
            return {
                "protocolVersion": params.get("protocolVersion", "2025-06-18"),
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "ccdtasks", "version": "1"},
            }
        if method == "tools/list":
            return {"tools": self._tools.definitions()}
        return {} if method == "ping" else None

    async def _call(self, request_id: Any, params: dict[str, Any]) -> None:
        try:
            text, failed = await self._tools.call(params.get("name", ""), params.get("arguments") or {}), False
        except ToolError as error:
            text, failed = str(error), True
        except Exception as error:  # without an answer the agent would wait for ever
            text, failed = f"the tool failed: {error}", True
        self._reply(request_id, {"content": [{"type": "text", "text": text}], "isError": failed})

    def _reply(self, request_id: Any, result: dict[str, Any] | None) -> None:
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": request_id}
        if result is None:
            message["error"] = {"code": -32601, "message": "method not found"}
        else:
            message["result"] = result
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")
