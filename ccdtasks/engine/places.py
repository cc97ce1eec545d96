"""Keeps the place in line on the cards of waiting runs true: one look for all that moved since the last."""

from __future__ import annotations

import asyncio

from ccdtasks.core import Core
from ccdtasks.engine.parts import stubbornly

_EVERY_S = 5.0


class PlacesLoop:
    """Looks every few seconds; nothing is written while nobody moves."""

    def __init__(self, core: Core, every_s: float = _EVERY_S) -> None:
        self._core = core
        self._every_s = every_s

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await stubbornly(self._core.queue.tell_places)
            await asyncio.sleep(self._every_s)
