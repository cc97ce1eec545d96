"""One instance per database: a file lock beside a SQLite file, an advisory lock in Postgres.

Both end with the process, whatever kills it, so nothing has to be cleaned up after a crash.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from ccdtasks.db import explained
from ccdtasks.errors import Conflict, Unavailable

_INSTANCE_KEY = 7_235_419_002
"""The Postgres advisory lock of a running instance; any number that nobody else uses."""

_AGAIN_S = 0.1


@asynccontextmanager
async def instance_lock(url: str, *, wait_s: float = 0.0) -> AsyncIterator[None]:
    """Holds the database for this process; raises Conflict when another one has it for longer than `wait_s`."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        async with _file_lock(Path(f"{parsed.database}.lock"), wait_s):
            yield
    else:
        async with _advisory_lock(url, wait_s):
            yield


@asynccontextmanager
async def _file_lock(path: Path, wait_s: float) -> AsyncIterator[None]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        hint = "check that the folder exists and who owns it"
        raise Unavailable("database", f"{path.parent} cannot be written: {error.strerror}.", hint) from None

    async def take() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    try:
        await _wait(take, wait_s)
        yield
    finally:
        os.close(descriptor)


@asynccontextmanager
async def _advisory_lock(url: str, wait_s: float) -> AsyncIterator[None]:
    engine = create_async_engine(url, poolclass=NullPool, hide_parameters=True)
    try:
        async with engine.connect() as connection:
            session = await connection.execution_options(isolation_level="AUTOCOMMIT")

            async def take() -> bool:
                query = text("SELECT pg_try_advisory_lock(:key)")
                return bool(await session.scalar(query, {"key": _INSTANCE_KEY}))

            await _wait(take, wait_s)
            yield
    except (SQLAlchemyError, OSError) as error:
        known = explained(error)
        if known is None:
            raise
        raise known from error
    finally:
        await engine.dispose()


async def _wait(take: Callable[[], Awaitable[bool]], wait_s: float) -> None:
    deadline = asyncio.get_running_loop().time() + wait_s
    while not await take():
        if asyncio.get_running_loop().time() >= deadline:
            raise Conflict("Another ccdtasks uses this database already.", "stop it first: systemctl stop ccdtasks")
        await asyncio.sleep(_AGAIN_S)
