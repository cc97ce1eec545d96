"""The service is killed at every step of a run, and at random; the next one finishes what was begun, once."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select, text

from ccdtasks.adapters.podman import Podman
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.runs import RunView
from ccdtasks.db.enums import RunStatus
from ccdtasks.db.models import DiscordMessage, Session
from ccdtasks.engine.folder import RunFolders
from tests.doubles.podman import guest_image, podman_service
from tests.invariants import Seen, check_invariants, nothing_is_left
from tests.journeys.service import Instance, end, instance, start

pytestmark = [pytest.mark.image, pytest.mark.slow]

BEFORE_ANY_CONTAINER = (
    "Claims.claim_next:before",
    "Claims.claim_next:after",
    "RunFolders.create:before",
    "RunFolders.create:after",
    "Gates.open:after",
    "Podman.inspect:before",
    "Podman.create:before",
)
WITH_A_CONTAINER = (
    "Podman.create:after",
    "Claims.created:before",
    "Claims.created:after",
    "Podman.start:before",
    "Podman.start:after",
    "Claims.running:before",
    "Claims.running:after",
    "Claims.record:before",
    "Claims.record:after",
    "Claims.meter:before",
    "Claims.meter:after",
    "Claims.collecting:before",
    "Claims.collecting:after",
    "Keeper.keep_folder:before",
    "Keeper.keep_folder:after",
    "Claims.finish:before",
    "Claims.finish:after",
    "Podman.remove:before",
    "Podman.remove:after",
    "Claims.removed:before",
    "Claims.removed:after",
)


@pytest.fixture(scope="module")
def podman_socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ccdt-") as folder, podman_service(Path(folder) / "p.sock") as socket:
        yield socket


@pytest.fixture
def database_kind() -> str:
    """SQLite, unless a test says otherwise."""
    return "sqlite"


@pytest.fixture
def box(podman_socket: Path, database_kind: str, request: pytest.FixtureRequest) -> Iterator[Instance]:
    """An instance over a migrated database."""
    tables: dict[str, dict[str, object]] = {"limits": {"max_sessions": 4}}
    if database_kind == "postgres":
        tables["database"] = {"url": request.getfixturevalue("database_url")}
    with instance(podman_socket, guest_image(), tables) as made:
        (made.folder / "d").mkdir(mode=0o700)
        if database_kind == "sqlite":
            shutil.copy(request.getfixturevalue("sqlite_template"), made.folder / "d/ccdtasks.db")
        yield made


@asynccontextmanager
async def _checks(core: Core, box: Instance, podman_socket: Path) -> AsyncIterator[tuple[Podman, RunFolders]]:
    podman = Podman(str(podman_socket))
    yield podman, RunFolders(box.folder / "d/runs", 0, await core.facts.instance_id())
    await podman.close()


async def _holds(core: Core, box: Instance, podman_socket: Path, seen: Seen) -> None:
    """Every invariant, while no process lives that could still put something right."""
    (box.folder / "d/runs").mkdir(exist_ok=True)
    async with _checks(core, box, podman_socket) as (podman, folders):
        await check_invariants(core, podman, folders, seen)


async def _is_done(core: Core, box: Instance, podman_socket: Path) -> None:
    async with _checks(core, box, podman_socket) as (podman, folders):
        await nothing_is_left(core, podman, folders)


async def _sessions(core: Core, run_id: UUID) -> list[Session]:
    async with core.db.read() as session:
        return list(await session.scalars(select(Session).where(Session.run_id == run_id)))


async def _completed_once(core: Core, view: RunView) -> None:
    assert (view.run.status, view.run.attempt) == (RunStatus.COMPLETED, 1)
    events = await core.runs.events(SHELL, view.run.id, limit=1000)
    lines = [event.data["text"] for event in events if event.type == "progress"]
    assert lines == [f"line {number}" for number in range(1, 61)]
    assert {artifact.name for artifact in view.artifacts} >= {"final.png", "results.csv", "results.json"}
    async with core.db.read() as session:
        query = select(DiscordMessage.key).where(DiscordMessage.task_run_id == view.run.id)
        assert sorted(await session.scalars(query)) == ["card", "opening", "result"]
    with_container = [row for row in await _sessions(core, view.run.id) if row.container_id]
    assert len(with_container) == 1


async def _killed_at(box: Instance, podman_socket: Path, point: str) -> None:
    seen: Seen = {}
    async with box.core() as core:
        run_id = await start(core, "chore", "behave: takes-its-time")
        with box.forked(point) as process:
            await asyncio.to_thread(process.join, 60)
            assert process.exitcode == -signal.SIGKILL, box.log()
        await _holds(core, box, podman_socket, seen)
        with box.forked():
            view = await end(core, run_id)
        await _completed_once(core, view)
        if point in WITH_A_CONTAINER:
            assert len(await _sessions(core, run_id)) == 1
        await _holds(core, box, podman_socket, seen)
        await _is_done(core, box, podman_socket)


@pytest.mark.parametrize("point", [*BEFORE_ANY_CONTAINER, *WITH_A_CONTAINER])
async def test_killed_at_a_step(box: Instance, podman_socket: Path, point: str) -> None:
    await _killed_at(box, podman_socket, point)


@pytest.mark.postgres
@pytest.mark.parametrize("database_kind", ["postgres"])
@pytest.mark.parametrize("point", ["Claims.claim_next:after", "Podman.create:after", "Claims.finish:before"])
async def test_killed_at_a_step_with_postgres(box: Instance, podman_socket: Path, point: str) -> None:
    await _killed_at(box, podman_socket, point)


@pytest.mark.parametrize(
    ("seed", "database_kind"), [(1, "sqlite"), (2, "sqlite"), pytest.param(3, "postgres", marks=pytest.mark.postgres)]
)
async def test_killed_at_random(box: Instance, podman_socket: Path, seed: int) -> None:
    lot = random.Random(seed)
    seen: Seen = {}
    async with box.core() as core:
        runs = [await start(core, f"chore-{number}", "behave: takes-its-time") for number in range(10)]
        for _ in range(7):
            with box.forked() as process:
                await asyncio.to_thread(process.join, lot.uniform(0.1, 1.6))  # the moment of the kill
                assert process.exitcode is None, box.log()
                process.kill()
                process.join()
            await _holds(core, box, podman_socket, seen)
        with box.forked():
            views = [await end(core, run_id) for run_id in runs]
        for view in views:
            await _completed_once(core, view)
        assert len((await core.runs.page(SHELL, limit=100)).rows) == len(runs)
        await _holds(core, box, podman_socket, seen)
        await _is_done(core, box, podman_socket)
        if core.db.is_sqlite:
            async with core.db.read() as session:
                assert (await session.execute(text("PRAGMA integrity_check"))).scalar() == "ok"


async def test_sessions_go_on_while_the_service_is_ended_in_order(box: Instance, podman_socket: Path) -> None:
    async with box.core() as core:
        run_id = await start(core, "chore", "behave: takes-its-time")
        with box.serve() as process:
            await _until_running(core, run_id)
            process.terminate()
            assert await asyncio.to_thread(process.wait, 60) == 0, box.log()
        async with _checks(core, box, podman_socket) as (podman, _):
            assert len(await podman.list(await core.facts.instance_id())) == 1
        with box.serve():
            await _completed_once(core, await end(core, run_id))
        await _holds(core, box, podman_socket, {})
        await _is_done(core, box, podman_socket)


async def _until_running(core: Core, run_id: UUID) -> None:
    async with asyncio.timeout(60):
        while (await core.runs.load(run_id)).run.status is not RunStatus.RUNNING:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
