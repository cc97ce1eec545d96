"""A Podman service for the time of the demonstration, where none runs yet."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ccdtasks.adapters.podman import find_socket
from ccdtasks.errors import Unavailable

_START_S = 30.0
_LOOK_S = 0.05


@asynccontextmanager
async def podman_socket(configured: str | None, folder: Path) -> AsyncIterator[str]:
    """The socket to use: the configured one, one that answers already, else one of our own below `folder`.

    Raises Unavailable when Podman is not installed or does not come up.
    """
    socket = find_socket(configured)
    if configured or await _answers(socket):
        yield socket
        return
    program = shutil.which("podman")
    if program is None:
        raise Unavailable(
            "podman", "Podman is not installed.", "install it: apt install podman, or ./install.sh --demo"
        )
    async with _service(program, folder / "podman.sock") as own:
        yield own


@asynccontextmanager
async def _service(program: str, socket: Path) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        *(program, "system", "service", "--time=0", f"unix://{socket}"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C is for us: we still need it to clean up
    )
    try:
        async with asyncio.timeout(_START_S):
            while not await _answers(str(socket)):
                if process.returncode is not None:
                    raise Unavailable("podman", "Podman does not start.", "see what `podman info` says")
                await asyncio.sleep(_LOOK_S)
        yield str(socket)
    except TimeoutError:
        raise Unavailable("podman", "Podman does not answer.", "see what `podman info` says") from None
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _answers(socket: str) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        return False
    writer.close()
    return True
