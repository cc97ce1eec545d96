"""Artifacts as files in a local folder. Blocking work runs in an executor of its own."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote

from ccdtasks.errors import LimitReached, NotFound, Unavailable

THREADS = 4
CHUNK_BYTES = 1 << 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored:
    """What lies in the store now."""

    location: str
    size_bytes: int
    sha256: str


class TooLarge(LimitReached):
    """The file has more bytes than allowed."""

    code = "too_large"


class HashingReader:
    """A file that counts and hashes what is read from it, and ends with an error at `max_bytes`."""

    def __init__(self, source: BinaryIO, max_bytes: int) -> None:
        self._source = source
        self._left = max_bytes
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def read(self, size: int = CHUNK_BYTES) -> bytes:
        data = self._source.read(size)  # all that was asked for: boto3 takes a short answer for the end
        self.size_bytes += len(data)
        if self.size_bytes > self._left:
            raise TooLarge("The file is larger than allowed.")
        self._hash.update(data)
        return data

    def copy_to(self, target: BinaryIO, location: str) -> Stored:
        """Copies all that is left into `target`."""
        while data := self.read(CHUNK_BYTES):
            target.write(data)
        target.flush()
        return self.stored(location)

    def stored(self, location: str) -> Stored:
        return Stored(location, self.size_bytes, self._hash.hexdigest())


def attachment(name: str) -> str:
    """The header that makes a browser save a file as `name`, and never show it (RFC 6266)."""
    plain = "".join(sign if sign.isascii() and (sign.isalnum() or sign in " ._-()") else "_" for sign in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


class LocalStore:
    """Artifacts as files below `root`; a location is the path relative to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="store")

    async def put(self, key: str, descriptor: int, *, content_type: str, max_bytes: int) -> Stored:
        """Copies an open file (the descriptor stays open) to `key`; whole or not at all. The type is not kept."""
        return await self._run(self._put, key, os.dup(descriptor), max_bytes)

    async def read(self, location: str, max_bytes: int) -> bytes:
        """The whole artifact, or `TooLarge`."""
        return await self._run(self._read, location, max_bytes)

    async def fetch(self, location: str, descriptor: int) -> Stored:
        """Copies the artifact into an open file (the descriptor stays open), however large it is."""
        return await self._run(self._fetch, location, os.dup(descriptor))

    async def delete(self, location: str) -> None:
        """Removes it, and its folder when that is empty then; absent is success."""
        await self._run(self._delete, location)

    async def names(self, unchanged_since_s: float) -> list[str]:
        """The locations of what lies here and was not written to since that time of the system's clock."""
        return await self._run(self._names, unchanged_since_s)

    async def link(self, location: str, *, name: str, ttl_s: int) -> str | None:
        """None: local files are served by the web part, which signs its own links."""
        return None

    async def check(self) -> None:
        """Writes and removes a small file. Raises `Unavailable("store")`."""
        await self._run(self._check)

    async def close(self) -> None:
        """Lets running copies end."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)
        except FileNotFoundError:
            raise NotFound("That file is no longer in the store.") from None
        except OSError as error:
            raise Unavailable(
                "store", f"The artifact folder {self.root} cannot be used: {error.strerror}.", "Check disk and owner."
            ) from error

    def path(self, location: str) -> Path:
        """Where the artifact lies. Raises FileNotFoundError for a location that points out of the folder."""
        path = (self.root / location).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise FileNotFoundError(location)
        return path

    def _put(self, key: str, descriptor: int, max_bytes: int) -> Stored:
        with os.fdopen(descriptor, "rb") as source:
            source.seek(0)
            target = self.path(key)
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            hashing = HashingReader(source, max_bytes)
            # A name that is the same each time: what a crash leaves is written over when the file is kept again.
            part = target.with_name(f".part-{hashlib.sha256(target.name.encode()).hexdigest()[:16]}")
            try:
                with part.open("wb") as copy:
                    os.fchmod(copy.fileno(), 0o600)
                    stored = hashing.copy_to(copy, key)
                    os.fsync(copy.fileno())
                os.replace(part, target)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
            return stored

    def _read(self, location: str, max_bytes: int) -> bytes:
        with self.path(location).open("rb") as file:
            data = file.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise TooLarge("The file is larger than allowed.")
        return data

    def _fetch(self, location: str, descriptor: int) -> Stored:
        with os.fdopen(descriptor, "wb") as target, self.path(location).open("rb") as source:
            return HashingReader(source, sys.maxsize).copy_to(target, location)

    def _delete(self, location: str) -> None:
        path = self.path(location)
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if not folder.is_relative_to(self.root.resolve()) or folder == self.root.resolve():
                return
            try:
                folder.rmdir()
            except OSError:  # there is more in it, or it is gone
                return

    def _names(self, unchanged_since_s: float) -> list[str]:
        return [
            str(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if path.is_file() and path.stat().st_mtime < unchanged_since_s
        ]

    def _check(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=self.root, prefix=".check-"):
            pass
