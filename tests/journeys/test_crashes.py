"""The service is killed at every step of a run, and at random; the next one finishes what was begun, once."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select, text

from ccdtasks.adapters.podman import Podman
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.ending.interventions import Answer
from ccdtasks.core.facts import MODEL_AUTH
from ccdtasks.core.runs.runs import RunView
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import ArtifactKind, Reason, RunStatus, Trigger
from ccdtasks.db.models import DiscordMessage, Session
from ccdtasks.demo.shop import served
from ccdtasks.engine.folder import RunFolders
from tests.doubles.messages_api import MessagesApi, Refuse
from tests.doubles.podman import guest_image, podman_service
from tests.invariants import Seen, check_invariants, nothing_is_left
from tests.journeys.service import Instance, end, instance, start, when

pytestmark = [pytest.mark.image, pytest.mark.slow]

BEFORE_ANY_CONTAINER = (
    "Claims.claim_next:before",
    "Claims.claim_next:after",
    "RunFolders.create:before",
    "RunFolders.create:after",
    "Gates.open:after",
    "Podman.list:before",
    "Podman.list:after",
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
OF_SOME_RUNS = {
    "stops": [f"Podman.{act}:{moment}" for act in ("stop", "kill") for moment in ("before", "after")],
    "long results": ["Claims.take_result:before", "Claims.take_result:after"],
    "charts": ["Charting.drawn:before", "Charting.drawn:after"],
    "answers": ["Interventions.told:before", "Interventions.told:after"],
    "limits": ["Claims.requeue:before", "Claims.requeue:after"],
    "refusals": ["Claims.note:before", "Claims.note:after"],
    "times": ["Firing.fire_due:after"],
    "deaths": ["Podman.logs:before", "Podman.logs:after"],
}
_INTRUDER = "behave: tries-to-get-out {targets}"
TRIED_ELSEWHERE = {
    "Facts.instance_id": "the first act of an empty database; names nothing yet",
    "Podman.close": "ends no container, and the last thing that a process does",
    "Facts.release": "test_the_queue_says_that_memory_is_short",
    "Queue.tell_places": "test_cards_are_told_their_place_only_when_it_changed",
}
"""Commits of the service beside a run: the test, or why nothing can be lost."""


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


async def _again(core: Core, box: Instance, podman_socket: Path, run_id: UUID) -> RunView:
    """What the service that was killed began is finished by the next one."""
    await _holds(core, box, podman_socket, {})
    with box.forked():
        view = await end(core, run_id)
    await _holds(core, box, podman_socket, {})
    await _is_done(core, box, podman_socket)
    return view


async def _dies(box: Instance, process: ForkServerProcess) -> None:
    await asyncio.to_thread(process.join, 60)
    assert process.exitcode == -signal.SIGKILL, box.log()


@pytest.mark.parametrize("point", OF_SOME_RUNS["times"])  # before its commit: tests/core/test_firing.py
async def test_killed_when_a_time_was_fired(box: Instance, podman_socket: Path, point: str) -> None:
    async with box.core() as core:
        await core.tasks.create(SHELL, TaskDraft("chore", "behave: completes"))
        await core.schedules.set(SHELL, "chore", "in 2s")
        with box.forked(point) as process:
            await _dies(box, process)
        (row,) = (await core.runs.page(SHELL)).rows
        view = await _again(core, box, podman_socket, row.run.id)
        assert (view.run.status, view.run.trigger) == (RunStatus.COMPLETED, Trigger.SCHEDULED)
        assert len((await core.runs.page(SHELL)).rows) == 1


@pytest.mark.parametrize("point", OF_SOME_RUNS["stops"])
async def test_killed_while_a_run_is_stopped(box: Instance, podman_socket: Path, point: str) -> None:
    async with box.core() as core:
        run_id = await start(core, "chore", "behave: ignores-everybody")
        with box.forked(point) as process:
            await _until_running(core, run_id)
            await core.runs.stop(SHELL, str(run_id))
            await _dies(box, process)
        view = await _again(core, box, podman_socket, run_id)
        assert view.run.status is RunStatus.CANCELLED


@pytest.mark.parametrize("point", OF_SOME_RUNS["long results"])
async def test_killed_while_a_long_result_is_taken(box: Instance, podman_socket: Path, point: str) -> None:
    async with box.core() as core:
        run_id = await start(core, "chore", "behave: finds-a-lot")
        with box.forked(point) as process:
            await _dies(box, process)
        view = await _again(core, box, podman_socket, run_id)
        assert (view.run.status, view.run.attempt) == (RunStatus.COMPLETED, 1)
        result = await core.runs.result(run_id)
        assert result is not None
        assert len(result.items) == 2000


@pytest.mark.parametrize("point", OF_SOME_RUNS["charts"])
async def test_killed_while_a_chart_is_drawn(box: Instance, podman_socket: Path, point: str) -> None:
    """The result was told already; its chart follows once."""
    async with box.core() as core:
        first = await start(core, "chore", "behave: completes")
        with box.forked():
            await end(core, first)
        run_id = (await core.runs.again(SHELL, first)).run.id
        with box.forked(point) as process:
            await _dies(box, process)
        await _holds(core, box, podman_socket, {})
        with box.forked():
            view = await when(
                core, run_id, lambda view: not view.run.chart_wanted and view.run.completed_at is not None
            )
            await end(core, run_id)
        assert [each.name for each in view.artifacts if each.kind is ArtifactKind.CHART] == ["chart.png"]
        await _holds(core, box, podman_socket, {})
        await _is_done(core, box, podman_socket)


@pytest.mark.parametrize("point", OF_SOME_RUNS["answers"])
async def test_killed_while_an_answer_is_told(box: Instance, podman_socket: Path, point: str) -> None:
    async with box.core() as core:
        run_id = await start(core, "chore", "behave: needs-a-person")
        with box.forked(point) as process:
            await when(core, run_id, lambda view: view.run.status is RunStatus.NEEDS_HUMAN)
            await core.interventions.answer(SHELL, str(run_id), Answer("answered", choice=1))
            await _dies(box, process)
        view = await _again(core, box, podman_socket, run_id)
        assert (view.run.status, view.run.result_summary) == (RunStatus.COMPLETED, "Chosen: blue")


@asynccontextmanager
async def _refused_by_claude(podman_socket: Path, template: Path, refusal: Refuse) -> AsyncIterator[Instance]:
    async with served(MessagesApi(refusal).app()) as port:
        tables = {"claude": {"base_url": f"http://127.0.0.1:{port}"}}
        with instance(podman_socket, guest_image(), tables) as box:
            (box.folder / "d").mkdir(mode=0o700)
            shutil.copy(template, box.folder / "d/ccdtasks.db")
            yield box


async def test_killed_before_a_refused_key_is_told(podman_socket: Path, sqlite_template: Path) -> None:
    """What our gateway heard holds the queue, though another process judges the run."""
    refusal = Refuse(401, "authentication_error")
    async with _refused_by_claude(podman_socket, sqlite_template, refusal) as box, box.core() as core:
        run_id = await start(core, "chore", "behave: model-auth", {"retries": {"attempts": 3}})
        with box.forked("Claims.finish:before") as process:
            await _dies(box, process)
        view = await _again(core, box, podman_socket, run_id)
        assert (view.run.status, view.run.reason) == (RunStatus.FAILED, Reason.MODEL_AUTH)
        assert MODEL_AUTH in await core.facts.holds()


@pytest.mark.parametrize("point", OF_SOME_RUNS["limits"])
async def test_killed_while_a_run_is_put_off(podman_socket: Path, sqlite_template: Path, point: str) -> None:
    """It waits for the end of the limit, told once, at no cost of an attempt, whichever process heard of it."""
    limit = Refuse(429, "rate_limit_error", headers={"retry-after": "7200"})
    async with _refused_by_claude(podman_socket, sqlite_template, limit) as box, box.core() as core:
        run_id = await start(core, "chore", "behave: usage-limit")
        with box.forked(point) as process:
            await _dies(box, process)
        await _holds(core, box, podman_socket, {})
        with box.forked():
            view = await when(core, run_id, lambda view: bool(view.session and view.session.removed_at))
        assert (view.run.status, view.run.attempt, view.artifacts) == (RunStatus.QUEUED, 1, [])
        async with core.db.read() as session:
            alerts = await session.scalars(select(DiscordMessage.key).where(DiscordMessage.task_run_id.is_(None)))
            assert len([key for key in alerts if key.startswith("alert:usage_limit")]) == 1
        await core.runs.stop(SHELL, str(run_id))
        await _is_done(core, box, podman_socket)


@pytest.mark.parametrize("point", OF_SOME_RUNS["refusals"])
async def test_killed_while_a_refusal_is_noted(box: Instance, podman_socket: Path, point: str) -> None:
    async with box.core() as core:
        run_id = await start(core, "chore", _INTRUDER, targets="10.1.2.3:80")
        with box.forked(point) as process:
            await _dies(box, process)
        view = await _again(core, box, podman_socket, run_id)
        assert view.run.status is RunStatus.COMPLETED


@pytest.mark.parametrize("point", OF_SOME_RUNS["deaths"])
async def test_killed_while_the_output_of_a_dead_session_is_read(
    box: Instance, podman_socket: Path, point: str
) -> None:
    async with box.core() as core:
        run_id = await start(core, "chore", "behave: crashes")
        with box.forked(point) as process:
            await _dies(box, process)
        view = await _again(core, box, podman_socket, run_id)
        assert (view.run.status, view.run.reason) == (RunStatus.FAILED, Reason.SESSION_CRASHED)
        assert "container.log" in {artifact.name for artifact in view.artifacts}


async def test_no_step_of_a_run_is_left_out(box: Instance, tmp_path: Path) -> None:
    """Each commit and each call of Podman in these lives is one that is killed at above, or named with its reason."""
    steps = tmp_path / "steps"
    async with box.core() as core:
        lives = ["completes", "crashes", "ignores-everybody", "finds-a-lot", "needs-a-person"]
        runs = {life: await start(core, f"chore-{life}", f"behave: {life}") for life in lives}
        runs["intruder"] = await start(core, "chore-intruder", _INTRUDER, targets="10.1.2.3:80")
        with box.forked(steps=steps):
            await end(core, runs["completes"])
            await when(core, runs["needs-a-person"], lambda view: view.run.status is RunStatus.NEEDS_HUMAN)
            await core.interventions.answer(SHELL, str(runs["needs-a-person"]), Answer("answered", choice=0))
            await _until_running(core, runs["ignores-everybody"])
            await core.runs.stop(SHELL, str(runs["ignores-everybody"]))
            again = (await core.runs.again(SHELL, runs["completes"])).run.id
            await when(core, again, lambda view: any(each.kind is ArtifactKind.CHART for each in view.artifacts))
            for run_id in runs.values():
                await end(core, run_id)
    every = [*BEFORE_ANY_CONTAINER, *WITH_A_CONTAINER, *(point for some in OF_SOME_RUNS.values() for point in some)]
    seen, killed = set(steps.read_text().split()), {point.partition(":")[0] for point in every}
    assert len(every) > 40
    assert seen - killed - TRIED_ELSEWHERE.keys() == set()
    assert {"Claims.finish", "Claims.record", "Charting.drawn", "Podman.create"} <= seen, "nothing was recorded"


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
