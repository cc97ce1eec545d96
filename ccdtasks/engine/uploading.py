"""Sends the files that wait in the spool to the remote store: after an outage, a restart, a kill at any moment.

spool --put--> store --> the row says `stored` --> gone from the spool
killed between two of these: the step is done again, under the same key, and changes nothing
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from ccdtasks.adapters.storage import LocalStore, TooLarge
from ccdtasks.core import Core
from ccdtasks.db.models import Artifact
from ccdtasks.engine.keeping import Keeper
from ccdtasks.errors import CcdError, Unavailable
from ccdtasks.events import RunChanged, wait_for_bell

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 30.0
_GAP_S = 1.0
_STORE_PAUSES_S = (5.0, 600.0)
_FILE_PAUSES_S = (60.0, 3600.0)
"""Longer than the store's, so that those behind a file that the store dislikes have their turn."""
_OUTAGE_AFTER = 3
"""So many files refused in a row mean that the store is away, and not that it dislikes one file."""
_CHANGED = "The file changed on the disk before the store took it."
_FORGOTTEN_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Trouble:
    """How often something failed, and when it is tried again."""

    tries: int
    again_at_s: float

    def once_more(self, now_s: float, pauses: tuple[float, float]) -> _Trouble:
        """The trouble after one more failure. `pauses`: the first and the longest, in seconds."""
        pause_s = min(pauses[0] * 2**self.tries, pauses[1])
        return _Trouble(min(self.tries + 1, 20), now_s + pause_s * random.uniform(0.8, 1))  # noqa: S311  no secret


_NONE = _Trouble(0, float("-inf"))


class UploadLoop:
    """The queue of uploads. The rows say what waits; nothing here has to outlive the process."""

    def __init__(self, core: Core, keeper: Keeper) -> None:
        self._core = core
        self._keeper = keeper
        self._files: dict[UUID, _Trouble] = {}
        self._store = _NONE

    async def run(self) -> None:
        """Sends what waits until cancelled, soon after it came; a store that is away is asked less and less."""
        if self._keeper.spool is None:
            await asyncio.Event().wait()
        await self._sweep()
        with self._core.bus.bell(RunChanged) as bell:
            while True:
                try:
                    await self.send_waiting()
                except CcdError as error:
                    _log.warning("files wait for the store: %s", error.message)
                await asyncio.sleep(_GAP_S)
                await wait_for_bell(bell, _LOOK_EVERY_S)

    async def send_waiting(self) -> int:
        """Sends all that is due, and says how many. Raises what kept it when the store takes nothing."""
        spool, sent, refused, last = self._keeper.spool, 0, 0, None
        if spool is None or self._now_s() < self._store.again_at_s:
            return 0
        while rows := await self._core.artifacts.unstored(last):
            last = rows[-1]
            for artifact in rows:
                if self._now_s() < self._files.get(artifact.id, _NONE).again_at_s:
                    continue
                error = await self._tried(spool, artifact)
                sent, refused = (sent + 1, 0) if error is None else (sent, refused + 1)
                if error is not None and refused >= _OUTAGE_AFTER:
                    self._store = self._store.once_more(self._now_s(), _STORE_PAUSES_S)
                    raise error
                if error is None and self._store.tries:  # it is back, for all of them
                    self._store, self._files = _NONE, {}
        return sent

    async def _tried(self, spool: LocalStore, artifact: Artifact) -> CcdError | None:
        """Sends one file; gives what went wrong, which is noted for it."""
        try:
            await self._send(spool, artifact)
        except CcdError as error:
            self._files[artifact.id] = self._files.get(artifact.id, _NONE).once_more(self._now_s(), _FILE_PAUSES_S)
            _log.info("%s waits for the store: %s", artifact.location, error.message)
            return error
        self._files.pop(artifact.id, None)
        return None

    async def _send(self, spool: LocalStore, artifact: Artifact) -> None:
        location = artifact.location or ""
        try:
            with _opened(spool.path(location)) as descriptor:
                stored = await self._keeper.store.put(
                    location, descriptor, content_type=artifact.content_type, max_bytes=artifact.size_bytes
                )
        except FileNotFoundError:
            await self._core.artifacts.missing(artifact.id, "The file was lost before the store took it.")
            return
        except TooLarge:
            await self._core.artifacts.missing(artifact.id, _CHANGED)
            return
        except OSError as error:
            raise Unavailable("disk", f"{location} cannot be read from the spool: {error.strerror}.") from error
        if artifact.sha256 not in (None, stored.sha256):
            await self._core.artifacts.missing(artifact.id, _CHANGED)
            await self._keeper.store.delete(location)
            return
        await self._core.artifacts.stored(artifact.id, location)
        await spool.delete(location)

    async def _sweep(self) -> None:
        """Removes what nobody waits for: the copy of a file whose sending was done when the process was killed."""
        spool, waiting, last = self._keeper.spool, set(), None
        if spool is None:
            return
        try:
            while rows := await self._core.artifacts.unstored(last):
                last = rows[-1]
                waiting |= {artifact.location for artifact in rows}
            old = await spool.names((self._core.clock.now() - _FORGOTTEN_AFTER).timestamp())
            for location in set(old) - waiting:
                await spool.delete(location)
        except CcdError as error:
            _log.warning("the spool could not be swept: %s", error.message)

    def _now_s(self) -> float:
        return self._core.clock.monotonic_s()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
