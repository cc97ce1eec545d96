"""Removes what a session leaves behind: its container, then its folder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from ccdtasks.adapters.containers import Bind, ContainerSpec
from ccdtasks.adapters.podman import Podman
from ccdtasks.engine.folder import RunFolders
from ccdtasks.errors import CcdError

_log = logging.getLogger(__name__)

_GUEST = "/run/ccdtasks/guest"
_POLL_S = 0.1
_SWEEP_TIMEOUT_S = 120.0


class Cleaner:
    """Takes containers and run folders away. `labels`: those that every container of this instance carries."""

    def __init__(
        self, podman: Podman, folders: RunFolders, *, image: str, seccomp_profile: Path, labels: Mapping[str, str]
    ) -> None:
        self._podman = podman
        self._folders = folders
        self._image = image
        self._seccomp_profile = seccomp_profile
        self._labels = labels

    async def remove(self, container_name: str, folder_name: str) -> bool:
        """Removes both; False when it has to be tried again later. Never raises for what Podman or the guest did."""
        try:
            await self._podman.remove(container_name)
            return await self.remove_folder(folder_name)
        except CcdError as error:
            _log.warning("the remains of %s could not be removed, trying again later: %s", container_name, error)
            return False

    async def remove_folder(self, name: str) -> bool:
        """Removes a run folder, with help from inside the user namespace where the guest's files resist."""
        if await asyncio.to_thread(self._folders.remove, name):
            return True
        await self._empty(self._folders.folder(name).guest.path, name)
        return await asyncio.to_thread(self._folders.remove, name)

    async def _empty(self, guest: Path, name: str) -> None:
        """Rootless, the guest's files belong to a sub-uid: only root of the same user namespace may remove them.

        `podman unshare` would need new privileges, which our hardened service may not have; Podman's service does.
        """
        sweeper = f"ccd-sweep-{name}"
        spec = ContainerSpec(
            name=sweeper,
            image=self._image,
            labels={**self._labels, "ccdtasks.role": "sweep"},
            memory_mib=128,
            cpus=1,
            pids=16,
            seccomp_profile=self._seccomp_profile,
            binds=(Bind(guest, _GUEST, read_only=False),),
            entrypoint=("/usr/bin/find", _GUEST, "-xdev", "-mindepth", "1", "-delete"),
            cleans_up=True,
        )
        await self._podman.create(spec)
        try:
            await self._podman.start(sweeper)
            async with asyncio.timeout(_SWEEP_TIMEOUT_S):
                await self._until_stopped(sweeper)
        except TimeoutError:
            _log.warning("sweeping the run folder %s takes too long", name)
        finally:
            await self._podman.remove(sweeper)

    async def _until_stopped(self, name: str) -> None:
        while True:
            state = await self._podman.inspect(name)
            if state is None or not state.running or state.pid_alive is False:
                return
            await asyncio.sleep(_POLL_S)
