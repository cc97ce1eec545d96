"""The Messages API as far as the CLI uses it, answered by a function instead of a model.

Streams exactly the events of the true one: https://docs.anthropic.com/en/api/messages-streaming
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from ccdtasks.demo.conversation import Conversation

_MAX_BODY_BYTES = 32 << 20  # the true API's own limit for a request
_BYTES_PER_TOKEN = 4  # rough, and good enough for a count that nobody pays
_PIECE = 48
_FIRST_REQUEST_MESSAGES = 2  # the task, and perhaps a note of the system


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A wish of the model: one of the request's tools with its arguments."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says next; without tool calls its turn is over."""

    text: str = ""
    calls: tuple[ToolCall, ...] = field(default=())


class MessagesApi:
    """Serves `reply` to everybody who brings `api_key`."""

    def __init__(self, api_key: str, reply: Callable[[Conversation], Reply]) -> None:
        self._api_key = api_key
        self._reply = reply

    def app(self) -> web.Application:
        """The two routes that a session may use."""
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.add_routes(
            [web.post("/v1/messages", self._messages), web.post("/v1/messages/count_tokens", self._count_tokens)]
        )
        return app

    async def _count_tokens(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request)
        return body if isinstance(body, web.Response) else web.json_response({"input_tokens": _tokens(body)})

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request)
        if isinstance(body, web.Response):
            return body
        message = _message(body, self._reply(Conversation.read(body)))
        if not body.get("stream"):
            return web.json_response(message)
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
        response = web.StreamResponse(headers=headers | {"request-id": _id("req")})
        await response.prepare(request)
        for event in stream_events(message):
            await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        await response.write_eof()
        return response

    async def _body(self, request: web.Request) -> dict[str, Any] | web.Response:
        if not hmac.compare_digest(request.headers.get("x-api-key", "").encode(), self._api_key.encode()):
            return _error(401, "authentication_error", "invalid x-api-key")
        try:
            body = await request.json()
        except ValueError:
            return _error(400, "invalid_request_error", "The request body is not valid JSON.")
        for key in ("model", "messages"):
            if not isinstance(body, dict) or not body.get(key):
                return _error(400, "invalid_request_error", f"{key}: Field required")
        return body if isinstance(body, dict) else {}


def stream_events(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The server-sent events, in order, that say `message` piece by piece."""
    usage = {**message["usage"], "output_tokens": 1}
    start = {**message, "content": [], "stop_reason": None, "usage": usage}
    yield {"type": "message_start", "message": start}
    yield {"type": "ping"}
    for index, block in enumerate(message["content"]):
        empty, deltas = _in_pieces(block)
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None},
        "usage": {"output_tokens": message["usage"]["output_tokens"]},
    }
    yield {"type": "message_stop"}


def _in_pieces(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A content block as it starts, and the deltas that fill it."""
    if block["type"] == "text":
        empty, kind, key, text = {**block, "text": ""}, "text_delta", "text", block["text"]
    else:
        empty, kind, key, text = {**block, "input": {}}, "input_json_delta", "partial_json", json.dumps(block["input"])
    return empty, [{"type": kind, key: text[at : at + _PIECE]} for at in range(0, len(text), _PIECE)]


def _message(body: dict[str, Any], reply: Reply) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
    content += [{"type": "tool_use", "id": _id("toolu"), "name": c.name, "input": c.arguments} for c in reply.calls]
    return {
        "id": _id("msg"),
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": "tool_use" if reply.calls else "end_turn",
        "stop_sequence": None,
        "usage": {**_input_tokens(body), "output_tokens": _tokens(content)},
    }


def _input_tokens(body: dict[str, Any]) -> dict[str, int]:
    """What the request would cost: all but its last message is written to the cache once, then read from there."""
    new = _tokens(body["messages"][-1])
    known, is_first = _tokens(body) - new, len(body["messages"]) <= _FIRST_REQUEST_MESSAGES
    return {
        "input_tokens": new,
        "cache_creation_input_tokens": known if is_first else 0,
        "cache_read_input_tokens": 0 if is_first else known,
    }


def _tokens(value: Any) -> int:
    return max(1, len(json.dumps(value)) // _BYTES_PER_TOKEN)


def _id(prefix: str) -> str:
    return f"{prefix}_01{secrets.token_hex(11)}"


def _error(status: int, kind: str, text: str) -> web.Response:
    body = {"type": "error", "error": {"type": kind, "message": text}, "request_id": _id("req")}
    return web.json_response(body, status=status)
