"""Takes away what nobody owns: containers and folders without a row, and rows whose run is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

from ccdtasks.core.claims import Claim
from ccdtasks.engine.parts import Parts, stubbornly
from ccdtasks.errors import CcdError

_log = logging.getLogger(__name__)

_SWEEP_EVERY_S = 30.0


class Reaper:
    """Compares containers, folders and rows every half minute. `is_held`: whether a session is in somebody's hands."""

    def __init__(self, parts: Parts, is_held: Callable[[UUID], bool]) -> None:
        self._parts = parts
        self._is_held = is_held

    async def run(self) -> None:
        """Sweeps until cancelled; what stays now goes the next time."""
        is_first = True
        while True:
            try:
                await self.sweep(is_first=is_first)
                is_first = False
            except CcdError as error:
                _log.warning("leftovers stay for now: %s", error.message)
            await asyncio.sleep(_SWEEP_EVERY_S)

    async def sweep(self, *, is_first: bool) -> None:
        """One comparison. Raises `Unavailable` when Podman does not answer: then nothing is known, and nothing removed.

        Containers and folders are listed before the rows, so that what appears meanwhile has its row for certain.
        `is_first`: sweeping containers of an earlier life of the process go as well.
        """
        folders = await self._parts.offload(self._parts.folders.names)
        containers = await self._parts.podman.list(self._parts.instance_id)
        claims = await stubbornly(self._parts.core.claims.open)
        known = {claim.container_name for claim in claims}
        for container in containers:
            is_sweeping = container.labels.get("ccdtasks.role") == "sweep" and not is_first
            if container.name not in known and not is_sweeping:
                _log.info("removing container %s, which belongs to no run", container.name)
                await self._parts.podman.remove(container.name)
        for folder in sorted(set(folders) - {claim.folder for claim in claims}):
            _log.info("removing run folder %s, which belongs to no run", folder)
            await self._parts.cleaner.remove_folder(folder)
        for claim in claims:
            if not claim.is_live and not self._is_held(claim.session_id):
                await self._bury(claim)

    async def _bury(self, claim: Claim) -> None:
        if await self._parts.cleaner.remove(claim.container_name, claim.folder):
            await stubbornly(lambda: self._parts.core.claims.removed(claim))
