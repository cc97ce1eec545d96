"""Random graphs and random ends: each task runs at most once a chain, never too early, and every chain ends."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from ccdtasks.app import open_core
from ccdtasks.config import Config, DatabaseConfig, LimitsConfig, PathsConfig
from ccdtasks.core import Core
from ccdtasks.core.ending.chains import KEY
from ccdtasks.core.runs.claims import Claim
from ccdtasks.core.states import FINAL
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.db.models import DiscordMessage, Task, TaskDependency, TaskRun
from ccdtasks.errors import CcdError
from tests.clock import MoveableClock
from tests.conftest import postgres_database
from tests.core.chains import begin_next, finish
from tests.people import ANN
from tests.stories import make_task

SIZE = 6
EDGES = st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(0, SIZE - 1), st.booleans()), min_size=3, max_size=12)
ANYS = st.sets(st.integers(0, SIZE - 1))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("start"), st.integers(0, SIZE - 1)),
        st.tuples(st.just("begin"), st.just(0)),
        st.tuples(st.just("good"), st.integers(0, 3)),
        st.tuples(st.just("bad"), st.integers(0, 3)),
        st.tuples(st.just("lost"), st.integers(0, 3)),
        st.tuples(st.just("stop"), st.integers(0, SIZE - 1)),
        st.tuples(st.just("pause"), st.integers(0, SIZE - 1)),
        st.tuples(st.just("retry"), st.integers(0, 9)),
        st.tuples(st.just("unlink"), st.integers(0, 11)),
        st.tuples(st.just("link"), st.integers(0, SIZE * SIZE - 1)),
    ),
    max_size=30,
)


class Life:
    """A graph of tasks and what happens to it. `done`: runs that had completed when another one was let go."""

    def __init__(self, core: Core, clock: MoveableClock) -> None:
        self.core = core
        self.clock = clock
        self.going: list[Claim] = []

    async def make(self, edges: list[tuple[int, int, bool]], anys: set[int]) -> None:
        for number in range(SIZE):
            await make_task(self.core, f"t{number}", retries={"attempts": 2, "backoff_s": 1, "cap_s": 1})
        for task, upstream, required in edges:
            await self.link(task, upstream, required, "any" if task in anys else "all")

    async def link(self, task: int, upstream: int, required: bool = True, mode: Any = None) -> None:
        try:
            await self.core.dependencies.add(ANN, f"t{task}", f"t{upstream}", required=required, mode=mode)
        except CcdError:
            return  # a circle, or there already

    async def step(self, act: str, number: int) -> None:
        self.clock.advance(seconds=2)
        if act == "start":
            await self.core.runs.start(ANN, f"t{number}")
        elif act == "begin":
            await self.begin()
        elif act in ("good", "bad", "lost") and number < len(self.going):
            reason = {"good": None, "bad": Reason.BLOCKED, "lost": Reason.LOST}[act]
            await finish(self.core, self.going.pop(number), reason=reason)
        elif act == "link":
            await self.link(number // SIZE, number % SIZE)
        elif act == "unlink":
            await self.unlink(number)
        elif act == "pause":
            await self.pause(number)
        elif act == "stop":
            await self.stop(number)
        elif act == "retry":
            await self.retry(number)

    async def begin(self) -> bool:
        try:
            self.going.append(await begin_next(self.core))
        except AssertionError:
            return False
        return True

    async def unlink(self, number: int) -> None:
        rows = await self.rows(TaskDependency)
        if number < len(rows):
            names = {task.id: task.task_name for task in await self.rows(Task)}
            row = rows[number]
            await self.core.dependencies.remove(ANN, names[row.task_id], names[row.depends_on_task_id])

    async def pause(self, number: int) -> None:
        async with self.core.db.write() as session:
            task = await session.scalar(select(Task).where(Task.task_name == f"t{number}"))
            assert task
            task.paused = not task.paused

    async def stop(self, number: int) -> None:
        waiting = [run for run in await self.rows(TaskRun) if run.status is RunStatus.WAITING_DEPENDENCY]
        if waiting:
            await self.core.runs.stop(ANN, str(waiting[number % len(waiting)].id))

    async def retry(self, number: int) -> None:
        failed = [run for run in await self.rows(TaskRun) if run.status is RunStatus.FAILED]
        if failed:
            try:
                await self.core.attempts.retry(ANN, str(failed[number % len(failed)].id))
            except CcdError:
                return  # it is being tried already, or has come out well since

    async def rows(self, kind: Any) -> list[Any]:
        async with self.core.db.read() as session:
            return list(await session.scalars(select(kind).order_by(kind.created_at, kind.id)))

    async def check(self) -> None:
        runs = await self.rows(TaskRun)
        firsts = Counter((run.task_id, run.chain_id) for run in runs if run.chain_id and not run.retry_of)
        assert all(number == 1 for number in firsts.values())
        by_id = {str(run.id): run for run in runs}
        for run in runs:
            if run.status in (RunStatus.QUEUED, *FINAL) and run.upstream_runs:
                assert all(by_id[each].completed_at for each in run.upstream_runs.values())

    async def ran_too_early(self) -> list[str]:
        """Runs that were let go although a required upstream of theirs had not completed; for a graph that stays."""
        runs, tasks = await self.rows(TaskRun), {task.id: task for task in await self.rows(Task)}
        by_id, wrong = {str(run.id): run for run in runs}, []
        required = [row for row in await self.rows(TaskDependency) if row.required]
        for run in runs:
            if run.started_at is None or run.trigger != "dependency" or tasks[run.task_id].dependency_mode == "any":
                continue
            for row in required:
                name = tasks[row.depends_on_task_id].task_name
                if row.task_id == run.task_id:
                    before = by_id.get((run.upstream_runs or {}).get(name, ""))
                    if before is None or before.status is not RunStatus.COMPLETED:
                        wrong.append(f"{tasks[run.task_id].task_name} before {name}")
        return wrong

    async def finish_all(self) -> None:
        while True:
            self.clock.advance(seconds=60)
            if self.going:
                await finish(self.core, self.going.pop())
            elif not await self.begin():
                break
            await self.check()

    async def is_over(self) -> None:
        runs = await self.rows(TaskRun)
        assert [run.status for run in runs if run.status not in FINAL] == []
        told = Counter(row.key for row in await self.rows(DiscordMessage) if row.key.startswith(KEY))
        chains = {run.chain_id for run in runs if run.trigger == "dependency"}
        assert told == dict.fromkeys((f"{KEY}{each}" for each in chains), 1)


async def live(url: str, folder: Path, edges: Any, anys: Any, steps: Any) -> None:
    clock = MoveableClock()
    config = Config(
        database=DatabaseConfig(url=url),
        paths=PathsConfig(data_dir=folder),
        limits=LimitsConfig(starts_per_minute=1000),
    )
    async with open_core(config, clock) as core:
        life = Life(core, clock)
        await life.make(edges, anys)
        for act, number in steps:
            await life.step(act, number)
            await life.check()
        await life.finish_all()
        await life.is_over()
        if not any(act in ("link", "unlink") for act, _ in steps):
            assert await life.ran_too_early() == []


def search(examples: int) -> Any:
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=checks,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
    )


@pytest.mark.slow
@search(80)
@given(edges=EDGES, anys=ANYS, steps=STEPS)
def test_random_chains_on_sqlite(sqlite_template: Path, edges: Any, anys: Any, steps: Any) -> None:
    with tempfile.TemporaryDirectory(prefix="ccd-chains-") as folder:
        shutil.copy(sqlite_template, folder)
        url = f"sqlite+aiosqlite:///{folder}/{sqlite_template.name}"
        asyncio.run(live(url, Path(folder), edges, anys, steps))


@pytest.fixture
def postgres(postgres_folder: Path, postgres_template: str) -> tuple[Path, str]:
    return postgres_folder, postgres_template


@pytest.mark.slow
@pytest.mark.postgres
@search(20)
@given(edges=EDGES, anys=ANYS, steps=STEPS)
def test_random_chains_on_postgres(
    postgres: tuple[Path, str], tmp_path: Path, edges: Any, anys: Any, steps: Any
) -> None:
    with postgres_database(*postgres) as url:
        asyncio.run(live(url, tmp_path, edges, anys, steps))
