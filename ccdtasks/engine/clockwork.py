"""The clock of schedules: wakes when something is due, fires it, and, apart from that, watches that it does.

APScheduler only rings: one date job at the earliest `next_run_at`, armed anew after each pass and each change, and a
look every few seconds, which covers what other processes changed and clocks that were set. What is due, the rows say.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from ccdtasks.core import Core
from ccdtasks.engine.parts import stubbornly
from ccdtasks.errors import CcdError
from ccdtasks.events import TaskChanged

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 5
_CHECK_AFTER_S = 20.0
_CHECK_EVERY_S = 60.0
_FARTHEST_S = 3600.0


class Clockwork:
    """Fires what is due, the moment it is."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def run(self) -> None:
        """Fires until cancelled; at the start what came due while the process was away."""
        scheduler = AsyncIOScheduler(timezone=UTC)
        with self._core.bus.bell(TaskChanged) as bell:

            async def ring() -> None:
                bell.set()

            options = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
            scheduler.add_job(ring, "interval", seconds=_LOOK_EVERY_S, **options)
            scheduler.start()
            try:
                await stubbornly(self._pass)
                with suppress(CcdError):  # whoever holds the database now will be gone when it matters
                    await self._core.firing.rehearse()
                while True:
                    wait_s = await stubbornly(self._pass)
                    at = datetime.now(UTC) + timedelta(seconds=wait_s)
                    scheduler.add_job(ring, "date", run_date=at, id="due", replace_existing=True, **options)
                    await bell.wait()
                    bell.clear()
            finally:
                scheduler.shutdown(wait=False)

    async def _pass(self) -> float:
        """Fires, and returns the seconds until the next task is due."""
        fired = await self._core.firing.fire_due()
        if fired:
            _log.info("%d schedules fired", fired)
        next_at = await self._core.firing.next_due_at()
        if next_at is None:
            return _FARTHEST_S
        return min(_FARTHEST_S, max(0.0, (next_at - self._core.clock.now()).total_seconds()))


async def watch_schedules(core: Core) -> None:
    """The dead man's switch, on a loop of its own that shares nothing with the one that fires. Runs until cancelled."""
    await asyncio.sleep(_CHECK_AFTER_S)
    while True:
        try:
            await core.deadman.check()
        except CcdError as error:
            _log.error("schedules could not be checked: %s", error.message)
        await asyncio.sleep(_CHECK_EVERY_S)
