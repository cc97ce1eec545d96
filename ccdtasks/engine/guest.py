"""The hostile half of a run folder: everything here was written by the container and may be a trap.

Opened by directory descriptors without following links, without blocking; regular files (or a socket) only, limited.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import socket
import stat
import struct
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DEPTH_MAX = 32
_ENTRIES_MAX = 50_000
_STRUCTURE = b"[{,"
_PARTS_MAX = 2_000_000  # more than the largest result has; empty lists take 27 times their size in memory


class Trap(Exception):
    """The guest's file is not what it should be: a link, a pipe, too large, not ours to read, not JSON."""


@dataclass(frozen=True, slots=True)
class GuestFile:
    """A regular file below the guest folder. `path` is relative, as the guest wrote it."""

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Listing:
    """What a walk found, and whether it had to stop early."""

    files: tuple[GuestFile, ...]
    is_cut: bool


class GuestFolder:
    """One run's `guest/`. Its own path is ours; whatever lies below is the guest's. Blocking, but never for long."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def open_file(self, name: str) -> Iterator[int]:
        """A descriptor of the regular file `name` (relative, with slashes). Raises `Trap`, or FileNotFoundError."""
        with self._parent(name) as (folder, leaf):
            descriptor = _opened(leaf, _OPEN_FILE, folder)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Trap(f"{name} is not a regular file")
            yield descriptor
        finally:
            os.close(descriptor)

    def read(self, name: str, max_bytes: int) -> bytes:
        """The whole file, if it has at most `max_bytes`."""
        with self.open_file(name) as descriptor:
            pieces = []
            left = max_bytes + 1
            while left > 0 and (piece := os.read(descriptor, min(left, 1 << 20))):
                pieces.append(piece)
                left -= len(piece)
        if left <= 0:
            raise Trap(f"{name} is larger than {max_bytes} bytes")
        return b"".join(pieces)

    def read_json(self, name: str, max_bytes: int) -> dict[str, Any]:
        """A JSON object, cleaned as `parse_object` does."""
        return parse_object(self.read(name, max_bytes))

    def exists(self, name: str) -> bool:
        """Whether there is a regular file of that name."""
        try:
            with self.open_file(name):
                return True
        except (OSError, Trap):
            return False

    def files(self, below: str, max_files: int) -> Listing:
        """The regular files below a folder, in order of their names; links, pipes and devices are passed over."""
        found: list[GuestFile] = []
        try:
            for path, status in self._walk(below):
                if stat.S_ISREG(status.st_mode):
                    if len(found) == max_files:
                        return Listing(tuple(found), is_cut=True)
                    found.append(GuestFile(f"{below}/{path}", status.st_size))
        except Trap:
            return Listing(tuple(found), is_cut=True)
        return Listing(tuple(found), is_cut=False)

    def used_bytes(self) -> int:
        """The disk space that the folder takes. Raises `Trap` when it is too deep or too full to count."""
        return sum(status.st_blocks * 512 for _, status in self._walk(""))

    def open_socket(self, name: str) -> SocketHandle:
        """A handle of the socket `name` that cannot be exchanged afterwards. Raises `Trap`, or FileNotFoundError."""
        with self._parent(name) as (folder, leaf):
            descriptor = _opened(leaf, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, folder)
        status = os.fstat(descriptor)
        if not stat.S_ISSOCK(status.st_mode):
            os.close(descriptor)
            raise Trap(f"{name} is not a socket")
        return SocketHandle(descriptor, status.st_uid)

    @contextmanager
    def _parent(self, name: str) -> Iterator[tuple[int, str]]:
        parts = name.split("/")
        if len(parts) > _DEPTH_MAX or any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise Trap("not a path below the folder")
        folder = os.open(self.path, _OPEN_FOLDER)
        try:
            for part in parts[:-1]:
                below = _opened(part, _OPEN_FOLDER, folder)
                os.close(folder)
                folder = below
            yield folder, parts[-1]
        finally:
            os.close(folder)

    def _walk(self, below: str) -> Iterator[tuple[str, os.stat_result]]:
        """Every entry below a folder, relative to it; folders are entered by descriptor, never by path."""
        try:
            if below:
                with self._parent(below) as (folder, leaf):
                    top = _opened(leaf, _OPEN_FOLDER, folder)
            else:
                top = os.open(self.path, _OPEN_FOLDER)
        except FileNotFoundError:
            return
        yield from _entries(top, "", [0])


def _opened(name: str, flags: int, folder: int) -> int:
    try:
        return os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:  # a link (ELOOP), not a folder, not readable, a device without driver
        raise Trap(f"{printable(name)} cannot be opened: {error.strerror}") from None
    except ValueError:
        raise Trap("not a path below the folder") from None


def _entries(folder: int, prefix: str, count: list[int]) -> Iterator[tuple[str, os.stat_result]]:
    try:
        if prefix.count("/") > _DEPTH_MAX:
            raise Trap("the folder is nested too deeply")
        with os.scandir(folder) as scan:
            names = []
            for entry in scan:
                count[0] += 1
                if count[0] > _ENTRIES_MAX:
                    raise Trap("the folder holds too many entries")
                names.append(entry.name)
        for name in sorted(names):
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except OSError:  # gone since
                continue
            yield f"{prefix}{name}", status
            if stat.S_ISDIR(status.st_mode):
                try:
                    below = _opened(name, _OPEN_FOLDER, folder)
                except (FileNotFoundError, Trap):
                    continue
                yield from _entries(below, f"{prefix}{name}/", count)
    finally:
        os.close(folder)


class SocketHandle:
    """A guest's socket, held by descriptor. `connect` uses it up."""

    def __init__(self, descriptor: int, owner_uid: int) -> None:
        self._descriptor = descriptor
        self._owner_uid = owner_uid

    async def connect(
        self, *, refuse_uids: frozenset[int], timeout_s: float = 5.0, limit: int = 1 << 16
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Streams to whoever listens there, if it is the file's owner and none of `refuse_uids`."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            async with asyncio.timeout(timeout_s):
                loop = asyncio.get_running_loop()
                await loop.sock_connect(connection, f"/proc/self/fd/{self._descriptor}")
            _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if uid != self._owner_uid or uid in refuse_uids:
                raise Trap("somebody else listens on the guest's socket")
            return await asyncio.open_unix_connection(sock=connection, limit=limit)
        except BaseException:
            connection.close()
            raise
        finally:
            os.close(self._descriptor)


def parse_object(text: bytes) -> dict[str, Any]:
    """A JSON object that every database takes: no NUL, no half surrogate, no infinity. Raises `Trap`."""
    if len(text) - len(text.translate(None, _STRUCTURE)) > _PARTS_MAX:
        raise Trap("JSON of too many parts")
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=lambda _: None)
        cleaned = _cleaned(value)
    except (ValueError, RecursionError):
        raise Trap("not valid JSON") from None
    if not isinstance(cleaned, dict):
        raise Trap("not a JSON object")
    return cleaned


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    return value


def printable(text: str) -> str:
    """Text that moves no cursor and turns no line around, for names and messages."""
    kept = (char if unicodedata.category(char)[0] != "C" else "�" for char in text)
    return "".join(kept)
