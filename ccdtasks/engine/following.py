"""Follows a session while it lives: its log, its container, and what people and limits ask of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from ccdtasks.adapters.containers import ContainerState
from ccdtasks.core.runs.claims import Claim, Wish
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.engine.control import SessionControl
from ccdtasks.engine.gates import Gates
from ccdtasks.engine.guest import GuestFolder, Trap
from ccdtasks.engine.outcome import Cause
from ccdtasks.engine.parts import Parts, stubbornly
from ccdtasks.engine.tail import Batch, EventTail
from ccdtasks.engine.telling import Teller
from ccdtasks.errors import Unavailable
from ccdtasks.times import duration_text, size_text

_log = logging.getLogger(__name__)

_SILENCE_PAUSE_MAX_S = 10.0
_DEAD_LOOKS = 2
_REMOVAL_S = 0.5
_LAST_LINES = 1000
_STOPPED = Cause(None)


class Follower:
    """Stays with one session until its container has ended. `timeout_s`: the run's time limit, for its words only."""

    def __init__(self, parts: Parts, claim: Claim, guest: GuestFolder, gates: Gates, timeout_s: float) -> None:
        self._parts = parts
        self._claim = claim
        self._guest = guest
        self._gates = gates
        self._timeout_s = timeout_s
        self._tail = EventTail(guest, claim.events_offset)
        self._control = SessionControl(guest)
        self._ended = asyncio.Event()
        self._last_word_at: float | None = None
        self._deadline: tuple[object, float] = (None, 0.0)
        self._asked_at: float | None = None
        self._weighed_at = 0.0
        self._silent_since: float | None = None
        self._looks_at_dead = 0
        self._looks_at_end = 0
        self.cause: Cause | None = None
        self.oom_kills = 0
        self.state: ContainerState | None = None

    async def follow(self) -> None:
        """Returns when the container has ended and its log is stored. Raises Lost when the run is another claim's."""
        obeying = asyncio.create_task(self._obey(), name="obey")
        reading = asyncio.create_task(self._read_log(), name="read-log")
        telling = asyncio.create_task(Teller(self._parts, self._claim, self._control).run(self._ended), name="tell")
        watching = asyncio.create_task(self._watch(), name="watch")
        tasks = (watching, reading, obeying, telling)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if watching.done() and not watching.cancelled() and watching.exception() is None:
                self._ended.set()
                await asyncio.wait({obeying, reading, telling})  # not cancelled: each may be in the middle of a write
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # -- the log

    async def _read_log(self) -> None:
        patience = self._parts.patience
        while not self._ended.is_set():
            batch, is_over = await self._parts.offload(self._look)
            await self._store(batch)
            if is_over and self._last_word_at is None:
                self._last_word_at = time.monotonic()
            await self._pause(patience.busy_poll_s if batch.lines or batch.has_more else patience.idle_poll_s)
        await self._drain()

    def _look(self) -> tuple[Batch, bool]:
        return self._tail.read(), self._guest.exists("exit.json")

    async def _pause(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._ended.wait()
        except TimeoutError:
            pass

    async def _drain(self) -> None:
        """Stores what the session wrote at its end; a log that never ends is left at the time limit."""
        give_up_at = time.monotonic() + self._parts.patience.drain_s
        while True:
            batch = await self._parts.offload(self._tail.read, _LAST_LINES)
            await self._store(batch)
            if not batch.has_more:
                return
            if time.monotonic() > give_up_at:
                _log.warning("run %s: its log is longer than can be read", self._claim.run_id)
                return

    async def _store(self, batch: Batch) -> None:
        claims = self._parts.core.claims
        if batch.lines:
            await stubbornly(lambda: claims.record(self._claim, batch.lines, batch.offset))
        for text in batch.warnings:
            await self._note("warning", text)

    async def _note(self, kind: str, text: str) -> None:
        await stubbornly(lambda: self._parts.core.claims.note(self._claim, kind, {"text": text}))

    # -- the container

    async def _watch(self) -> None:
        """Returns when the container has ended, is gone, or hides too long behind a silent Podman."""
        while True:
            if await self._is_over():
                return
            await asyncio.sleep(self._pause_between_looks_s())

    async def _is_over(self) -> bool:
        try:
            state = await self._parts.podman.inspect(self._claim.container_name)
        except Unavailable as error:
            await self._podman_is_silent(error)
            return self._is_given_up()
        self.state, self._silent_since = state, None
        if state is None:
            return True
        if not state.running:
            self._looks_at_end += 1
            return not self._may_be_removed(state)
        self.oom_kills = max(self.oom_kills, state.oom_kills or 0)
        self._looks_at_dead = self._looks_at_dead + 1 if state.pid_alive is False else 0
        return self._looks_at_dead >= _DEAD_LOOKS  # conmon was killed: Podman says "running" for ever

    def _pause_between_looks_s(self) -> float:
        if self._silent_since is not None:
            return min(_SILENCE_PAUSE_MAX_S, max(1.0, time.monotonic() - self._silent_since))
        if self._looks_at_end:
            return _REMOVAL_S
        is_ending = self._last_word_at is not None or self._asked_at is not None or self._looks_at_dead
        return min(0.1, self._parts.patience.look_s) if is_ending else self._parts.patience.look_s

    def _may_be_removed(self, state: ContainerState) -> bool:
        """Whether a container that was killed, not by us, may be on its way out: one more look tells it from an OOM."""
        was_killed = state.exit_code == 137 and self.cause is None and not self.oom_kills
        return was_killed and self._looks_at_end == 1

    async def _podman_is_silent(self, error: Unavailable) -> None:
        if self._silent_since is None:
            self._silent_since = time.monotonic()
            _log.warning("run %s: its container's state is unknown: %s", self._claim.run_id, error.message)
            await self._note("warning", f"{error.message} The run goes on as far as it can.")

    def _is_given_up(self) -> bool:
        """The run must end, and Podman does not even say whether the container still lives."""
        if self._asked_at is None:
            return False
        patience = self._parts.patience
        return time.monotonic() > self._asked_at + patience.stop_s + patience.silence_s

    # -- what is asked of the run

    async def _obey(self) -> None:
        patience, claims = self._parts.patience, self._parts.core.claims
        while not self._ended.is_set():
            wish = await stubbornly(lambda: claims.look(self._claim))
            if self.cause is None:
                self.cause = await self._find_cause(wish)
            await self._gates.report()
            if self.cause is not None:
                await self._push_out(at_once=wish.force)
            elif self._last_word_at is not None and time.monotonic() > self._last_word_at + patience.stop_s:
                await self._tell_podman(self._parts.podman.kill)  # it has said its last word and does not go
            await self._pause(min(0.1, patience.look_s) if self.cause else patience.look_s)

    async def _find_cause(self, wish: Wish) -> Cause | None:
        if wish.stop:
            return _STOPPED
        if self._is_over_time(wish):
            if wish.status is RunStatus.NEEDS_HUMAN:
                return Cause(Reason.TIMEOUT, "Nobody came to help in time.")
            return Cause(Reason.TIMEOUT, f"The run was not done within {duration_text(self._timeout_s)}.")
        if time.monotonic() > self._weighed_at + self._parts.patience.weigh_s:
            self._weighed_at = time.monotonic()
            return await self._weigh()
        return None

    def _is_over_time(self, wish: Wish) -> bool:
        """By the monotonic clock, so that a clock that is set ends no run; by the wall clock once per deadline."""
        if wish.deadline_at is None:
            return False
        if self._deadline[0] != wish.deadline_at:
            left_s = (wish.deadline_at - self._parts.core.clock.now()).total_seconds()
            self._deadline = (wish.deadline_at, time.monotonic() + left_s)
        return time.monotonic() > self._deadline[1] + self._parts.patience.over_s

    async def _weigh(self) -> Cause | None:
        """The byte watchdog: a bind mount has no quota, and a guest could fill the host's disk."""
        limit_bytes = self._parts.core.config.limits.run_folder_mib << 20
        try:
            if await self._parts.offload(self._guest.used_bytes) <= limit_bytes:
                return None
            words = f"The run wrote more than {size_text(limit_bytes)} into its folder, so it was ended."
        except Trap as trap:
            words = f"The run filled its folder, so it was ended: {trap}."
        return Cause(Reason.DISK_FULL, words)

    async def _push_out(self, *, at_once: bool) -> None:
        """Ends the session in steps: asked, then killed. Called again and again until the container is gone."""
        now = time.monotonic()
        podman, patience = self._parts.podman, self._parts.patience
        is_flood = self.cause is not None and self.cause.reason is Reason.DISK_FULL
        if self._asked_at is None:
            self._asked_at = now
            if not (at_once or is_flood):
                if not await self._tell_podman(podman.stop):
                    await self._tell_session()
                return
        if at_once or is_flood or now > self._asked_at + patience.stop_s:
            self._gates.revoke()
            await self._tell_podman(podman.kill)

    async def _tell_podman(self, act: Callable[[str], Awaitable[None]]) -> bool:
        try:
            await act(self._claim.container_name)
        except Unavailable:
            return False
        return True

    async def _tell_session(self) -> None:
        """Podman is silent, but the session itself may listen."""
        try:
            await self._control.stop("ccdtasks")
        except Unavailable as error:
            _log.info("run %s: %s", self._claim.run_id, error.message)
