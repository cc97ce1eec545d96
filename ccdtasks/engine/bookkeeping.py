"""What is done in small pieces in the background: older runs are added to the sums, clean-ups are carried out."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol

from ccdtasks.core import Core
from ccdtasks.core.figures.cleanups import Work
from ccdtasks.db.models import DiscordThread
from ccdtasks.engine.keeping import Keeper
from ccdtasks.engine.parts import stubbornly
from ccdtasks.errors import CcdError, NotFound

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 5.0
_REST_S = 60.0
_PAUSE_S = 0.1  # between pieces, so that those who have work to do find the database free


class Archivist(Protocol):
    """Who closes threads in Discord."""

    async def close_thread(self, thread: DiscordThread) -> None:
        """Archives or deletes it, as its row says; one that is gone is success. Raises CcdError."""
        ...


class Bookkeeping:
    """A piece at a time; what was done is in the rows, so after a restart it goes on where it was."""

    def __init__(self, core: Core, keeper: Keeper, archivist: Archivist | None = None) -> None:
        self._core = core
        self._keeper = keeper
        self._archivist = archivist
        self._closing_rests_until_s = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            has_more = await stubbornly(self.step)
            await asyncio.sleep(_PAUSE_S if has_more else _LOOK_EVERY_S)

    async def step(self) -> bool:
        """One piece of everything; True when there is more to do."""
        counted = await self._core.metrics.catch_up()
        work = await self._core.cleanups.next_work()
        if work is not None and not await self._clean(work):
            return False
        await self._close_threads()
        return bool(counted or work)

    async def _clean(self, work: Work) -> bool:
        """Files first: a row says where a file lies, so after a crash in between both are found again."""
        for file in work.files:
            try:
                await self._keeper.delete(file)
            except NotFound:
                continue
            except CcdError as error:
                _log.warning("a clean-up waits: %s", error.message)
                return False
        await self._core.cleanups.remove(work)
        return True

    async def _close_threads(self) -> None:
        if self._archivist is None or time.monotonic() < self._closing_rests_until_s:
            return
        for thread in await self._core.cleanups.threads_to_close():
            try:
                await self._archivist.close_thread(thread)
            except CcdError as error:
                _log.info("threads of removed runs are closed later: %s", error.message)
                self._closing_rests_until_s = time.monotonic() + _REST_S
                return
            await self._core.cleanups.thread_closed(thread)
