from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from session import relay


def port_of(near: asyncio.Server) -> int:
    return int(near.sockets[0].getsockname()[1])


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers in upper case when the other side has said all."""
    writer.write((await reader.read()).upper())
    await writer.drain()
    writer.close()


async def ask(port: int, said: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return answer


async def test_all_bytes_pass_in_both_directions_and_each_end_is_told(tmp_path: Path) -> None:
    far = await asyncio.start_unix_server(shout, str(tmp_path / "far.sock"))
    near = await relay.serve(0, relay.to_socket(tmp_path / "far.sock"))
    said = b"abc" * 2_000_000
    is_whole = await ask(port_of(near), said) == said.upper()  # pytest would explain six megabytes for an hour
    assert is_whole
    near.close()
    far.close()


async def test_a_way_that_leads_nowhere_is_closed_at_once(tmp_path: Path) -> None:
    near = await relay.serve(0, relay.to_socket(tmp_path / "nobody.sock"))
    try:
        answer = await ask(port_of(near), b"hello")
    except ConnectionResetError:
        answer = b""
    assert answer == b""
    near.close()


async def test_a_connection_waits_until_the_far_side_is_ready() -> None:
    ready, place = asyncio.Event(), socket.socket()
    place.bind(("127.0.0.1", 0))
    near = await relay.serve(0, relay.to_port(place.getsockname()[1], ready.wait))
    asked = asyncio.create_task(ask(port_of(near), b"early"))
    _, pending = await asyncio.wait({asked}, timeout=0.05)
    assert pending
    far = await asyncio.start_server(shout, sock=place)
    ready.set()
    assert await asked == b"EARLY"
    near.close()
    far.close()
