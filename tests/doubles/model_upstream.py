"""A Messages API on a real TCP socket that behaves as it is told, and checks what it is sent.

Behaviours are queued with `then`; without one it streams a short answer. What a well-behaved client would never send
is kept in `faults`; the fixture that makes a double holds it to be empty.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

from aiohttp import web

USAGE = {"input_tokens": 1000, "output_tokens": 2, "cache_read_input_tokens": 200, "cache_creation_input_tokens": 40}


@dataclass(frozen=True)
class Seen:
    """A request as it came in; header names as they were written."""

    path_and_query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass
class Streams:
    """Answers with an event stream. `hold`: waits for it after the first text; `cut`: breaks the line there instead."""

    texts: Sequence[str] = ("Hello", " there")
    usage: dict[str, object] = field(default_factory=lambda: dict(USAGE))
    output_tokens: int = 7
    hold: asyncio.Event | None = None
    cut: bool = False
    line_end: str = "\n"
    in_pieces: bool = False


@dataclass
class Answers:
    """Answers at once with a status and a JSON body."""

    status: int
    body: dict[str, object]
    headers: dict[str, str] = field(default_factory=dict)


def refuses(status: int, kind: str, message: str = "no", **headers: str) -> Answers:
    """An error in the API's shape; `retry_after="7"` becomes a header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answers(status, {"type": "error", "error": {"type": kind, "message": message}}, named)


@dataclass
class Hangs:
    """Never answers. `reached` is set when the request is there, `left` when the client went away."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Drops:
    """Closes the connection instead of answering."""


Behaviour = Streams | Answers | Hangs | Drops


class ModelUpstream:
    """The double. `secret` and `kind`: the credential it takes; anything else gets 401, as from the API."""

    def __init__(self, secret: str, kind: Literal["api_key", "oauth_token"] = "api_key", prefix: str = "") -> None:
        self.requests: list[Seen] = []
        self.faults: list[str] = []
        self.client_left = asyncio.Event()
        self._secret = secret
        self._kind = kind
        self._prefix = prefix
        self._queue: deque[Behaviour] = deque()
        self._runner = web.ServerRunner(web.Server(self._serve, handler_cancellation=True), shutdown_timeout=0.1)
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}{self._prefix}"

    def then(self, *behaviours: Behaviour) -> None:
        """What to do with the next requests, in order."""
        self._queue.extend(behaviours)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        raw = tuple((key.decode(), value.decode()) for key, value in request.raw_headers)
        pieces = [piece async for piece in request.content.iter_any()]
        seen = Seen(request.path_qs, raw, b"".join(pieces))
        self.requests.append(seen)
        body = self._check(seen)
        if not self._is_authentic(seen):
            return _json(refuses(401, "authentication_error", "invalid x-api-key"))
        if seen.path_and_query.split("?")[0].endswith("/count_tokens"):
            return web.json_response({"input_tokens": 42})
        behaviour = self._queue.popleft() if self._queue else Streams()
        match behaviour:
            case Answers():
                return _json(behaviour)
            case Drops():
                _transport(request).abort()
                return web.Response()
            case Hangs():
                return await _hang(behaviour)
            case Streams():
                try:
                    return await _stream(request, behaviour, str(body.get("model")))
                except (asyncio.CancelledError, ConnectionError):
                    self.client_left.set()
                    raise

    def _is_authentic(self, seen: Seen) -> bool:
        if self._kind == "api_key":
            return seen.header("x-api-key") == [self._secret]
        return seen.header("authorization") == [f"Bearer {self._secret}"]

    def _check(self, seen: Seen) -> dict[str, object]:
        """Notes what the real API would refuse or what a gateway must never let through."""
        if len(seen.header("x-api-key")) + len(seen.header("authorization")) != 1:
            self.faults.append(f"not exactly one credential: {[name for name, _ in seen.headers]}")
        betas = [beta.strip() for value in seen.header("anthropic-beta") for beta in value.split(",")]
        if ("oauth-2025-04-20" in betas) != (self._kind == "oauth_token"):
            self.faults.append(f"the oauth beta does not fit the credential: {betas}")
        for name in ("cookie", "proxy-authorization", "transfer-encoding", "connection"):
            if seen.header(name):
                self.faults.append(f"header {name} was passed on")
        if seen.header("anthropic-version") != ["2023-06-01"]:
            self.faults.append("no anthropic-version")
        if not seen.path_and_query.startswith(f"{self._prefix}/v1/messages"):
            self.faults.append(f"path {seen.path_and_query}")
        try:
            body = json.loads(seen.body)
        except ValueError:
            self.faults.append("the body is no JSON")
            return {}
        missing = {"model", "messages"} - body.keys()
        if missing:
            self.faults.append(f"the body lacks {missing}")
        return dict(body)


def _json(answer: Answers) -> web.Response:
    return web.json_response(answer.body, status=answer.status, headers=answer.headers)


def _transport(request: web.BaseRequest) -> asyncio.Transport:
    assert request.transport is not None
    return request.transport


async def _hang(behaviour: Hangs) -> web.StreamResponse:
    behaviour.reached.set()
    try:
        await asyncio.Event().wait()
    finally:
        behaviour.left.set()
    return web.Response()


async def _stream(request: web.BaseRequest, behaviour: Streams, model: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "request-id": "req_1"})
    response.headers["Set-Cookie"] = "__cf_bm=1"
    response.enable_chunked_encoding()
    await response.prepare(request)

    async def send(event: dict[str, object]) -> None:
        end = behaviour.line_end
        data = f"event: {event['type']}{end}data: {json.dumps(event)}{end}{end}".encode()
        for piece in [data[at : at + 1] for at in range(len(data))] if behaviour.in_pieces else [data]:
            await response.write(piece)

    await send({"type": "message_start", "message": {"model": model, "role": "assistant", "usage": behaviour.usage}})
    await send({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    for number, text in enumerate(behaviour.texts):
        await send({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})
        if number == 0 and behaviour.hold is not None:
            await behaviour.hold.wait()
        if number == 0 and behaviour.cut:
            _transport(request).abort()
            return response
    await send({"type": "content_block_stop", "index": 0})
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    await send({"type": "message_delta", "delta": delta, "usage": {"output_tokens": behaviour.output_tokens}})
    await send({"type": "message_stop"})
    await response.write_eof()
    return response
