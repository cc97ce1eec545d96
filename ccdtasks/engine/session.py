"""One run, from claim to final state: launched or adopted, followed, collected, ended, cleaned up."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import replace
from uuid import uuid4

from ccdtasks.adapters.containers import Bind, ContainerSpec, ContainerState
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.records.moves import Lost
from ccdtasks.core.records.reasons import WORDS_OF_LIMIT
from ccdtasks.core.runs.claims import Claim
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.engine.collecting import collect, read_last_word
from ccdtasks.engine.folder import RunFolder
from ccdtasks.engine.following import Follower
from ccdtasks.engine.gates import Gates
from ccdtasks.engine.inputs import place_inputs
from ccdtasks.engine.job import Brief, make_brief, read_dummy
from ccdtasks.engine.outcome import End, Verdict, judge
from ccdtasks.engine.parts import Parts, stubbornly
from ccdtasks.errors import CcdError, Conflict, Invalid, Unavailable

_log = logging.getLogger(__name__)

_INSIDE = "/run/ccdtasks"
_BACKOFF_CAP_S = 10.0
_REASONS = {"disk": Reason.DISK_FULL, "image": Reason.IMAGE_MISSING, "inputs": Reason.DEPENDENCY_FAILED}


class _NeverBegan(Exception):
    """The claim is from an earlier life of this process, and nothing was made of it: it is put back."""


class _CannotStart(Exception):
    """The session cannot be started; the reason and the words are the run's end."""

    def __init__(self, reason: Reason, words: str) -> None:
        super().__init__(words)
        self.reason = reason


class RunSession:
    """The life of one claim in this process. `open` first, so that after a restart all sockets are back at once."""

    def __init__(self, parts: Parts, claim: Claim) -> None:
        self._parts = parts
        self.claim = claim
        self._folder: RunFolder = parts.folders.folder(claim.folder)
        self._gates = Gates(parts, claim)
        self._brief: Brief | None = None
        self._obstacle: _CannotStart | _NeverBegan | None = None

    async def open(self) -> None:
        """Makes the folder and opens the sockets. What stands in the way is told by `run`, not here."""
        claim = self.claim
        try:
            view = await stubbornly(lambda: self._parts.core.runs.load(claim.run_id))
            dummy_hash = view.session.dummy_hash if view.session else None
            dummy = claim.dummy or await self._parts.offload(read_dummy, self._folder.host, dummy_hash)
            if dummy is None:
                raise _NeverBegan
            purses = await stubbornly(lambda: self._parts.purses.of(claim.run_id))
            self._brief = make_brief(view, claim, self._parts.core.config, dummy, purses)
            if claim.container_id is None:
                await self._make_folder(self._brief)
            await self._gates.open(self._folder, self._brief)
        except _NeverBegan as obstacle:
            self._obstacle = obstacle
        except CcdError as error:
            self._obstacle = _CannotStart(reason_of(error), str(error))

    async def _make_folder(self, brief: Brief) -> None:
        """The folder, what other tasks left for the run, then the job again, which tells of it."""
        create, name = self._parts.folders.create, self.claim.folder
        folder = await self._parts.offload(create, name, brief.job())
        given = await place_inputs(self._parts, self.claim, folder.host / "inputs")
        self._brief = replace(brief, given=given)
        await self._parts.offload(create, name, self._brief.job())

    async def run(self) -> None:
        """Brings the run to its final state and removes what it leaves. Cancelled, it lets the container live on."""
        claim = self.claim
        try:
            await self._live()
        except Lost as lost:
            _log.info("run %s: %s; its container goes", claim.run_id, lost)
        except asyncio.CancelledError:
            await self._gates.close()
            raise
        except Exception:
            await self._fail_oddly()
        await self._gates.close()
        try:
            await self.clean_up()
        except Exception:
            _log.exception("run %s: its remains resist; the reaper tries again", claim.run_id)

    async def clean_up(self) -> None:
        """Removes container and folder and notes it; what does not go now is tried again by the reaper."""
        claim = self.claim
        if await self._parts.cleaner.remove(claim.container_name, claim.folder):
            await stubbornly(lambda: self._parts.core.claims.removed(claim))

    async def _live(self) -> None:
        """The path from wherever the claim stands to the run's final state."""
        try:
            if isinstance(self._obstacle, _NeverBegan):
                await self._put_back()
                return
            if self._obstacle is not None:
                raise self._obstacle
            if self.claim.status is RunStatus.STARTING:
                await self._launch()
        except _CannotStart as obstacle:
            await self._end(Outcome(RunStatus.FAILED, obstacle.reason, str(obstacle)))
        else:
            await self._follow_and_collect()

    # -- launch

    async def _launch(self) -> None:
        """Creates and starts the container, unless an earlier life of this process did; then the run is running."""
        claims, claim = self._parts.core.claims, self.claim
        give_up_at = time.monotonic() + self._parts.patience.launch_s
        backoff_s = 0.5
        while True:
            try:
                await self._create_and_start()
                break
            except Conflict as error:
                raise _CannotStart(Reason.ENGINE_UNAVAILABLE, str(error)) from error
            except Unavailable as error:
                wish = await claims.look(claim)
                if error.part != "podman" or wish.stop or time.monotonic() + backoff_s > give_up_at:
                    raise _CannotStart(reason_of(error), str(error)) from error
                _log.warning("run %s: %s It is tried again.", claim.run_id, error.message)
            await asyncio.sleep(backoff_s)
            backoff_s = min(_BACKOFF_CAP_S, backoff_s * 2)
        await stubbornly(lambda: claims.running(claim))

    async def _create_and_start(self) -> None:
        podman, claim = self._parts.podman, self.claim
        state = await podman.inspect(claim.container_name)
        if state is None:
            if claim.container_id is not None:
                raise _CannotStart(Reason.LOST, "The container of the run is gone; somebody may have removed it.")
            container_id = await podman.create(self._spec())
            await stubbornly(lambda: self._parts.core.claims.created(claim, container_id))
        elif claim.container_id is None:
            self._check_labels(state)
            found = state
            await stubbornly(lambda: self._parts.core.claims.created(claim, found.container_id))
        if state is None or (not state.running and state.started_at is None):
            await podman.start(claim.container_name)

    def _check_labels(self, state: ContainerState) -> None:
        wanted = self._labels()
        if any(state.labels.get(name) != value for name, value in wanted.items()):
            raise Conflict(f"The container name {state.name} is taken by another container.")

    def _labels(self) -> dict[str, str]:
        claim = self.claim
        return {
            "ccdtasks.instance": self._parts.instance_id,
            "ccdtasks.run": str(claim.run_id),
            "ccdtasks.session": str(claim.session_id),
            "ccdtasks.attempt": str(claim.attempt),
            "ccdtasks.epoch": str(claim.epoch),
        }

    def _spec(self) -> ContainerSpec:
        podman = self._parts.core.config.podman
        return ContainerSpec(
            name=self.claim.container_name,
            image=podman.image,
            labels=self._labels(),
            memory_mib=podman.memory_mib,
            cpus=podman.cpus,
            pids=podman.pids,
            seccomp_profile=self._parts.seccomp_profile,
            binds=(
                Bind(self._folder.host, f"{_INSIDE}/host", read_only=True),
                Bind(self._folder.guest.path, f"{_INSIDE}/guest", read_only=False),
            ),
        )

    async def _put_back(self) -> None:
        """An earlier life of this process claimed the run and died before it made anything: no attempt is used up."""
        if self.claim.status is not RunStatus.STARTING or self.claim.container_id is not None:
            raise _CannotStart(Reason.LOST, "The folder of the run is gone; somebody may have removed it.")
        now = self._parts.core.clock.now()
        if not await stubbornly(lambda: self._parts.core.claims.requeue(self.claim, now, Reason.INTERRUPTED)):
            await self._end(Outcome(RunStatus.FAILED, Reason.INTERRUPTED))

    # -- follow and collect

    async def _follow_and_collect(self) -> None:
        assert self._brief is not None  # noqa: S101  there is no obstacle
        follower = Follower(self._parts, self.claim, self._folder.guest, self._gates, self._brief.timeout_s)
        await follower.follow()
        self._gates.revoke()
        await self._gates.report_last()
        word = await read_last_word(self._parts, self._folder)
        end = End(
            state=follower.state,
            last_word=word,
            cause=follower.cause,
            oom_kills=follower.oom_kills,
            memory_mib=self._parts.core.config.podman.memory_mib,
            is_rebooted=self.claim.boot_id not in (None, self._parts.boot_id),
            model=self._gates.model_said(),
        )
        verdict = judge(end, self._parts.core.clock.now())
        await self._collecting()
        if await self._is_put_off(verdict):  # nothing of it is kept: it begins anew
            return
        if verdict.not_before is not None:
            verdict = replace(verdict, status=RunStatus.FAILED, words=WORDS_OF_LIMIT, not_before=None)
        outcome = await collect(self._parts, self._brief, self._folder, verdict, word)
        if end.state:
            outcome = replace(outcome, exit_code=end.state.exit_code, ended_at=end.state.finished_at)
        await self._end(outcome)

    async def _collecting(self) -> None:
        claims, claim = self._parts.core.claims, self.claim
        if (await claims.look(claim)).status is not RunStatus.COLLECTING:  # a restart finds it collecting already
            await stubbornly(lambda: claims.collecting(claim))

    async def _is_put_off(self, verdict: Verdict) -> bool:
        """Whether the run waits for the end of Claude's limit; one that must not be repeated ends instead."""
        claims, claim, not_before = self._parts.core.claims, self.claim, verdict.not_before
        if not_before is None:
            return False
        reason = verdict.reason or Reason.MODEL_UNAVAILABLE
        return await stubbornly(lambda: claims.requeue(claim, not_before, reason, holds_all=True))

    async def _end(self, outcome: Outcome) -> None:
        claim = self.claim
        ended = await stubbornly(lambda: self._parts.core.claims.finish(claim, outcome))
        _log.info("run %s: %s %s", claim.run_id, ended.status, ended.reason or "")

    async def _fail_oddly(self) -> None:
        """A mistake of ours ends one run, not the process; people see an incident's number, the log the rest."""
        incident = uuid4().hex[:8]
        _log.exception("incident %s: run %s", incident, self.claim.run_id)
        words = f"Something unexpected happened in ccdtasks (incident {incident}); its log says more."
        with suppress(Lost):
            await self._end(Outcome(RunStatus.FAILED, Reason.INTERRUPTED, words))


def reason_of(error: CcdError) -> Reason:
    """Which reason a run has that could not be started because of `error`."""
    if isinstance(error, Invalid):
        return Reason.DEPENDENCY_FAILED  # a file of another task's run, which a value names, is gone
    part = error.part if isinstance(error, Unavailable) else ""
    return _REASONS.get(part, Reason.ENGINE_UNAVAILABLE)
