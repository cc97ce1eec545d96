"""Podman that is missing, dies in the middle, or lacks the image, and a full disk: nothing is lost or runs twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select

from ccdtasks.config import Config, PodmanConfig
from ccdtasks.core.access import SHELL
from ccdtasks.core.runs.runs import RunView
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.db.models import Session
from tests.doubles.podman import misbehaving, podman_service, refusing, stumbling
from tests.engine.conftest import QUICK, Engine, running_engine

pytestmark = pytest.mark.image


def _over(config: Config, socket: Path, **changes: object) -> Config:
    podman = PodmanConfig(**{**config.podman.model_dump(), "socket": f"unix://{socket}", **changes})
    return config.model_copy(update={"podman": podman})


async def _failed(engine: Engine) -> RunView:
    run_id = await engine.start("completes")
    return await engine.when(run_id, lambda view: view.run.status is RunStatus.FAILED)


async def test_without_podman_a_run_says_how_to_start_it(settings: Config, short_dir: Path) -> None:
    async with running_engine(_over(settings, short_dir / "none.sock")) as engine:
        view = await _failed(engine)
        assert view.run.reason is Reason.ENGINE_UNAVAILABLE
        assert "is not there" in (view.run.error_message or "")
        assert "podman.socket" in (view.run.error_message or "")


async def test_a_refusing_socket_has_other_words(settings: Config, short_dir: Path) -> None:
    with refusing(short_dir / "dead.sock") as socket:
        async with running_engine(_over(settings, socket)) as engine:
            assert "Nobody answers" in ((await _failed(engine)).run.error_message or "")


async def test_a_podman_that_fails_at_first_is_asked_again_for_the_same_container(
    settings: Config, short_dir: Path, podman_socket: Path
) -> None:
    """reliability.md 26: a 500 on create costs no attempt and leaves no second container."""
    seen = short_dir / "s.sock"
    async with stumbling(seen, podman_socket, times=2) as refused, running_engine(_over(settings, seen)) as engine:
        view = await engine.run("completes")
        assert (view.run.status, view.run.attempt) == (RunStatus.COMPLETED, 1)
        async with engine.core.db.read() as session:
            assert len((await session.scalars(select(Session.id).where(Session.run_id == view.run.id))).all()) == 1
    assert len(refused) == 2


async def test_a_podman_that_only_fails_is_quoted(settings: Config, short_dir: Path) -> None:
    async with misbehaving(short_dir / "p.sock", "fails") as socket, running_engine(_over(settings, socket)) as engine:
        assert "the storage is on fire" in ((await _failed(engine)).run.error_message or "")


async def test_what_could_not_be_removed_is_removed_when_podman_is_back(settings: Config, short_dir: Path) -> None:
    """The failed run's session stays open until it is certain that nothing of it lives."""
    socket = short_dir / "late.sock"
    async with running_engine(_over(settings, socket)) as engine:
        view = await _failed(engine)
        assert view.session is not None
        assert view.session.removed_at is None
        with podman_service(socket):
            async with asyncio.timeout(60):
                while engine.dispatcher.holds(view.session.id):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await engine.reaper.sweep(is_first=True)
            view = await engine.end(view.run.id)
            assert view.session is not None
            assert view.session.removed_at is not None
            await engine.is_clean()


async def test_a_missing_image_fails_once_and_says_the_remedy(settings: Config, podman_socket: Path) -> None:
    config = _over(settings, podman_socket, image="localhost/nothing:1")
    async with running_engine(config) as engine:
        view = await engine.run("completes", {"retries": {"attempts": 3}})
        assert view.run.reason is Reason.IMAGE_MISSING
        assert "localhost/nothing:1" in (view.run.error_message or "")
        assert "ccdtasks image build" in (view.run.error_message or "")
        assert len((await engine.core.runs.page(SHELL)).rows) == 1


async def test_a_full_disk_is_found_before_anything_is_made(settings: Config) -> None:
    limits = settings.limits.model_copy(update={"run_folder_mib": 1 << 30})
    async with running_engine(settings.model_copy(update={"limits": limits})) as engine:
        view = await engine.run("completes")
        assert view.run.reason is Reason.DISK_FULL
        assert "is full" in (view.run.error_message or "")


async def test_a_run_outlives_its_podman_service(settings: Config, short_dir: Path) -> None:
    """The service dies in the middle and comes back: unknown is not failed, and no second container is made."""
    socket = short_dir / "p.sock"
    async with running_engine(_over(settings, socket), QUICK) as engine:
        with podman_service(socket):
            run_id = await engine.start("works-on")
            view = await engine.when(run_id, lambda view: view.run.status is RunStatus.RUNNING)
            assert view.session is not None
            first = await engine.parts.podman.inspect(view.session.container_name)
        seq = (await engine.core.runs.load(run_id)).session
        assert seq is not None
        events_before = seq.events_seq
        view = await engine.when(
            run_id, lambda view: bool(view.session and view.session.events_seq > events_before + 20)
        )
        assert view.run.status is RunStatus.RUNNING
        socket.unlink(missing_ok=True)
        with podman_service(socket):
            assert view.session is not None
            second = await engine.parts.podman.inspect(view.session.container_name)
            assert first is not None
            assert second is not None
            assert second.pid == first.pid
            (engine.parts.folders.folder(view.session.folder).host / "inputs/go").touch()
            view = await engine.end(run_id)
            assert view.run.status is RunStatus.COMPLETED
            warnings = [data["text"] for seq_, _, data in await engine.events(run_id) if seq_ < 0]
            assert any("goes on as far as it can" in text for text in warnings)
            await engine.is_clean()
