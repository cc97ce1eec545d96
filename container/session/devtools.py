"""A client of Chromium's DevTools protocol over `--remote-debugging-pipe`: JSON messages, each ended by a zero byte."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

# method, params, session id (one per attached tab, frame or worker; empty for the browser itself)
EventHandler = Callable[[str, dict[str, Any], str], None]


class DevToolsError(Exception):
    """Chromium refused a command, did not answer in time, or is gone."""


class DevTools(asyncio.Protocol):
    """Commands and events of one Chromium."""

    def __init__(self, on_event: EventHandler) -> None:
        self._on_event = on_event
        self._buffer = bytearray()
        self._scanned = 0
        self._last_id = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._commands: asyncio.WriteTransport | None = None
        self._closed = False

    async def connect(self, events_fd: int, commands_fd: int) -> None:
        """Take over our ends of Chromium's two pipes; it answers when it is up."""
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: self, os.fdopen(events_fd, "rb"))
        self._commands, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(commands_fd, "wb"))

    async def call(
        self, method: str, params: dict[str, Any] | None = None, session: str = "", timeout_s: float = 5
    ) -> dict[str, Any]:
        """Send a command and return its result. Raises DevToolsError."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self.send(method, params, session)
        except TimeoutError as error:
            raise DevToolsError(f"{method}: no answer in {timeout_s:g} s") from error

    def send(
        self, method: str, params: dict[str, Any] | None = None, session: str = ""
    ) -> asyncio.Future[dict[str, Any]]:
        """Send a command without waiting; the future may be ignored."""
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_retrieve)
        if self._closed or self._commands is None:
            answer.set_exception(DevToolsError("Chromium is not running"))
            return answer
        self._last_id += 1
        self._waiting[self._last_id] = answer
        message: dict[str, Any] = {"id": self._last_id, "method": method, "params": params or {}}
        if session:
            message["sessionId"] = session
        self._commands.write(json.dumps(message).encode() + b"\0")
        return answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\0", self._scanned)) >= 0:
            message = json.loads(self._buffer[:end])
            del self._buffer[: end + 1]
            self._scanned = 0
            self._take(message)
        self._scanned = len(self._buffer)

    def _take(self, message: dict[str, Any]) -> None:
        if "id" not in message:
            self._on_event(message["method"], message.get("params", {}), message.get("sessionId", ""))
            return
        answer = self._waiting.pop(message["id"], None)
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(DevToolsError(message["error"].get("message", "refused")))
        else:
            answer.set_result(message.get("result", {}))

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        if self._commands is not None:
            self._commands.close()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(DevToolsError("Chromium is gone"))
        self._waiting.clear()


def _retrieve(answer: asyncio.Future[dict[str, Any]]) -> None:
    """Nobody may be waiting for this answer; an error in it is then of no interest."""
    if not answer.cancelled():
        answer.exception()
