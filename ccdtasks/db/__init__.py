"""The database: many readers, one writer at a time, the same on SQLite and on Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from ccdtasks.errors import Unavailable

_WAIT_S = 15
"""How long a writer waits for another process's transaction."""

_WRITER_KEY = 7_235_419_001
"""The Postgres advisory lock under which every write transaction runs; any number that nobody else uses."""


class Database:
    """Sessions on one database. `url`: `sqlite+aiosqlite:///path` or `postgresql+asyncpg://...`."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._reader = _sqlite(url, writes=False) if self.is_sqlite else _postgres(url, writes=False)
        self._writer = _sqlite(url, writes=True) if self.is_sqlite else _postgres(url, writes=True)
        self._read = async_sessionmaker(self._reader, expire_on_commit=False)
        self._write = async_sessionmaker(self._writer, expire_on_commit=False)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session to look with; it can change nothing."""
        with _translated():
            async with self._read() as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed at the end, rolled back on any exception.

        What it reads cannot change before it writes: on SQLite it begins with BEGIN IMMEDIATE, on Postgres with an
        advisory lock. Raises Unavailable when another process keeps the database locked, or the disk is full.
        """
        with _translated():
            async with self._write() as session:  # which rolls back what is not committed
                if not self.is_sqlite:
                    await _become_writer(session)
                yield session
                await session.commit()

    async def close(self) -> None:
        """Closes every connection."""
        await self._reader.dispose()
        await self._writer.dispose()

    @property
    def path(self) -> Path | None:
        """The SQLite file, or None on Postgres."""
        return Path(self.url.database) if self.is_sqlite and self.url.database else None


async def _become_writer(session: AsyncSession) -> None:
    lock = text("SELECT pg_advisory_xact_lock(:key)").bindparams(key=_WRITER_KEY)
    try:
        await session.execute(lock)
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        await session.rollback()  # the server was restarted since the last writer; the next connection is a new one
        await session.execute(lock)


def _sqlite(url: str, *, writes: bool) -> AsyncEngine:
    # One writer connection: SQLite has one write lock, and our pool is fair in waiting for it; busy_timeout is not.
    size: dict[str, Any] = {"pool_size": 1, "max_overflow": 0} if writes else {"pool_size": 4, "max_overflow": 2}
    engine = create_async_engine(url, hide_parameters=True, pool_timeout=60, **size)

    def set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves; the driver's own default loses updates
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={_WAIT_S * 1000}",
            "journal_mode=WAL",
            "synchronous=FULL",  # a power cut must not lose what was acknowledged (costs 25-36 %)
            "foreign_keys=ON",
            "temp_store=MEMORY",
            f"query_only={'OFF' if writes else 'ON'}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
    event.listen(engine.sync_engine, "connect", set_up)
    event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _postgres(url: str, *, writes: bool) -> AsyncEngine:
    # One writer connection here too, so that waiting writers queue in our pool and take no connection from readers.
    size: dict[str, Any] = {"pool_size": 1, "max_overflow": 0} if writes else {"pool_size": 4, "max_overflow": 4}
    settings = {"application_name": "ccdtasks", "lock_timeout": str(_WAIT_S * 1000)}
    if not writes:
        settings["default_transaction_read_only"] = "on"
    return create_async_engine(
        url,
        hide_parameters=True,
        pool_timeout=60,
        pool_pre_ping=not writes,  # a writer sees it when it asks for the lock
        connect_args={"server_settings": settings, "timeout": 10},
        **size,
    )


@contextmanager
def _translated() -> Iterator[None]:
    """Turns what an administrator can mend into sentences; anything else passes."""
    try:
        yield
    except (DBAPIError, PoolTimeout, OSError) as error:
        known = explained(error)
        if known is None:
            raise
        raise known from error


_MEANINGS = (
    (
        ("disk is full", "no space left", "disk i/o error", "disk_full"),
        ("disk", "The disk is full, so nothing can be saved.", "make room; then it goes on by itself"),
    ),
    (
        ("readonly", "read-only"),
        ("database", "The database cannot be written.", "check who owns the data folder"),
    ),
    (
        ("malformed", "not a database"),
        ("database", "The database is damaged.", "restore a snapshot from the backups folder"),
    ),
    (
        ("locked", "lock timeout"),
        ("database", "The database is busy.", "another program keeps it locked; try again"),
    ),
    (
        ("password authentication", "no pg_hba.conf entry"),
        ("database", "The database refused the user or the password.", "check `[database] url`"),
    ),
    (
        ('database "', 'role "'),
        ("database", "The database or the user of `[database] url` does not exist.", "make it with createdb"),
    ),
)


def explained(error: BaseException) -> Unavailable | None:
    """What a database's error means for a person, or None when it is a mistake of ours."""
    words = str(getattr(error, "orig", None) or error).lower()
    for marks, meaning in _MEANINGS:
        if any(mark in words for mark in marks):
            return Unavailable(*meaning)
    if isinstance(error, PoolTimeout):
        return Unavailable("database", "The database is busy.", "too much is going on at once; try again")
    if isinstance(error, OSError) or getattr(error, "connection_invalidated", False):
        return Unavailable("database", "The database does not answer.", "check that its server is running")
    return None
