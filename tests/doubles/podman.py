"""Podman for tests: the real server on a socket of our own, and servers that misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest

SESSION_IMAGE = os.environ.get("CCDTEST_IMAGE", "localhost/ccdtasks-session:dev")


def require_image() -> None:
    """Skips where nothing is set up; where `tests/run` set everything up, a missing image is a failure."""
    if os.environ.get("CCDTEST_COMPLETE"):
        return
    try:
        found = subprocess.run(["podman", "image", "exists", SESSION_IMAGE], check=False, timeout=60).returncode == 0
    except OSError:
        found = False
    if not found:
        pytest.skip(f"the session image {SESSION_IMAGE} is not built; tests/run builds it")


@contextmanager
def podman_service(socket_path: Path) -> Iterator[Path]:
    """The real Podman, serving on `socket_path`."""
    command = ["podman", "system", "service", "--time=0", f"unix://{socket_path}"]
    # conmon leaves an empty file `oom` in the folder that it was started in.
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=nowhere, stderr=nowhere, cwd=socket_path.parent) as process:
        try:
            while not _answers(socket_path):
                assert process.poll() is None, "podman system service ended by itself"
                try:
                    process.wait(0.05)
                except subprocess.TimeoutExpired:
                    continue
            yield socket_path
        finally:
            process.terminate()
            process.wait(30)


def _answers(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


@asynccontextmanager
async def misbehaving(path: Path, how: str) -> AsyncIterator[Path]:
    """A server that `hangs` (accepts, never answers), `fails` (500), `drops` (in mid-answer) or talks `nonsense`."""
    connections: set[asyncio.StreamWriter] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        try:
            while await reader.readline() not in (b"\r\n", b""):
                pass
            if how == "hangs":
                await reader.read()
            elif how == "fails":
                body = json.dumps(
                    {"cause": "broken pipe", "message": "the storage is on fire", "response": 500}
                ).encode()
                writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n")
                writer.write(b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
            elif how == "drops":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
            elif how == "nonsense":
                writer.write(b"220 mail.example ESMTP\r\n")
        except ConnectionError:
            pass
        finally:
            connections.discard(writer)
            writer.close()

    server = await asyncio.start_unix_server(answer, str(path))
    try:
        yield path
    finally:
        server.close()
        for writer in list(connections):
            writer.transport.abort()


@asynccontextmanager
async def stumbling(path: Path, real: Path, times: int) -> AsyncIterator[list[str]]:
    """Podman at `real`, through a socket that answers the first `times` creations with 500; gives what it refused."""
    refused: list[str] = []
    pumps: set[asyncio.Task[None]] = set()
    body = b'{"cause": "database is locked", "message": "creating container storage: try again", "response": 500}'
    answer = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nConnection: close\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(str(real))
        pump = asyncio.create_task(_copy(there, writer))
        pumps.add(pump)
        while data := await reader.read(65536):
            line = data.split(b"\r\n")[0].decode("latin-1")
            if line.startswith("POST") and "/containers/create" in line and len(refused) < times:
                refused.append(line)
                writer.write(answer + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                break
            back.write(data)
        back.close()
        writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    try:
        yield refused
    finally:
        server.close()
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


@contextmanager
def refusing(path: Path) -> Iterator[Path]:
    """A socket file at which nobody listens, as a dead server leaves it."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as dead:
        dead.bind(str(path))
    yield path


def guest_image() -> str:
    """The session image with a scripted program in the session's place (`doubles/guest`), built when it changed."""
    require_image()
    recipe = Path(__file__).with_name("guest")
    digest = hashlib.sha256(SESSION_IMAGE.encode() + b"".join(p.read_bytes() for p in sorted(recipe.iterdir())))
    image = f"localhost/ccdtest-guest:{digest.hexdigest()[:12]}"
    if subprocess.run(["podman", "image", "exists", image], check=False, timeout=60).returncode != 0:
        argument = f"SESSION_IMAGE={SESSION_IMAGE}"
        command = ["podman", "build", "-q", "--pull=never", "--build-arg", argument, "-t", image, str(recipe)]
        subprocess.run(command, check=True, timeout=300, stdout=subprocess.DEVNULL)
    return image
