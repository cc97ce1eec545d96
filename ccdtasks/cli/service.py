"""The core as a verb opens it, and whether a service works on the same database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from ccdtasks.app import database_url, open_core
from ccdtasks.cli.shell import Shell
from ccdtasks.config import Config
from ccdtasks.core import Core
from ccdtasks.db.lock import instance_lock
from ccdtasks.errors import Conflict, Unavailable

T = TypeVar("T")


@asynccontextmanager
async def opened(shell: Shell) -> AsyncIterator[Core]:
    """The core over the user's database. Rows are the command: a running service sees them within seconds."""
    async with open_core(shell.load_config().config) as core:
        yield core


def ask(shell: Shell, act: Callable[[Core], Awaitable[T]]) -> T:
    """The answer of one call of the core over the user's database: the whole of most verbs."""

    async def answer() -> T:
        async with opened(shell) as core:
            return await act(core)

    return asyncio.run(answer())


async def is_served(config: Config) -> bool:
    """True while some `ccdtasks serve` holds the database's lock."""
    try:
        async with instance_lock(database_url(config)):
            return False
    except Conflict:
        return True


def no_service() -> Unavailable:
    """What is said when nobody would do the work."""
    return Unavailable(
        "service",
        "No ccdtasks service is running on this database, so the run would wait for ever.",
        "start one: ccdtasks serve, or systemctl start ccdtasks",
    )
