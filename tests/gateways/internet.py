"""The internet, for a test: names with answers and one server on loopback behind every address.

It stands where the egress gateway leaves the process (`resolve` and `connect`), so every check before that is the
real one, and what was dialled can be looked at.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ccdtasks.gateways.addresses import Address
from ccdtasks.gateways.egress import EgressGateway, EgressPolicy, Refusal, ServedEgress, Timeouts

PUBLIC = "93.184.216.34"
PUBLIC_V6 = "2606:2800:220:1:248:1893:25c8:1946"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes, and half-closes when the client did."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


class Internet:
    """`names`: what a lookup answers, one list of addresses a time, the last one for ever."""

    def __init__(self, names: dict[str, list[list[str]]] | None = None, serve: Serve = echo) -> None:
        self.names = names or {}
        self.lookups: list[str] = []
        self.dialled: list[tuple[str, int]] = []
        self._serve = serve
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self._port = 0

    async def resolve(self, host: str) -> Sequence[tuple[socket.AddressFamily, str]]:
        self.lookups.append(host)
        answers = self.names.get(host, [[PUBLIC]])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET6 if ":" in text else socket.AF_INET, text) for text in answer]

    async def connect(self, addresses: Sequence[Address], port: int) -> socket.socket:
        self.dialled += [(str(address), port) for address in addresses]
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._port))
        return sock

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.close()


@dataclass
class Session:
    """A session's side of the egress gateway."""

    path: Path
    served: ServedEgress
    refusals: list[Refusal] = field(default_factory=list)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self.path)

    async def ask(self, request: bytes, more: bytes = b"") -> bytes:
        """Everything that comes back for a request until the gateway closes; `more` follows as another segment."""
        reader, writer = await self.open()
        writer.write(request)
        if more:
            await writer.drain()
            writer.write(more)
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    async def connect(self, authority: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
        """A CONNECT, and the head of its answer; of a refusal, the whole."""
        reader, writer = await self.open()
        writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head:
            head += await reader.read()
            writer.close()
        return reader, writer, head

    async def status(self, authority: str) -> int:
        """What a CONNECT is answered with."""
        _, writer, head = await self.connect(authority)
        writer.close()
        return int(head.split()[1])


@asynccontextmanager
async def session(
    folder: Path, internet: Internet, policy: EgressPolicy | None = None, **gateway: Any
) -> AsyncIterator[Session]:
    """A gateway in front of the test's internet, with one session served."""
    path = folder / "egress.sock"
    refusals: list[Refusal] = []
    gateway.setdefault("timeouts", Timeouts(handshake_s=5, lookup_s=5, connect_s=5, idle_s=60))
    gateway.setdefault("resolve", internet.resolve)
    egress = EgressGateway(connect=internet.connect, **gateway)
    served = await egress.serve(path, policy or EgressPolicy(), refusals.append)
    try:
        yield Session(path, served, refusals)
    finally:
        await served.close()


def client_hello(name: str | None) -> bytes:
    """The first flight of a real TLS client that wants `name`."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()
