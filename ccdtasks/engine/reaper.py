"""Takes away what nobody owns: containers and folders without a row, rows whose run is over, leases, old snapshots.

Only what is certainly ours: containers with this instance's label, run folders with its mark, snapshots by their name.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from ccdtasks.adapters.containers import ContainerState
from ccdtasks.core.runs.claims import Claim
from ccdtasks.db.migrate import tidy_snapshots
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
            is_first = not await self.sweep(is_first=is_first) and is_first
            await asyncio.sleep(_SWEEP_EVERY_S)

    async def sweep(self, *, is_first: bool) -> bool:
        """One look at everything. What fails is logged and holds back nothing else; False when anything did.

        `is_first`: sweeping containers of an earlier life of the process go as well.
        """
        done = [
            await _attempt("sockets and leases", self._release),
            await _attempt("old snapshots", self._tidy),
            await _attempt("leftovers of runs", lambda: self._compare(is_first=is_first)),
        ]
        return all(done)

    async def _release(self) -> None:
        """Nobody listens any more at the sockets of a session that is over, even if its container still may exist."""
        for claim in await stubbornly(self._parts.core.claims.open):
            if self._is_over(claim) and await self._parts.offload(self._parts.folders.close_sockets, claim.folder):
                _log.info("removed the sockets of the run folder %s, whose session is over", claim.folder)
        for name in await self._parts.core.profiles.release_stale():
            _log.info("the profile %s is free again: the session that had it is gone", name)

    async def _tidy(self) -> None:
        backups = self._parts.core.config.paths.data_dir / "backups"
        for path in await self._parts.offload(tidy_snapshots, backups):
            _log.info("removed the old snapshot %s", path.name)

    async def _compare(self, *, is_first: bool) -> None:
        """Raises `Unavailable` when Podman does not answer: then nothing is known, and nothing removed.

        Containers and folders are listed before the rows, so that what appears meanwhile has its row for certain.
        """
        folders = await self._parts.offload(self._parts.folders.names)
        containers = await self._parts.podman.list(self._parts.instance_id)
        claims = await stubbornly(self._parts.core.claims.open)
        for container in _strays(containers, claims, is_first=is_first):
            _log.info("removing container %s, which belongs to no run", container.name)
            await self._parts.podman.remove(container.name)
        for folder in sorted(set(folders) - {claim.folder for claim in claims}):
            _log.info("removing run folder %s, which belongs to no run", folder)
            await self._parts.cleaner.remove_folder(folder)
        for claim in filter(self._is_over, claims):
            if await self._parts.cleaner.remove(claim.container_name, claim.folder):
                await self._parts.core.claims.removed(claim)

    def _is_over(self, claim: Claim) -> bool:
        return not claim.is_live and not self._is_held(claim.session_id)


async def _attempt(what: str, act: Callable[[], Awaitable[None]]) -> bool:
    try:
        await act()
    except CcdError as error:
        _log.warning("%s stay for now: %s", what, error.message)
        return False
    except OSError as error:
        _log.warning("%s stay for now: %s", what, error.strerror)
        return False
    except Exception:  # what a guest leaves must not take the service down, again at each start
        _log.exception("%s stay for now", what)
        return False
    return True


def _strays(containers: Sequence[ContainerState], claims: Sequence[Claim], *, is_first: bool) -> list[ContainerState]:
    """Containers without an open session; one that sweeps a folder at this moment belongs to none either."""
    known = {claim.container_name for claim in claims}
    sweepers = set() if is_first else {each.name for each in containers if each.labels.get("ccdtasks.role") == "sweep"}
    return [container for container in containers if container.name not in known | sweepers]
