"""One instance per database: a file lock beside a SQLite file, an advisory lock in Postgres.

Both end with the process, whatever kills it, so nothing has to be cleaned up after a crash. Postgres's ends with its
connection too, which a restart of the server cuts: `keep` takes it again, or ends us when another instance was first.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy import make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from ccdtasks.db import explained
from ccdtasks.errors import Conflict, Unavailable

_INSTANCE_KEY = 7_235_419_002
"""The Postgres advisory lock of a running instance; any number that nobody else uses."""

_AGAIN_S = 0.1
_TROUBLE_S = 1.0
_ANSWER_S = 10.0
_TAKE = "SELECT pg_try_advisory_lock(:key)"
_IS_HELD = """
    SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
                   AND (classid::bigint << 32) | objid::bigint = :key)
"""


class _Lock(Protocol):
    async def take(self) -> bool: ...

    async def is_held(self) -> bool: ...


class InstanceLock:
    """The database is this process's."""

    def __init__(self, lock: _Lock) -> None:
        self._lock = lock

    async def keep(self, look_every_s: float = 5.0) -> None:
        """Watches for ever that it stays so; a lock that went with its connection is taken again.

        Raises Conflict when another instance was first. While the database does not answer nobody can know, and nobody
        can work on it either.
        """
        pause_s = look_every_s
        while True:
            await asyncio.sleep(pause_s)
            try:
                if not await self._lock.is_held() and not await self._lock.take():
                    raise _taken()
                pause_s = look_every_s
            except Unavailable:
                pause_s = min(_TROUBLE_S, look_every_s)


@asynccontextmanager
async def instance_lock(url: str, *, wait_s: float = 0.0) -> AsyncIterator[InstanceLock]:
    """Holds the database for this process; raises Conflict when another one has it for longer than `wait_s`."""
    parsed = make_url(url)
    is_file = parsed.get_backend_name() == "sqlite"
    opened: AbstractAsyncContextManager[_Lock] = _file(Path(f"{parsed.database}.lock")) if is_file else _server(url)
    async with opened as lock:
        deadline = asyncio.get_running_loop().time() + wait_s
        while not await lock.take():
            if asyncio.get_running_loop().time() >= deadline:
                raise _taken()
            await asyncio.sleep(_AGAIN_S)
        yield InstanceLock(lock)


class _FileLock:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def take(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    async def is_held(self) -> bool:
        return True  # nothing but our own end takes it away


@asynccontextmanager
async def _file(path: Path) -> AsyncIterator[_FileLock]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        hint = "check that the folder exists and who owns it"
        raise Unavailable("database", f"{path.parent} cannot be written: {error.strerror}.", hint) from None
    try:
        yield _FileLock(descriptor)
    finally:
        os.close(descriptor)


class _ServerLock:
    """An advisory lock on a connection of its own, which is made anew when it is gone."""

    def __init__(self, url: str) -> None:
        self._engine = create_async_engine(url, poolclass=NullPool, hide_parameters=True, isolation_level="AUTOCOMMIT")
        self._connection: AsyncConnection | None = None

    async def take(self) -> bool:
        return await self._ask(_TAKE)

    async def is_held(self) -> bool:
        return await self._ask(_IS_HELD)

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
        await self._engine.dispose()

    async def _ask(self, query: str) -> bool:
        """Raises Unavailable when the server does not answer."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                if self._connection is None:
                    self._connection = await self._engine.connect()
                return bool(await self._connection.scalar(text(query), {"key": _INSTANCE_KEY}))
        except (SQLAlchemyError, OSError) as error:
            if self._connection is not None:
                await self._connection.invalidate(error)
                self._connection = None
            known = explained(error)
            if known is None:
                raise
            raise known from error


@asynccontextmanager
async def _server(url: str) -> AsyncIterator[_ServerLock]:
    lock = _ServerLock(url)
    try:
        yield lock
    finally:
        await lock.close()


def _taken() -> Conflict:
    return Conflict("Another ccdtasks uses this database already.", "stop it first: systemctl stop ccdtasks")
