"""One instance per database, however the first one ended."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

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
    async with instance_lock(database_url, wait_s=5):
        pass


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
