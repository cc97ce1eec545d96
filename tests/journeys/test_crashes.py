"""The service is killed at every step of a run, and at random; the next one finishes what was begun, once."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import tempfile
from collections.abc import Iterator
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
from tests.doubles.podman import guest_image, podman_service
from tests.journeys.service import Instance, end, instance, start

pytestmark = [pytest.mark.image, pytest.mark.slow]

BEFORE_ANY_CONTAINER = (
    "Claims.claim_next:after",
    "RunFolders.create:after",
    "Gates.open:after",
    "Podman.create:before",
)
WITH_A_CONTAINER = (
    "Podman.create:after",
    "Claims.created:after",
    "Podman.start:after",
    "Claims.running:after",
    "Claims.record:before",
    "Claims.record:after",
    "Claims.collecting:before",
    "Claims.collecting:after",
    "Keeper.keep_folder:after",
    "Claims.finish:before",
    "Claims.finish:after",
    "Podman.remove:after",
    "Claims.removed:before",
    "Claims.removed:after",
)


@pytest.fixture(scope="module")
def podman_socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ccdt-") as folder, podman_service(Path(folder) / "p.sock") as socket:
        yield socket


@pytest.fixture
def box(podman_socket: Path) -> Iterator[Instance]:
    with instance(podman_socket, guest_image(), {"limits": {"max_sessions": 4}}) as made:
        yield made


async def _sessions(core: Core, run_id: UUID) -> list[Session]:
    async with core.db.read() as session:
        return list(await session.scalars(select(Session).where(Session.run_id == run_id)))


async def _nothing_is_left(core: Core, box: Instance, podman_socket: Path) -> None:
    podman = Podman(str(podman_socket))
    assert await podman.list(await core.facts.instance_id()) == []
    await podman.close()
    assert list((box.folder / "d/runs").iterdir()) == []


async def _completed_once(core: Core, view: RunView) -> None:
    assert (view.run.status, view.run.attempt) == (RunStatus.COMPLETED, 1)
    events = await core.runs.events(SHELL, view.run.id, limit=1000)
    assert [event.seq for event in events if event.seq > 0] == list(range(1, len(events) + 1))
    lines = [event.data["text"] for event in events if event.type == "progress"]
    assert lines == [f"line {number}" for number in range(1, 61)]
    assert {artifact.name for artifact in view.artifacts} >= {"final.png", "results.csv", "results.json"}
    async with core.db.read() as session:
        query = select(DiscordMessage.key).where(DiscordMessage.task_run_id == view.run.id)
        assert sorted(await session.scalars(query)) == ["card", "opening", "result"]
    with_container = [row for row in await _sessions(core, view.run.id) if row.container_id]
    assert len(with_container) == 1


@pytest.mark.parametrize("point", [*BEFORE_ANY_CONTAINER, *WITH_A_CONTAINER])
async def test_killed_at_a_step(box: Instance, podman_socket: Path, point: str) -> None:
    async with box.core() as core:
        run_id = await start(core, "chore", "behave: takes-its-time")
        with box.serve(*box.crashing(point)) as process:
            assert await asyncio.to_thread(process.wait, 60) == -signal.SIGKILL, box.log()
        with box.serve(*box.crashing()):
            view = await end(core, run_id)
        await _completed_once(core, view)
        if point in WITH_A_CONTAINER:
            assert len(await _sessions(core, run_id)) == 1
        await _nothing_is_left(core, box, podman_socket)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_killed_at_random(box: Instance, podman_socket: Path, seed: int) -> None:
    lot = random.Random(seed)
    async with box.core() as core:
        runs = [await start(core, f"chore-{number}", "behave: takes-its-time") for number in range(10)]
        for _ in range(7):
            with box.serve(*box.crashing()) as process:
                with pytest.raises(subprocess.TimeoutExpired):  # the moment of the kill, not a wait for something
                    await asyncio.to_thread(process.wait, lot.uniform(0.9, 2.5))
                process.kill()
        with box.serve(*box.crashing()):
            views = [await end(core, run_id) for run_id in runs]
        for view in views:
            await _completed_once(core, view)
        assert len((await core.runs.page(SHELL, limit=100)).rows) == len(runs)
        await _nothing_is_left(core, box, podman_socket)
        async with core.db.read() as session:
            assert (await session.execute(text("PRAGMA integrity_check"))).scalar() == "ok"


async def test_sessions_go_on_while_the_service_is_ended_in_order(box: Instance, podman_socket: Path) -> None:
    async with box.core() as core:
        run_id = await start(core, "chore", "behave: takes-its-time")
        with box.serve() as process:
            await _until_running(core, run_id)
            process.terminate()
            assert await asyncio.to_thread(process.wait, 60) == 0, box.log()
        podman = Podman(str(podman_socket))
        assert len(await podman.list(await core.facts.instance_id())) == 1
        await podman.close()
        with box.serve():
            await _completed_once(core, await end(core, run_id))


async def _until_running(core: Core, run_id: UUID) -> None:
    async with asyncio.timeout(60):
        while (await core.runs.load(run_id)).run.status is not RunStatus.RUNNING:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
