"""Starts runs when there is room, one task a run, and takes up again those that were going when the process ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from ccdtasks.core.facts import MEMORY
from ccdtasks.core.runs.claims import Claim
from ccdtasks.engine.parts import Parts, stubbornly
from ccdtasks.engine.session import RunSession
from ccdtasks.events import RunQueued, wait_for_bell

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5  # how soon a run that another process queued (the shell) is seen
_MEMORY_FLOOR_MIB = 1024
_YOUNG_MIB = 768  # what a session will have taken once it is up, and has not yet
_YOUNG_S = 30.0
_WORDS = "Too little memory is free for one more session, so runs wait."


def available_memory_mib(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """What the kernel says can be had without swapping; None where it does not say."""
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    fields = (line.split() for line in lines)
    return next((int(field[1]) // 1024 for field in fields if field and field[0] == "MemAvailable:"), None)


class Dispatcher:
    """All runs of this process. The row is the truth; the bell only saves waiting for the next look.

    `available_memory_mib`: what the machine has left, None where that is unknown.
    """

    def __init__(self, parts: Parts, available_memory_mib: Callable[[], int | None] = available_memory_mib) -> None:
        self._parts = parts
        self._available_memory_mib = available_memory_mib
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._started_at: dict[UUID, float] = {}
        self._short_since: float | None = None
        self._is_told: bool | None = None  # unknown: an earlier life of this process may have told it
        self.is_adopted = asyncio.Event()

    def holds(self, session_id: UUID) -> bool:
        """Whether a session is in our hands, its cleaning included."""
        return session_id in self._tasks

    async def run(self) -> None:
        """Adopts, then starts runs until cancelled; the containers of a cancelled process live on."""
        async with asyncio.TaskGroup() as group:
            await self._adopt_all(group)
            self.is_adopted.set()
            with self._parts.core.bus.bell(RunQueued) as bell:
                while True:
                    await self._start_all(group)
                    await wait_for_bell(bell, _LOOK_EVERY_S)

    async def _adopt_all(self, group: asyncio.TaskGroup) -> None:
        """First every socket of every live session is there again, then each container is looked at."""
        claims = await stubbornly(self._parts.core.claims.open)
        sessions = [RunSession(self._parts, claim) for claim in claims if claim.is_live]
        for session in sessions:
            await session.open()
        for session in sessions:
            _log.info("run %s: taken up again as %s", session.claim.run_id, session.claim.status)
            self._spawn(group, session, is_open=True)

    async def _start_all(self, group: asyncio.TaskGroup) -> None:
        core = self._parts.core
        limit = core.config.limits.max_sessions
        while await self._has_memory():
            claim = await stubbornly(lambda: core.claims.claim_next(core.clock.now(), self._parts.boot_id, limit))
            if claim is None:
                return
            self._started_at[claim.session_id] = time.monotonic()
            self._spawn(group, RunSession(self._parts, claim), is_open=False)

    def _spawn(self, group: asyncio.TaskGroup, session: RunSession, *, is_open: bool) -> None:
        claim = session.claim
        task = group.create_task(_whole_life(session, is_open), name=f"run-{claim.folder}")
        self._tasks[claim.session_id] = task
        task.add_done_callback(lambda _: self._forget(claim))

    def _forget(self, claim: Claim) -> None:
        self._tasks.pop(claim.session_id, None)
        self._started_at.pop(claim.session_id, None)

    async def _has_memory(self) -> bool:
        """Whether the machine can carry one more session; when it cannot for a while, the queue says so."""
        if self._is_roomy():
            self._short_since = None
            if self._is_told is not False:
                await stubbornly(lambda: self._parts.core.facts.release(MEMORY))
                self._is_told = False
            return True
        now = time.monotonic()
        self._short_since = self._short_since or now
        if now >= self._short_since + self._parts.patience.shortage_s and not self._is_told:
            _log.warning(_WORDS)
            await stubbornly(self._tell_shortage)
            self._is_told = True
        return False

    def _is_roomy(self) -> bool:
        """By what the kernel says can be had; sessions that are only starting have not taken theirs yet."""
        available_mib = self._available_memory_mib()
        now = time.monotonic()
        young = sum(now - at < _YOUNG_S for at in self._started_at.values())
        return available_mib is None or available_mib >= _MEMORY_FLOOR_MIB + young * _YOUNG_MIB

    async def _tell_shortage(self) -> None:
        core = self._parts.core
        async with core.db.write() as session:
            await core.facts.hold(session, MEMORY, _WORDS)


async def _whole_life(session: RunSession, is_open: bool) -> None:
    if not is_open:
        await session.open()
    await session.run()
