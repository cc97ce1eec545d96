"""A stand-in for the Messages API: plays a script of replies over real HTTP, and remembers what it was asked.

It refuses what the real one would refuse: another path, a body that is no messages request, tool results that answer no
tool call. It answers without a stream when asked so, as the CLI does after a stream that broke before it said anything.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Text:
    """The model says something."""

    text: str


@dataclass(frozen=True)
class Use:
    """The model calls a tool."""

    name: str
    input: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """A whole answer of the model. `hold` is waited for before it begins, `input_tokens` are charged."""

    blocks: tuple[Text | Use, ...]
    hold: asyncio.Event | None = None
    input_tokens: int = 1000


@dataclass(frozen=True)
class Refuse:
    """An error before anything was said, such as 401 `authentication_error` or 529 `overloaded_error`."""

    status: int
    kind: str
    message: str = "refused"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BreakOff:
    """Says `text`, begins to say more, and then drops the connection or sends `error` (such as `overloaded_error`)."""

    text: str
    error: str | None = None
    message: str = "Overloaded"


Answer = Reply | Refuse | BreakOff
# A fixed answer, or one that looks at the request's body first.
Line = Answer | Callable[[dict[str, Any]], Answer]


def say(*blocks: Text | Use | str, hold: asyncio.Event | None = None) -> Reply:
    return Reply(tuple(Text(block) if isinstance(block, str) else block for block in blocks), hold)


@dataclass
class Asked:
    """One request as it arrived."""

    headers: dict[str, str]
    body: dict[str, Any]
    at: float

    def last_tool_results(self) -> list[dict[str, Any]]:
        """The tool results at the end of the conversation."""
        users = [m for m in self.body["messages"] if m["role"] == "user" and isinstance(m["content"], list)]
        return [b for b in users[-1]["content"] if b.get("type") == "tool_result"] if users else []

    def text(self) -> str:
        """All the conversation's text, to search in."""
        return json.dumps(self.body["messages"], ensure_ascii=False)


class MessagesApi:
    """Answers each request with the next line of the script; after the last one it repeats that line."""

    def __init__(self, *script: Line) -> None:
        self._script = script or (say("Done."),)
        self._ids = itertools.count(1)
        self.asked: list[Asked] = []
        self.arrived = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    def app(self) -> web.Application:
        """The API as an application, to be served anywhere."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/messages", self._messages)
        return app

    async def start(self, socket: Path) -> None:
        self._runner = web.AppRunner(self.app(), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(socket)).start()
        socket.chmod(0o666)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def wait_for(self, count: int) -> None:
        """Return when `count` requests have arrived."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.asked) >= count)

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        complaint = _complaint(body)
        if complaint:
            return _error(400, "invalid_request_error", complaint, {})
        line = self._script[min(len(self.asked), len(self._script) - 1)]
        self.asked.append(Asked(dict(request.headers), body, asyncio.get_running_loop().time()))
        async with self.arrived:
            self.arrived.notify_all()
        answer = line(body) if callable(line) else line
        if isinstance(answer, Refuse):
            return _error(answer.status, answer.kind, answer.message, answer.headers)
        if isinstance(answer, Reply) and answer.hold is not None:
            await answer.hold.wait()
        if not body.get("stream"):
            return self._at_once(request, answer, body)
        headers = {"content-type": "text/event-stream", "request-id": f"req_{next(self._ids)}"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        if isinstance(answer, BreakOff):
            return await self._break_off(request, response, answer, body)
        await self._speak(response, answer, body)
        return response

    async def _speak(self, response: web.StreamResponse, reply: Reply, body: dict[str, Any]) -> None:
        await self._begin(response, body, reply.input_tokens)
        for index, block in enumerate(reply.blocks):
            await self._block(response, index, block)
        delta = {"stop_reason": _stop_reason(reply), "stop_sequence": None}
        await _send(response, "message_delta", delta=delta, usage={"output_tokens": 40})
        await _send(response, "message_stop")

    async def _break_off(
        self, request: web.Request, response: web.StreamResponse, answer: BreakOff, body: dict[str, Any]
    ) -> web.StreamResponse:
        await self._begin(response, body, 1000)
        await self._block(response, 0, Text(answer.text))
        await _send(response, "content_block_start", index=1, content_block={"type": "text", "text": ""})
        await _send(response, "content_block_delta", index=1, delta={"type": "text_delta", "text": "And"})
        if answer.error is not None:
            await _send(response, "error", error={"type": answer.error, "message": answer.message})
        elif request.transport is not None:
            request.transport.abort()
        return response

    async def _begin(self, response: web.StreamResponse, body: dict[str, Any], input_tokens: int) -> None:
        await _send(response, "message_start", message=self._message(body, [], None, input_tokens))

    def _at_once(self, request: web.Request, answer: Reply | BreakOff, body: dict[str, Any]) -> web.Response:
        if isinstance(answer, BreakOff):
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        content = [
            {"type": "text", "text": block.text}
            if isinstance(block, Text)
            else {"type": "tool_use", "id": f"toolu_{next(self._ids)}", "name": block.name, "input": block.input}
            for block in answer.blocks
        ]
        return web.json_response(self._message(body, content, _stop_reason(answer), answer.input_tokens))

    def _message(
        self, body: dict[str, Any], content: list[dict[str, Any]], stop_reason: str | None, input_tokens: int
    ) -> dict[str, Any]:
        return {
            "id": f"msg_{next(self._ids)}", "type": "message", "role": "assistant", "model": body["model"],
            "content": content, "stop_reason": stop_reason, "stop_sequence": None,
            "usage": {"input_tokens": input_tokens, "output_tokens": 1 if stop_reason is None else 40},
        }  # fmt: skip

    async def _block(self, response: web.StreamResponse, index: int, block: Text | Use) -> None:
        if isinstance(block, Text):
            start: dict[str, Any] = {"type": "text", "text": ""}
            delta = {"type": "text_delta", "text": block.text}
        else:
            start = {"type": "tool_use", "id": f"toolu_{next(self._ids)}", "name": block.name, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block.input)}
        await _send(response, "content_block_start", index=index, content_block=start)
        await _send(response, "content_block_delta", index=index, delta=delta)
        await _send(response, "content_block_stop", index=index)


def _stop_reason(reply: Reply) -> str:
    return "tool_use" if any(isinstance(block, Use) for block in reply.blocks) else "end_turn"


def _complaint(body: dict[str, Any]) -> str | None:
    """What the real API would refuse this request for."""
    if not body.get("model") or not body.get("max_tokens") or not isinstance(body.get("messages"), list):
        return "model, max_tokens and messages are required"
    called: set[str] = set()
    for message in body["messages"]:
        blocks: Sequence[Any] = message["content"] if isinstance(message["content"], list) else ()
        for block in blocks:
            if block.get("type") == "tool_use":
                called.add(block["id"])
            elif block.get("type") == "tool_result" and block["tool_use_id"] not in called:
                return f"unexpected tool_use_id {block['tool_use_id']}"
    return None


def _error(status: int, kind: str, message: str, headers: dict[str, str]) -> web.Response:
    body = {"type": "error", "error": {"type": kind, "message": message}}
    return web.json_response(body, status=status, headers=headers)


async def _send(response: web.StreamResponse, kind: str, **data: Any) -> None:
    await response.write(f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode())
