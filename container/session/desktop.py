"""The desktop: an X server that speaks VNC on a unix socket, and a small window manager."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from session.job import Display
from session.places import Places
from session.processes import CappedLog, Child, started


class DesktopError(Exception):
    """The X server did not start."""


class Desktop:
    """One display. Start it, give `display` to the programs, and wait on `died`."""

    def __init__(self, places: Places, size: Display, env: Mapping[str, str], log: CappedLog) -> None:
        self._places = places
        self._size = size
        self._env = env
        self._log = log
        self._server: Child | None = None
        self._manager: Child | None = None
        self.display = ""

    async def start(self) -> None:
        """Return when programs can open windows. Raises DesktopError."""
        ready, told = os.pipe()
        try:
            self._server = await Child.start(self._command(told), self._env, self._log, pass_fds=(told,))
        finally:
            os.close(told)
        # The server writes the number of its display when it listens; end of file means that it died.
        number = await _read_line(ready)
        if not number:
            raise DesktopError("the desktop (Xvnc) did not start")
        self.display = f":{number}"
        manager = ["openbox", "--config-file", str(self._places.image / "openbox.xml")]
        self._manager = await Child.start(manager, {**self._env, "DISPLAY": self.display}, self._log)

    def _command(self, told: int) -> list[str]:
        socket = self._places.guest / "vnc.sock"
        return [
            "Xtigervnc", "-displayfd", str(told), "-geometry", f"{self._size.width}x{self._size.height}",
            "-depth", "24", "-desktop", "ccdtasks", "-nolisten", "tcp", "-ac",
            # No port. 0666: rootless, the host's service is another user here; the folder around it is private.
            "-rfbport", "-1", "-rfbunixpath", str(socket), "-rfbunixmode", "0666", "-SecurityTypes", "None",
            "-AlwaysShared", "-AcceptSetDesktopSize=0", "-AcceptCutText=0", "-SendCutText=0", "-SendPrimary=0",
        ]  # fmt: skip

    async def died(self) -> str:
        """Wait until the X server ends by itself; say so in plain words."""
        return f"the desktop (Xvnc) ended unexpectedly, exit code {await started(self._server).wait()}"

    async def screenshot(self, path: Path) -> bool:
        """Write the whole display as PNG: what a person sees on VNC, dialogs included."""
        if not self.display:
            return False
        argv = ["scrot", "--overwrite", "--silent", str(path)]
        shot = await Child.start(argv, {**self._env, "DISPLAY": self.display}, self._log)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                return await shot.wait() == 0
        await shot.stop(0.1)
        return False

    async def stop(self) -> None:
        for process in (self._manager, self._server):
            if process is not None:
                await process.stop(0.5)


async def _read_line(fd: int) -> str:
    """The first line that comes through a pipe, without its end; empty when nothing came. Closes `fd`."""
    reader = asyncio.StreamReader()
    pipe = os.fdopen(fd, "rb")
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        async with asyncio.timeout(20):
            return (await reader.readline()).decode().strip()
    except TimeoutError:
        return ""
    finally:
        transport.close()
