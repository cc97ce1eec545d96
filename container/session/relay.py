"""Pipes between loopback ports in the container and where they really lead."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

# Opens the far side with the given protocol; raises OSError when it cannot be reached.
Dial = Callable[[Callable[[], "_Side"]], Awaitable[tuple[asyncio.BaseTransport, "_Side"]]]


class _Side(asyncio.Protocol):
    """One half of a pipe: what comes in here goes out at `peer`, no faster than it takes it."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: _Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        # Not at once: in Python 3.11.2 the transport starts to read after this call, whatever is asked for in it.
        asyncio.get_running_loop().call_soon(self._hold)

    def _hold(self) -> None:
        if self.peer is None and self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def join(self, peer: _Side) -> None:
        self.peer = peer
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        if self.peer is not None and self.peer.transport is not None and self.peer.transport.can_write_eof():
            self.peer.transport.write_eof()
        return True  # the other direction may still have something to say

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None and not self.peer.transport.is_closing():
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.close()


class _Entrance(_Side):
    """The near side: dials the far one when somebody connects."""

    def __init__(self, dial: Dial) -> None:
        super().__init__()
        self._dial = dial
        self._dialling: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._dialling = asyncio.create_task(self._connect(cast(asyncio.Transport, transport)))

    async def _connect(self, near: asyncio.Transport) -> None:
        try:
            _, far = await self._dial(_Side)
        except OSError:
            near.abort()
            return
        far.join(self)
        self.join(far)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._dialling is not None:
            self._dialling.cancel()


async def serve(port: int, dial: Dial) -> asyncio.Server:
    """Listen on loopback and pipe every connection to where `dial` leads."""
    return await asyncio.get_running_loop().create_server(lambda: _Entrance(dial), "127.0.0.1", port)


def to_socket(path: Path) -> Dial:
    """Lead to a unix socket, such as the way to the internet that the host serves."""

    async def dial(protocol: Callable[[], _Side]) -> tuple[asyncio.BaseTransport, _Side]:
        return await asyncio.get_running_loop().create_unix_connection(protocol, str(path))

    return dial


def to_port(port: int, ready: Callable[[], Awaitable[object]]) -> Dial:
    """Lead to another loopback port as soon as `ready` says that somebody answers there."""

    async def dial(protocol: Callable[[], _Side]) -> tuple[asyncio.BaseTransport, _Side]:
        await ready()
        return await asyncio.get_running_loop().create_connection(protocol, "127.0.0.1", port)

    return dial
