"""A container that tries with all its might to reach home: this machine, its network, the cloud's metadata."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from ccdtasks.config import Config
from ccdtasks.db.enums import RunStatus
from tests.engine.conftest import running_engine

pytestmark = pytest.mark.image

# Every way to write 127.0.0.1, and every kind of address that is not the public internet.
FORMS = (
    "127.0.0.1", "localhost", "0.0.0.0", "0", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1",
    "017700000001", "127.0.0.1.", "①②⑦.⓪.⓪.①", "127。0。0。1", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::127.0.0.1]",
    "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001::1]", "[fe80::1]", "[fec0::1]", "[fc00::1]",
    "[ff02::1]", "[::ffff:0:127.0.0.1]", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254",
    "[fd00:ec2::254]", "metadata.google.internal", "192.0.0.8", "192.88.99.1", "198.18.0.1", "224.0.0.1",
    "255.255.255.255", "240.0.0.1", "user@127.0.0.1", "127.0.0.1#", "127.0.0.1%00.example.com", "rebind.example",
    "mixed.example", "mapped.example",
)  # fmt: skip

NAMES = {
    "rebind.example": [["203.0.113.10"], ["127.0.0.1"]],
    "mixed.example": [["93.184.216.34", "127.0.0.1"]],
    "mapped.example": [["::ffff:127.0.0.1"]],
}


@asynccontextmanager
async def _home() -> AsyncIterator[tuple[int, list[str]]]:
    """A server on every address of this machine that writes down who came; on port 80 too, where that is to be had."""
    visits: list[str] = []

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(str(writer.get_extra_info("sockname")))
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nlet in")
        await writer.drain()
        writer.close()

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(await asyncio.start_server(welcome, "0.0.0.0", 0))
        with contextlib.suppress(OSError):
            await stack.enter_async_context(await asyncio.start_server(welcome, "0.0.0.0", 80))
        with contextlib.suppress(OSError):
            await stack.enter_async_context(await asyncio.start_server(welcome, "::", 80, family=socket.AF_INET6))
        yield server.sockets[0].getsockname()[1], visits


async def _resolve(host: str) -> list[tuple[socket.AddressFamily, str]]:
    """Names of the test as an attacker would have them answered, others by the system."""
    known = NAMES.get(host)
    if known is not None:
        answers = known.pop(0) if len(known) > 1 else known[0]
        return [(socket.AF_INET6 if ":" in answer else socket.AF_INET, answer) for answer in answers]
    infos = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [(info[0], str(info[4][0])) for info in infos]


async def test_nothing_at_home_can_be_reached(settings: Config) -> None:
    claude = settings.claude.model_copy(update={"base_url": "https://model.example"})
    settings = settings.model_copy(update={"claude": claude})
    own = {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)}
    hosts = [*FORMS, "rebind.example", *(f"[{host}]" if ":" in host else host for host in own)]
    async with _home() as (port, visits), running_engine(settings, resolve=_resolve) as engine:
        targets = [f"{host}:{number}" for number in (port, 80) for host in hosts]
        views = []
        for part in range(0, len(targets), 30):
            run_id = await engine.start("tries-to-get-out", targets=",".join(targets[part : part + 30]))
            views.append(await engine.end(run_id))
            told = [data["text"] for _, kind, data in await engine.events(run_id) if kind == "progress"]
            assert told == ["tried all"]
        assert visits == []
        assert all(view.run.status is RunStatus.COMPLETED for view in views)
        refused = {
            (data["host"], data["reason"])
            for view in views
            for _, kind, data in await engine.events(view.run.id)
            if kind == "egress_refused"
        }
        # What is no name and no address that we would ever look up is not even an authority; the others are judged.
        private = {host for host, reason in refused if reason == "private_address"}
        assert {
            "127.0.0.1",
            "localhost",
            "::1",
            "::ffff:7f00:1",
            "169.254.169.254",
            "10.0.0.1",
            "fd00:ec2::254",
        } <= private
        assert {"rebind.example", "mixed.example", "mapped.example"} <= private
