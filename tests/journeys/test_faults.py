"""Everything around a run breaks in turn; afterwards the run has its true end and every invariant holds.

The engine runs in this process over real Podman, and a scripted guest inside a real container. What takes minutes at
home takes moments here: the product's own patience is shortened, and time that has to pass is that of a clock.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import create_async_engine

from ccdtasks.config import ClaudeConfig, Config, DatabaseConfig, LimitsConfig, PathsConfig, PodmanConfig
from ccdtasks.core.access import SHELL
from ccdtasks.core.runs.runs import RunView
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import ArtifactState, Reason, RunStatus, Trigger
from ccdtasks.db.models import DiscordMessage, ScheduleHistory, TaskRun
from ccdtasks.engine.clockwork import Clockwork
from ccdtasks.errors import Unavailable
from ccdtasks.times import SystemClock
from tests.clock import MoveableClock
from tests.doubles.messages_api import MessagesApi
from tests.doubles.podman import guest_image, podman_service
from tests.engine.conftest import PLANTED_KEY, QUICK, Engine, running_engine
from tests.invariants import check_invariants, nothing_is_left

pytestmark = [pytest.mark.image, pytest.mark.slow]

TWICE = {"retries": {"attempts": 2, "backoff_s": 5, "cap_s": 5}}


@pytest.fixture(scope="module")
def podman_socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ccdt-") as folder, podman_service(Path(folder) / "p.sock") as served:
        yield served


@pytest.fixture
def database_kind() -> str:
    """SQLite, unless a test says otherwise."""
    return "sqlite"


@pytest.fixture
def settings(podman_socket: Path, database_url: str) -> Iterator[Config]:
    with tempfile.TemporaryDirectory(prefix="ccdt-", ignore_cleanup_errors=True) as folder:
        yield Config(
            claude=ClaudeConfig(api_key=PLANTED_KEY, base_url="http://127.0.0.1:9"),
            database=DatabaseConfig(url=database_url),
            podman=PodmanConfig(socket=f"unix://{podman_socket}", image=guest_image(), memory_mib=512, pids=128),
            paths=PathsConfig(data_dir=Path(folder)),
            limits=LimitsConfig(starts_per_minute=10_000, run_folder_mib=16, max_sessions=4),
        )


def _over(config: Config, **podman: object) -> Config:
    return config.model_copy(update={"podman": config.podman.model_copy(update=podman)})


def _is_going(view: RunView) -> bool:
    return view.run.status is RunStatus.RUNNING and view.session is not None and view.session.events_seq > 3


def _go(engine: Engine, view: RunView) -> None:
    """Lets the guest come to its end."""
    assert view.session is not None
    (engine.parts.folders.folder(view.session.folder).host / "inputs/go").touch()


async def _swept(engine: Engine) -> None:
    """Waits until no session is open any more; what could not be removed at once goes with the reaper."""
    async with asyncio.timeout(60):
        while await engine.core.claims.open():
            await engine.reaper.sweep(is_first=True)
            await asyncio.sleep(0.05)


async def _settled(engine: Engine) -> None:
    """Asserts that nothing is left of any run."""
    await _swept(engine)
    await nothing_is_left(engine.core, engine.parts.podman, engine.parts.folders)


async def _completed(engine: Engine, run_id: UUID) -> RunView:
    """The run ended well in its first attempt, and each of its events is there once."""
    view = await engine.end(run_id)
    assert (view.run.status, view.run.reason, view.run.attempt) == (RunStatus.COMPLETED, None, 1)
    said = [data["text"] for seq, kind, data in await engine.events(run_id) if kind == "progress" and seq > 0]
    assert said == [f"line {number}" for number in range(1, len(said) + 1)]
    await _settled(engine)
    return view


async def _retried(engine: Engine, run_id: UUID, reason: Reason) -> TaskRun:
    """The run failed for that reason, and its one retry, which has not begun."""
    await engine.when(run_id, lambda view: view.run.status is RunStatus.FAILED)
    await _swept(engine)
    view = await engine.end(run_id)
    assert (view.run.status, view.run.reason) == (RunStatus.FAILED, reason), view.run.error_message
    async with engine.core.db.read() as session:
        (retry,) = await session.scalars(select(TaskRun).where(TaskRun.retry_of == run_id))
    assert (retry.attempt, retry.trigger) == (2, Trigger.RETRY)
    await check_invariants(engine.core, engine.parts.podman, engine.parts.folders)
    await engine.core.runs.stop(SHELL, str(retry.id))
    await _settled(engine)
    return retry


# -- Podman


async def test_podman_is_gone_for_a_while_and_the_run_ends_meanwhile(settings: Config) -> None:
    """Unknown is not failed: the run goes on, its end waits for Podman, and no second container is made."""
    with tempfile.TemporaryDirectory(prefix="ccdt-") as folder:
        place = Path(folder) / "p.sock"
        async with running_engine(_over(settings, socket=f"unix://{place}")) as engine:
            with podman_service(place):
                run_id = await engine.start("works-on")
                view = await engine.when(run_id, _is_going)
            _go(engine, view)
            await engine.when(run_id, lambda view: view.run.result_data is not None)
            assert not await engine.reaper.sweep(is_first=True)
            view = await engine.core.runs.load(run_id)
            assert view.run.status is RunStatus.RUNNING
            assert view.session is not None
            await check_invariants(engine.core, None, engine.parts.folders)
            place.unlink(missing_ok=True)
            with podman_service(place):
                await _completed(engine, run_id)


async def test_podman_is_gone_when_the_service_starts(settings: Config) -> None:
    """The run is taken up as far as its folder goes: its events are read, and nobody takes its container for lost."""
    with tempfile.TemporaryDirectory(prefix="ccdt-") as folder:
        place = Path(folder) / "p.sock"
        config = _over(settings, socket=f"unix://{place}")
        with podman_service(place):
            async with running_engine(config) as engine:
                run_id = await engine.start("works-on")
                before = await engine.when(run_id, _is_going)
        place.unlink(missing_ok=True)
        async with running_engine(config) as engine:
            assert before.session is not None
            seq = before.session.events_seq
            view = await engine.when(run_id, lambda view: bool(view.session and view.session.events_seq > seq + 20))
            assert view.run.status is RunStatus.RUNNING
            assert not await engine.reaper.sweep(is_first=True)
            with podman_service(place):
                _go(engine, view)
                await _completed(engine, run_id)


async def test_podman_is_gone_when_a_run_should_start(settings: Config) -> None:
    """It is tried for as long as our patience lasts, then the run fails by name and is tried again later."""
    with tempfile.TemporaryDirectory(prefix="ccdt-") as folder:
        place = Path(folder) / "p.sock"
        async with running_engine(_over(settings, socket=f"unix://{place}")) as engine:
            run_id = await engine.start("completes")
            await engine.when(run_id, lambda view: view.run.status is RunStatus.STARTING)
            with podman_service(place):
                await _completed(engine, run_id)
            place.unlink(missing_ok=True)
            run_id = await engine.start("completes", TWICE)
            await engine.when(run_id, lambda view: view.run.status is RunStatus.FAILED)
            with podman_service(place):
                await _retried(engine, run_id, Reason.ENGINE_UNAVAILABLE)


async def test_a_container_runs_out_of_memory(settings: Config) -> None:
    async with running_engine(settings) as engine:
        run_id = await engine.start("eats-memory", TWICE)
        await _retried(engine, run_id, Reason.OUT_OF_MEMORY)


async def test_a_container_is_removed_by_hand(settings: Config) -> None:
    async with running_engine(settings) as engine:
        run_id = await engine.start("works-on", TWICE)
        view = await engine.when(run_id, _is_going)
        assert view.session is not None
        command = ["podman", "rm", "-f", "-t", "0", view.session.container_name]
        await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
        await _retried(engine, run_id, Reason.LOST)


async def test_the_image_is_removed_while_a_run_goes_on(settings: Config) -> None:
    """What runs goes on; the next run fails once with the remedy in its words, and works when the image is back."""
    name = f"localhost/ccdtest-gone:{uuid4().hex[:8]}"

    async def tell_podman(*words: str) -> None:
        await asyncio.to_thread(subprocess.run, ["podman", *words], check=True, capture_output=True)

    await tell_podman("tag", settings.podman.image, name)
    async with running_engine(_over(settings, image=name)) as engine:
        going = await engine.start("works-on")
        view = await engine.when(going, _is_going)
        await tell_podman("untag", name, name)  # the second: only this name of the image
        failed = await engine.end(await engine.start("completes", TWICE))
        assert failed.run.reason is Reason.IMAGE_MISSING
        assert "ccdtasks image build" in (failed.run.error_message or "")
        assert len((await engine.core.runs.page(SHELL)).rows) == 2  # no retry, which nothing would mend
        await tell_podman("tag", settings.podman.image, name)
        again = await engine.core.runs.again(SHELL, failed.run.id)
        assert (await engine.end(again.run.id)).run.status is RunStatus.COMPLETED
        _go(engine, view)
        await _completed(engine, going)
    await tell_podman("untag", name, name)  # the second: only this name of the image


# -- disk and database


@contextmanager
def _small_disk(mib: int) -> Iterator[Path]:
    """A disk of its own for the data folder."""
    folder = Path(tempfile.mkdtemp(prefix="ccdt-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "ccdtest", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        folder.rmdir()
        if os.environ.get("CCDTEST_COMPLETE"):
            pytest.fail("a file system cannot be mounted here")
        pytest.skip("a file system cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def _fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))


async def test_the_disk_is_full_while_a_run_goes_on(settings: Config, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is lost: the run's events wait in its folder, and once there is room it all goes on by itself."""
    with _small_disk(40) as disk:
        on_disk = {"paths": PathsConfig(data_dir=disk), "database": DatabaseConfig()}
        async with running_engine(settings.model_copy(update=on_disk)) as engine:
            run_id = await engine.start("works-on")
            view = await engine.when(run_id, _is_going)
            await asyncio.to_thread(_fill, disk / "ballast")
            await _until_said(caplog, "The disk is full")
            assert (await engine.core.runs.load(run_id)).run.status is RunStatus.RUNNING
            (disk / "ballast").unlink()
            _go(engine, view)
            done = await _completed(engine, run_id)
            assert {artifact.state for artifact in done.artifacts} == {ArtifactState.STORED}


async def test_the_disk_is_full_when_the_files_are_gathered(settings: Config) -> None:
    """A run ends in time and says which file is missing; it is not green, since its picture is lost."""
    with _small_disk(40) as disk:
        on_disk = settings.storage.model_copy(update={"path": disk / "artifacts"})
        async with running_engine(settings.model_copy(update={"storage": on_disk})) as engine:
            run_id = await engine.start("works-on")
            view = await engine.when(run_id, _is_going)
            (disk / "artifacts").mkdir(exist_ok=True)
            await asyncio.to_thread(_fill, disk / "ballast")
            _go(engine, view)
            done = await engine.end(run_id)
            assert (done.run.status, done.run.reason) == (RunStatus.FAILED, Reason.UNCLEAR_RESULT)
            lost = [artifact for artifact in done.artifacts if artifact.state is ArtifactState.MISSING]
            assert {artifact.name for artifact in lost} >= {"final.png", "results.csv"}
            assert all("No space left" in (artifact.note or "") for artifact in lost)
            await _settled(engine)


@asynccontextmanager
async def _locked(url: str) -> AsyncIterator[None]:
    """Another program holds the database's write lock."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.split("///")[1], isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.rollback()
        return
    outside = create_async_engine(url)
    async with outside.connect() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(7235419001)"))
        yield
        await connection.rollback()
    await outside.dispose()


@pytest.mark.parametrize("database_kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_the_database_is_locked_for_longer_than_we_wait(
    settings: Config, database_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run writes is refused again and again, and is written at last; the loop is never held up by it."""
    monkeypatch.setattr("ccdtasks.db._WAIT_S", 0.2)
    async with running_engine(settings) as engine:
        run_id = await engine.start("works-on")
        view = await engine.when(run_id, _is_going)
        async with _locked(database_url):
            await _until_said(caplog, "The database is busy")
            for _ in range(6):  # more than a second: the engine has been refused again meanwhile
                with pytest.raises(Unavailable, match="busy"):
                    await engine.core.runs.stop(SHELL, str(run_id))
            assert (await engine.core.runs.load(run_id)).run.status is RunStatus.RUNNING
            _go(engine, view)
        await _completed(engine, run_id)


@pytest.mark.parametrize("database_kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_the_database_is_locked_for_ten_seconds(settings: Config, database_url: str) -> None:
    """That is less than a writer waits: nothing is refused or lost, people only wait."""
    async with running_engine(settings) as engine:
        run_id = await engine.start("works-on")
        view = await engine.when(run_id, _is_going)
        async with _locked(database_url):
            waiting = asyncio.create_task(engine.core.runs.again(SHELL, run_id))
            await asyncio.sleep(10)  # the length of the lock, which is what is tried
            assert not waiting.done()
            assert (await engine.core.runs.load(run_id)).run.status is RunStatus.RUNNING
        second = await engine.when((await waiting).run.id, _is_going)
        for each in (view, second):
            _go(engine, each)
        for each in (view, second):
            assert (await engine.end(each.run.id)).run.status is RunStatus.COMPLETED
        await _completed(engine, run_id)


async def _until_said(caplog: pytest.LogCaptureFixture, words: str) -> None:
    async with asyncio.timeout(60):
        while not any(words in message for message in caplog.messages):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


# -- the model


async def test_the_model_is_down_for_a_while(settings: Config) -> None:
    """The session hears that nobody answers, asks again as the CLI does, and goes on when somebody does."""
    with closing(socket.socket()) as reserved:
        reserved.bind(("127.0.0.1", 0))  # nobody listens yet: refused
        base_url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        claude = settings.claude.model_copy(update={"base_url": base_url})
        async with running_engine(settings.model_copy(update={"claude": claude})) as engine:
            run_id = await engine.start("waits-for-the-model")
            view = await engine.when(run_id, lambda view: bool(view.session and view.session.events_seq))
            (_, _, data), *_ = [entry for entry in await engine.events(run_id) if entry[0] > 0]
            assert data["text"] in ("model 502", "model 503", "model 529")
            await check_invariants(engine.core, engine.parts.podman, engine.parts.folders)
            assert view.run.status is RunStatus.RUNNING
            model = MessagesApi()
            runner = web.AppRunner(model.app(), shutdown_timeout=0.1)
            await runner.setup()
            await web.SockSite(runner, reserved).start()
            view = await engine.end(run_id)
            await runner.cleanup()
            assert (view.run.status, view.run.attempt) == (RunStatus.COMPLETED, 1)
            assert model.asked[-1].headers["x-api-key"] == PLANTED_KEY
            assert view.run.cost_usd
            await _settled(engine)


async def test_the_model_stays_down_and_the_run_is_tried_again(settings: Config) -> None:
    async with running_engine(settings) as engine:
        await _retried(engine, await engine.start("overloaded", TWICE), Reason.MODEL_UNAVAILABLE)


# -- time


class SetClock(SystemClock):
    """The machine's clock, which somebody sets."""

    def __init__(self) -> None:
        self.off_by = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.off_by


@pytest.mark.parametrize("hours", [1, -1, 24])
async def test_the_hosts_clock_is_set_while_a_run_goes_on(settings: Config, hours: int) -> None:
    """A run of a minute does not time out because the clock moved by an hour, and everything is still in order."""
    clock = SetClock()
    async with running_engine(settings, QUICK, clock=clock) as engine:
        run_id = await engine.start("works-on", {"timeout_s": 60, "retries": {"attempts": 1}})
        view = await engine.when(run_id, _is_going)
        clock.off_by = timedelta(hours=hours)
        assert view.session is not None
        seen = view.session.events_seq
        view = await engine.when(run_id, lambda view: bool(view.session and view.session.events_seq > seen + 20))
        waiting = await engine.start("completes")  # and what is queued now starts at once
        assert (await engine.end(waiting)).run.status is RunStatus.COMPLETED
        _go(engine, view)
        view = await _completed(engine, run_id)
        assert view.run.duration_seconds is not None
        assert view.run.duration_seconds >= 0


async def _scheduled(engine: Engine) -> UUID:
    task = await engine.core.tasks.create(SHELL, TaskDraft("chore", "behave: completes"))
    await engine.core.schedules.set(SHELL, "chore", "*/5 * * * *")
    return task.id


@pytest.mark.parametrize("database_kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_the_process_is_down_over_three_fire_times(settings: Config) -> None:
    """One run makes up for all of them, as soon as the process is back, and it says so."""
    clock = MoveableClock(datetime(2026, 1, 17, 15, 31, tzinfo=UTC))
    async with running_engine(settings, clock=clock) as engine:
        task_id = await _scheduled(engine)
    clock.advance(minutes=17)
    async with running_engine(settings, clock=clock) as engine, _firing(engine):
        runs = await _runs(engine, task_id)
        assert [(run.trigger, run.scheduled_for) for run in runs] == [
            (Trigger.SCHEDULED, datetime(2026, 1, 17, 15, 45, tzinfo=UTC))
        ]
        assert (await engine.end(runs[0].id)).run.status is RunStatus.COMPLETED
        async with engine.core.db.read() as session:
            said = await session.scalars(select(DiscordMessage.key).where(DiscordMessage.task_run_id == runs[0].id))
            missed = (await session.scalars(select(ScheduleHistory).where(ScheduleHistory.action == "missed"))).all()
        assert "caught_up" in set(said)
        assert [row.details and row.details["count"] for row in missed] == [2]
        assert (await engine.core.tasks.load(task_id)).next_run_at == datetime(2026, 1, 17, 15, 50, tzinfo=UTC)
        await _settled(engine)


@asynccontextmanager
async def _firing(engine: Engine) -> AsyncIterator[None]:
    clockwork = asyncio.create_task(Clockwork(engine.core).run())
    try:
        yield
    finally:
        clockwork.cancel()
        await asyncio.gather(clockwork, return_exceptions=True)


async def _runs(engine: Engine, task_id: UUID) -> list[TaskRun]:
    """The runs of a task, once there is one."""
    async with asyncio.timeout(30):
        while True:
            async with engine.core.db.read() as session:
                runs = list(await session.scalars(select(TaskRun).where(TaskRun.task_id == task_id)))
            if runs:
                return runs
            await asyncio.sleep(0.02)
