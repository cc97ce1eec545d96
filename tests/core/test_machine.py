"""Random lives of runs: whatever happens in whatever order, the invariants of docs/invariants.md hold."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from ccdtasks.app import open_core
from ccdtasks.config import Config, LimitsConfig, PathsConfig
from ccdtasks.core import Core
from ccdtasks.core.claims import Claim
from ccdtasks.core.endings import Outcome
from ccdtasks.core.moves import Lost
from ccdtasks.core.states import ACTIVE, FINAL, MOVES
from ccdtasks.db.enums import Effect, Reason, RunStatus
from ccdtasks.db.models import DiscordMessage, RunEvent, Session, Task, TaskRun
from ccdtasks.errors import Conflict
from tests.clock import MoveableClock
from tests.people import ANN, BOB
from tests.stories import BOOT, RESULT, completed, lines, make_task

LIMIT = 3
TASKS = {"reads": (ANN, {}), "acts": (ANN, {"effect": "acts"}), "bobs": (BOB, {})}
CLAIMS = st.integers(0, 7)


class Lives(RuleBasedStateMachine):
    """Acts of people and of engines, some of which still hold claims that others have taken over."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="ccd-lives-"))
        shutil.copy(self.template, self.folder / "ccdtasks.db")
        self.clock = MoveableClock()
        self.claims: list[Claim] = []
        self.seen: dict[Any, RunStatus] = {}
        limits = LimitsConfig(starts_per_minute=1000)
        self.opened = open_core(Config(paths=PathsConfig(data_dir=self.folder), limits=limits), self.clock)
        self.core: Core = self.do(self.opened.__aenter__())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def guarded(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return self.do(work)
        except Lost:
            return None

    def teardown(self) -> None:
        self.do(self.opened.__aexit__(None, None, None))
        self.loop.close()
        shutil.rmtree(self.folder)

    @initialize()
    def make_tasks(self) -> None:
        for name, (actor, config) in TASKS.items():
            self.do(make_task(self.core, name, actor=actor, **config))

    @rule(name=st.sampled_from(sorted(TASKS)))
    def start(self, name: str) -> None:
        self.do(self.core.runs.start(TASKS[name][0], name))

    @rule(name=st.sampled_from(sorted(TASKS)), force=st.booleans())
    def stop(self, name: str, force: bool) -> None:
        with suppress(Conflict):
            self.do(self.core.runs.stop(TASKS[name][0], name, force))

    @rule()
    def claim(self) -> None:
        claimed = self.do(self.core.claims.claim_next(self.clock.now(), BOOT, LIMIT))
        if claimed:
            self.claims.append(claimed)

    @rule(minutes=st.sampled_from([1, 61]))
    def wait(self, minutes: int) -> None:
        self.clock.advance(minutes=minutes)

    def pick(self, number: int) -> Claim | None:
        """Recent claims and old ones."""
        return self.claims[-1 - number] if number < len(self.claims) else None

    @rule(number=CLAIMS)
    def come_up(self, number: int) -> None:
        if claimed := self.pick(number):
            self.guarded(self.core.claims.created(claimed, "c"))
            self.guarded(self.core.claims.running(claimed))

    @rule(number=CLAIMS, kind=st.sampled_from(["progress", "result", "human_needed", "human_done"]))
    def write(self, number: int, kind: str) -> None:
        if claimed := self.pick(number):
            event = {"type": kind, "request_id": "r", **(RESULT if kind == "result" else {})}
            read = self.guarded(self.core.claims.look(claimed))
            if read:
                known = next(each for each in self.do(self.core.claims.open()) if each.session_id == claimed.session_id)
                self.guarded(self.core.claims.record(claimed, lines(event, first=known.events_seq + 1), 1))

    @rule(number=CLAIMS)
    def collect(self, number: int) -> None:
        if claimed := self.pick(number):
            self.guarded(self.core.claims.collecting(claimed))

    @rule(number=CLAIMS, good=st.booleans(), reason=st.sampled_from([Reason.LOST, Reason.BLOCKED]))
    def finish(self, number: int, good: bool, reason: Reason) -> None:
        if claimed := self.pick(number):
            outcome = completed() if good else Outcome(RunStatus.FAILED, reason)
            self.guarded(self.core.claims.finish(claimed, outcome))

    @rule(number=CLAIMS)
    def put_off(self, number: int) -> None:
        if claimed := self.pick(number):
            self.guarded(self.core.claims.requeue(claimed, self.clock.now(), Reason.MODEL_UNAVAILABLE))

    @rule()
    def restart(self) -> None:
        """The engine adopts what lives and removes what does not."""
        for claimed in self.do(self.core.claims.open()):
            if not claimed.is_live:
                self.do(self.core.claims.removed(claimed))

    @invariant()
    def what_always_holds(self) -> None:
        if hasattr(self, "core"):
            self.do(self.check())

    async def check(self) -> None:
        async with self.core.db.read() as session:
            runs = (await session.scalars(select(TaskRun))).all()
            sessions = (await session.scalars(select(Session))).all()
            tasks = {task.id: task for task in await session.scalars(select(Task))}
            messages = (await session.scalars(select(DiscordMessage))).all()
            events = (await session.scalars(select(RunEvent).order_by(RunEvent.session_id, RunEvent.seq))).all()
        by_id = {run.id: run for run in runs}
        containers = [each for each in sessions if each.removed_at is None]
        told = Counter(message.task_run_id for message in messages if message.key == "result")

        assert len(containers) <= LIMIT
        chains = Counter(by_id[each.run_id].retry_of or each.run_id for each in containers)
        assert all(number == 1 for number in chains.values())  # nothing runs twice
        for run in runs:
            before = self.seen.get(run.id, run.status)
            assert run.status is before or _reachable(before, run.status), f"{before} -> {run.status}"
            assert (run.status in FINAL) == (run.completed_at is not None)
            assert told[run.id] == (run.status in FINAL)  # told once, and only when it ended
            assert (run.reason is not None) == (run.status is RunStatus.FAILED)
            assert run.required_intervention == (run.status is RunStatus.NEEDS_HUMAN)
            assert run.status is not RunStatus.COMPLETED or run.result_data
            current = [each for each in containers if each.run_id == run.id and each.epoch == run.epoch]
            assert run.status not in ACTIVE or len(current) == 1
            retries = [
                each for each in runs if each.retry_of == (run.retry_of or run.id) and each.attempt == run.attempt + 1
            ]
            assert len(retries) <= 1
            if retries:
                assert run.status is RunStatus.FAILED
                assert not (tasks[run.task_id].effect is Effect.ACTS and run.started_at)
            assert run.attempt <= 3
            self.seen[run.id] = run.status
        for task in tasks.values():
            mine = [run for run in runs if run.task_id == task.id]
            assert task.success_count == sum(run.status is RunStatus.COMPLETED for run in mine)
            assert task.failure_count == sum(run.status is RunStatus.FAILED for run in mine)
        numbers: dict[Any, list[int]] = {}
        for event in events:
            numbers.setdefault(event.session_id, []).append(event.seq)
        assert all(seen == list(range(1, len(seen) + 1)) for seen in numbers.values())


def _reachable(before: RunStatus, after: RunStatus) -> bool:
    """In one or more legal moves."""
    reached, border = {before}, {before}
    while border:
        border = {target for status in border for target in MOVES[status]} - reached
        reached |= border
    return after in reached


@pytest.mark.slow
def test_random_lives_keep_the_invariants(sqlite_template: Path) -> None:
    Lives.template = sqlite_template
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    run_state_machine_as_test(
        Lives, settings=settings(max_examples=25, stateful_step_count=35, deadline=None, suppress_health_check=checks)
    )
