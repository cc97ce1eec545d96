"""The database: one pool to read, one writer at a time, the same on SQLite and on Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine


class Database:
    """Sessions on one database. `url`: `sqlite+aiosqlite:///path` or `postgresql+asyncpg://...`."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._reader = _engine(url, self.is_sqlite, writes=False)
        self._writer = _engine(url, self.is_sqlite, writes=True) if self.is_sqlite else self._reader
        self._read = async_sessionmaker(self._reader, expire_on_commit=False)
        self._write = async_sessionmaker(self._writer, expire_on_commit=False)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session to look with; whatever it changes is rolled back."""
        async with self._read() as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed at the end, rolled back on any exception.

        On SQLite it begins with BEGIN IMMEDIATE, so that what it read cannot change before it writes.
        """
        async with self._write() as session, session.begin():
            yield session

    async def close(self) -> None:
        """Closes every connection."""
        await self._reader.dispose()
        if self._writer is not self._reader:
            await self._writer.dispose()

    @property
    def path(self) -> Path | None:
        """The SQLite file, or None on Postgres."""
        return Path(self.url.database) if self.is_sqlite and self.url.database else None


def _engine(url: str, is_sqlite: bool, *, writes: bool) -> AsyncEngine:
    if not is_sqlite:
        return create_async_engine(url, pool_size=10, max_overflow=5, pool_pre_ping=True, hide_parameters=True)
    # One writer connection: SQLite has one write lock, and our pool is fair in waiting for it; busy_timeout is not.
    size: dict[str, Any] = {"pool_size": 1, "max_overflow": 0} if writes else {"pool_size": 4, "max_overflow": 2}
    engine = create_async_engine(url, hide_parameters=True, pool_timeout=60, **size)
    event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
    event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves; the driver's own default loses updates
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # a power cut must not lose what was acknowledged (costs 25-36 %)
        "busy_timeout=15000",
        "foreign_keys=ON",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
