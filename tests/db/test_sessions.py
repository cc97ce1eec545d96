"""What a session promises: no lost update, a patient writer, readers that change nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import delete, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from ccdtasks.db import Database
from ccdtasks.db.models import InstanceFact, RunEvent
from ccdtasks.errors import Unavailable


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


async def _counter(db: Database) -> int:
    async with db.read() as session:
        return int((await session.get_one(InstanceFact, "counter")).value)


async def _zero(db: Database) -> None:
    async with db.write() as session:
        session.add(InstanceFact(name="counter", value="0"))


async def _add(db: Database, times: int) -> None:
    for _ in range(times):
        async with db.write() as session:
            fact = await session.get_one(InstanceFact, "counter")
            await asyncio.sleep(0)
            fact.value = str(int(fact.value) + 1)


async def test_eight_writers_lose_no_update(db: Database) -> None:
    await _zero(db)
    await asyncio.gather(*(_add(db, 40) for _ in range(8)))
    assert await _counter(db) == 320


async def test_two_processes_lose_no_update(db: Database, database_url: str) -> None:
    """Two pools share nothing, as the service and the shell do not."""
    other = Database(database_url)
    await _zero(db)
    await asyncio.gather(*(_add(each, 20) for each in (db, other) for _ in range(2)))
    await other.close()
    assert await _counter(db) == 80


async def test_cancelled_writers_leave_no_lock(db: Database) -> None:
    await _zero(db)
    for rounds in range(30):
        writers = [asyncio.create_task(_add(db, 5)) for _ in range(4)]
        for _ in range(rounds):
            await asyncio.sleep(0)
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
    before = await _counter(db)
    async with asyncio.timeout(30):
        await _add(db, 1)
    assert await _counter(db) == before + 1


async def test_a_reader_changes_nothing(db: Database) -> None:
    await _zero(db)
    with pytest.raises(Unavailable, match="cannot be written"):
        async with db.read() as session:
            await session.execute(delete(InstanceFact))
    assert await _counter(db) == 0


async def test_a_failed_transaction_leaves_nothing(db: Database) -> None:
    async def fail() -> None:
        async with db.write() as session:
            session.add(InstanceFact(name="half", value="done"))
            await session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with db.read() as session:
        assert await session.get(InstanceFact, "half") is None


async def test_a_lock_from_outside_is_waited_out(db: Database) -> None:
    """Somebody else's transaction holds the write lock; our writer waits, the loop goes on."""
    await _zero(db)
    outside = create_async_engine(db.url)
    async with outside.connect() as connection:
        if db.is_sqlite:
            raw = await connection.get_raw_connection()
            raw.driver_connection.isolation_level = None
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            await connection.execute(text("SELECT pg_advisory_xact_lock(7235419001)"))
        writer = asyncio.create_task(_add(db, 1))
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert not writer.done()
        assert await _counter(db) == 0  # readers do not wait
        await connection.rollback()
    await writer
    await outside.dispose()
    assert await _counter(db) == 1


@pytest.mark.parametrize("database_kind", [pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_a_server_that_was_restarted_is_not_noticed(db: Database) -> None:
    await _zero(db)
    await _counter(db)
    outside = create_async_engine(db.url)
    async with outside.connect() as connection:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ccdtasks'"
        ended = await connection.execute(text(f"{query} AND datname = current_database()"))
        assert ended.scalars().all() == [True, True]  # the writer's connection and a reader's
    await outside.dispose()
    await _add(db, 1)
    assert await _counter(db) == 1


async def test_foreign_keys_are_enforced(db: Database) -> None:
    with pytest.raises(DBAPIError):
        async with db.write() as session:
            session.add(
                RunEvent(session_id=UUID(int=1), seq=1, run_id=UUID(int=2), at=datetime.now(UTC), type="x", data={})
            )


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_full_disk_is_said_plainly(db: Database) -> None:
    await _zero(db)
    async with db.write() as session:
        pages = await session.scalar(text("PRAGMA page_count"))
        await session.execute(text(f"PRAGMA max_page_count={pages}"))
    with pytest.raises(Unavailable, match="disk is full") as caught:
        async with db.write() as session:
            session.add_all(InstanceFact(name=f"f{number}", value="x" * 9000) for number in range(50))
    assert caught.value.part == "disk"
    async with db.write() as session:
        await session.execute(text("PRAGMA max_page_count=1000000"))
    await _add(db, 1)
    assert await _counter(db) == 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_damaged_file_is_said_plainly(db: Database) -> None:
    await db.close()
    assert db.path
    content = bytearray(db.path.read_bytes())
    content[100:8192] = b"\xff" * (8192 - 100)
    db.path.write_bytes(content)
    with pytest.raises(Unavailable, match="damaged"):
        async with db.read() as session:
            await session.execute(select(InstanceFact))


def test_threads_of_the_driver_end(sqlite_template: object) -> None:
    """A closed database leaves no thread behind that would keep the process alive."""

    async def use() -> None:
        database = Database(f"sqlite+aiosqlite:///{sqlite_template}")
        async with database.read() as session:
            await session.execute(select(InstanceFact))
        await database.close()

    before = set(threading.enumerate())
    asyncio.run(use())
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=30)
        assert not thread.is_alive()
