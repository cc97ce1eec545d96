"""An engine in this process, over a real Podman; its sessions run the scripted guest instead of a desktop."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ccdtasks.app import open_core
from ccdtasks.config import ClaudeConfig, Config, LimitsConfig, PathsConfig, PodmanConfig
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.runs.runs import RunView
from ccdtasks.core.states import FINAL
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import Trigger
from ccdtasks.engine.assembly import open_parts
from ccdtasks.engine.dispatcher import Dispatcher
from ccdtasks.engine.parts import Parts, Patience
from ccdtasks.engine.reaper import Reaper
from ccdtasks.events import RunChanged, wait_for_bell
from ccdtasks.gateways.resolver import Resolve
from ccdtasks.times import Clock
from tests.doubles.podman import guest_image, podman_service
from tests.invariants import check_invariants

QUICK = Patience(launch_s=3, stop_s=1.5, over_s=0.5, silence_s=3, drain_s=5, busy_poll_s=0.02, idle_poll_s=0.05,
                 look_s=0.1, weigh_s=0.3)  # fmt: skip
PLANTED_KEY = "sk-ant-api03-planted-key-of-the-test"


@pytest.fixture(scope="session")
def podman_socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ccdt-") as folder, podman_service(Path(folder) / "p.sock") as socket:
        yield socket


@pytest.fixture(scope="session")
def image() -> str:
    return guest_image()


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A data folder with a path short enough for sockets below it."""
    folder = Path(tempfile.mkdtemp(prefix="ccdt-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Engine:
    """A running engine and the verbs of a user."""

    core: Core
    parts: Parts
    dispatcher: Dispatcher
    reaper: Reaper
    tasks: dict[str, str] = field(default_factory=dict)

    async def start(self, behaviour: str, config: dict[str, Any] | None = None, **values: str) -> UUID:
        """Starts a run that behaves so; its task is made on the way."""
        name = f"t-{len(self.tasks)}-{behaviour}"[:60]
        self.tasks[name] = behaviour
        holes = "".join(f" {{{value}}}" for value in values)
        retries = {"retries": {"attempts": 1}, **(config or {})}
        await self.core.tasks.create(SHELL, TaskDraft(name, f"behave: {behaviour}{holes}", config=retries))
        return (await self.core.runs.start(SHELL, name, values, Trigger.MANUAL)).run.id

    async def when(self, run_id: UUID, is_so: Callable[[RunView], bool], patience_s: float = 60) -> RunView:
        """The run, once something is so."""
        with self.core.bus.bell(RunChanged) as bell:
            async with asyncio.timeout(patience_s):
                while True:
                    view = await self.core.runs.load(run_id)
                    if is_so(view):
                        return view
                    await wait_for_bell(bell, 0.1)

    async def end(self, run_id: UUID) -> RunView:
        """The run in its final state, with everything of it removed."""

        def is_over(view: RunView) -> bool:
            return view.run.status in FINAL and (view.session is None or view.session.removed_at is not None)

        return await self.when(run_id, is_over)

    async def run(self, behaviour: str, config: dict[str, Any] | None = None, **values: str) -> RunView:
        """A run from start to end; at the end nothing is left of it but rows and artifacts."""
        view = await self.end(await self.start(behaviour, config, **values))
        await self.is_clean()
        return view

    async def is_clean(self) -> None:
        """Asserts that no container and no run folder is left."""
        assert await self.parts.podman.list(self.parts.instance_id) == []
        assert self.parts.folders.names() == []

    async def events(self, run_id: UUID) -> list[tuple[int, str, dict[str, Any]]]:
        rows = await self.core.runs.events(SHELL, run_id, limit=1000)
        return [(row.seq, row.type, row.data) for row in rows]


@pytest.fixture
def settings(short_dir: Path, podman_socket: Path, image: str) -> Config:
    return Config(
        claude=ClaudeConfig(api_key=PLANTED_KEY, base_url="http://127.0.0.1:9"),
        podman=PodmanConfig(socket=f"unix://{podman_socket}", image=image, memory_mib=512, pids=128),
        paths=PathsConfig(data_dir=short_dir),
        limits=LimitsConfig(starts_per_minute=10_000, run_folder_mib=32),
    )


@asynccontextmanager
async def running_engine(
    config: Config, patience: Patience = QUICK, resolve: Resolve | None = None, clock: Clock | None = None
) -> AsyncIterator[Engine]:
    """An engine; when it ends, whatever was done to it, every invariant holds."""
    async with open_core(config, clock) as core, open_parts(core, patience, resolve) as parts:
        dispatcher = Dispatcher(parts)
        engine = Engine(core, parts, dispatcher, Reaper(parts, dispatcher.holds))
        task = asyncio.create_task(dispatcher.run())
        try:
            yield engine
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await check_invariants(core, parts.podman, parts.folders)


@pytest.fixture
async def engine(settings: Config) -> AsyncIterator[Engine]:
    before = asyncio.all_tasks()
    async with running_engine(settings) as engine:
        yield engine
        for container in await engine.parts.podman.list(engine.parts.instance_id):
            await engine.parts.podman.remove(container.name)
    assert not asyncio.all_tasks() - before - {asyncio.current_task()}
