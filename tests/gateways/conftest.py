"""What every gateway test stands on: a short folder for sockets, and nothing left over at the end."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: a socket's path has 107 bytes, and pytest's own are long."""
    path = Path(tempfile.mkdtemp(prefix="ccd-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
async def nothing_left_over() -> AsyncIterator[None]:
    """Fails a test that leaves a task behind."""
    before = asyncio.all_tasks()
    yield
    async with asyncio.timeout(30):
        while left := asyncio.all_tasks() - before - {asyncio.current_task()}:
            await asyncio.wait(left)
