"""What every run needs from the process, and how patient we are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ccdtasks.adapters.painter import Painter
from ccdtasks.adapters.podman import Podman
from ccdtasks.adapters.pushover import Pushover
from ccdtasks.core import Core
from ccdtasks.engine.cleaning import Cleaner
from ccdtasks.engine.folder import RunFolders
from ccdtasks.engine.keeping import Keeper
from ccdtasks.engine.purses import Purses
from ccdtasks.errors import Unavailable
from ccdtasks.gateways.egress import EgressGateway
from ccdtasks.gateways.model import ModelGateway

_log = logging.getLogger(__name__)
_DATABASE_RETRY_S = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take, in seconds.

    `launch_s`: until Podman has started a container. `stop_s`: from SIGTERM to SIGKILL, more than the 15 s in which a
    session collects. `over_s`: what a session gets beyond its own time limit before we end it, since it ends by
    itself in better order. `silence_s`: how long a container that should be dead may hide behind a silent Podman.
    `shortage_s`: how long memory must be short before the queue says so.
    """

    launch_s: float = 60.0
    stop_s: float = 20.0
    over_s: float = 15.0
    silence_s: float = 60.0
    shortage_s: float = 5.0
    drain_s: float = 20.0
    busy_poll_s: float = 0.05
    idle_poll_s: float = 0.25
    look_s: float = 1.0
    weigh_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the process that runs share. `threads` is for short blocking looks into run folders."""

    core: Core
    podman: Podman
    folders: RunFolders
    cleaner: Cleaner
    keeper: Keeper
    model: ModelGateway
    egress: EgressGateway
    purses: Purses
    pushover: Pushover
    painter: Painter
    seccomp_profile: Path
    instance_id: str
    boot_id: str
    threads: Executor
    patience: Patience = Patience()

    async def offload(self, function: Callable[..., T], *arguments: Any) -> T:
        """Runs a short blocking function beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, function, *arguments)


async def stubbornly(act: Callable[[], Awaitable[T]]) -> T:
    """Does a database act until the database takes it: a full disk or a locked file passes, and loses nothing."""
    told = False
    while True:
        try:
            return await act()
        except Unavailable as error:
            if not told:
                _log.error("%s It is tried again every second.", error.message)
                told = True
        await asyncio.sleep(_DATABASE_RETRY_S)


def read_boot_id() -> str:
    """Tells one boot of this machine from another."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
