"""One instance per database, however the first one ended."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from ccdtasks.app import open_core
from ccdtasks.config import Config
from ccdtasks.db.lock import instance_lock
from ccdtasks.db.migrate import bring_up_to_date
from ccdtasks.errors import Conflict
from tests.clock import MoveableClock

HOLDER = """
import asyncio, sys
from ccdtasks.db.lock import instance_lock

async def hold():
    async with instance_lock(sys.argv[1]):
        print("held", flush=True)
        await asyncio.sleep(600)

asyncio.run(hold())
"""


async def test_a_second_instance_is_refused(database_url: str) -> None:
    async with instance_lock(database_url):
        with pytest.raises(Conflict, match="Another ccdtasks uses this database already"):
            async with instance_lock(database_url):
                pass
    async with instance_lock(database_url):
        pass


async def test_a_killed_instance_leaves_no_lock(database_url: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, database_url], stdout=subprocess.PIPE, cwd=Path.cwd()
    ) as holder:
        assert holder.stdout
        assert await asyncio.to_thread(holder.stdout.readline) == b"held\n"
        with pytest.raises(Conflict):
            async with instance_lock(database_url):
                pass
        holder.kill()
    async with instance_lock(database_url, wait_s=30):
        pass


@pytest.mark.parametrize("database_kind", [pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_a_lock_that_went_with_its_connection_is_taken_again(database_url: str) -> None:
    async with instance_lock(database_url) as lock:
        keeping = asyncio.create_task(lock.keep(look_every_s=0.02))
        first = await _holder(database_url)
        assert first
        await _sql(database_url, f"SELECT pg_terminate_backend({first})")
        async with asyncio.timeout(30):
            while await _holder(database_url) in (None, first):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert not keeping.done()
        with pytest.raises(Conflict):
            async with instance_lock(database_url):
                pass
        keeping.cancel()


@pytest.mark.parametrize("database_kind", [pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_who_lost_the_lock_to_another_instance_ends(database_url: str) -> None:
    async with instance_lock(database_url) as lock:
        await _sql(database_url, f"SELECT pg_terminate_backend({await _holder(database_url)})")
        async with instance_lock(database_url, wait_s=30):
            with pytest.raises(Conflict, match="Another ccdtasks"):
                async with asyncio.timeout(30):
                    await lock.keep(look_every_s=0.02)


async def _holder(url: str) -> int | None:
    """The server's process whose connection has the lock."""
    return await _sql(
        url,
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )


async def _sql(url: str, statement: str) -> Any:
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        found = await connection.scalar(text(statement))
    await engine.dispose()
    return found


async def test_the_shell_works_beside_a_running_instance(
    config: Config, clock: MoveableClock, database_url: str
) -> None:
    async with instance_lock(database_url), open_core(config, clock) as core:
        assert await core.facts.instance_id() == await core.facts.instance_id()


async def test_no_migration_happens_under_a_running_instance(empty_database_url: str, tmp_path: Path) -> None:
    now = MoveableClock().now()
    async with instance_lock(empty_database_url):
        with pytest.raises(Conflict, match="Another ccdtasks"):
            await bring_up_to_date(empty_database_url, tmp_path, now, wait_s=0.2)
        await bring_up_to_date(empty_database_url, tmp_path, now, holds_lock=True)
