"""Child processes: each in a process group of its own, with its chatter kept in a log that cannot grow for ever."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")


def started(part: _T | None) -> _T:
    """A part that `start` makes. Raises RuntimeError when it was not called."""
    if part is None:
        raise RuntimeError("used before it was started")
    return part


class CappedLog:
    """A file that takes `max_bytes` and then only notes that more was said."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._file = path.open("ab", buffering=0)
        self._left = max_bytes

    def write(self, data: bytes) -> None:
        if self._left <= 0:
            return
        with contextlib.suppress(OSError):  # a full disk must not end the session through its logs
            self._file.write(data[: self._left])
            self._left -= len(data)
            if self._left <= 0:
                self._file.write(b"\n[cut here: the log reached its limit]\n")

    async def follow(self, stream: asyncio.StreamReader) -> None:
        """Take all that `stream` says until it ends."""
        while data := await stream.read(65_536):
            self.write(data)

    def close(self) -> None:
        self._file.close()


class Child:
    """A running program without input, whose output and errors go to a log."""

    def __init__(self, process: Process, chatter: asyncio.Task[None]) -> None:
        self._process = process
        self._chatter = chatter

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        env: Mapping[str, str],
        log: CappedLog,
        *,
        cwd: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Raises OSError when there is no such program."""
        process = await asyncio.create_subprocess_exec(
            *argv, env=env, cwd=cwd, pass_fds=pass_fds,
            stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, start_new_session=True,
        )  # fmt: skip
        return cls(process, asyncio.create_task(log.follow(started(process.stdout))))

    async def wait(self) -> int:
        """Its exit code, once it has ended; negative for a signal."""
        return await self._process.wait()

    async def stop(self, grace_s: float) -> None:
        await stop_group(self._process, grace_s)
        self._chatter.cancel()


async def stop_group(process: Process, grace_s: float) -> None:
    """End a process and its group: asked first, killed after `grace_s`."""
    if process.returncode is None:
        _signal_group(process, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await process.wait()
    _signal_group(process, signal.SIGKILL)  # also what it left behind
    await process.wait()


def _signal_group(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
