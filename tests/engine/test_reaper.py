"""The reaper takes what is certainly ours and belongs to nobody, and nothing else."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from ccdtasks.adapters.containers import ContainerSpec
from ccdtasks.config import Config, PodmanConfig
from ccdtasks.core.runs.runs import RunView
from ccdtasks.db.enums import RunStatus
from ccdtasks.db.models import Profile
from ccdtasks.engine.folder import RunFolders
from ccdtasks.gateways.sockets import bind_socket
from tests.doubles.podman import podman_service
from tests.engine.conftest import Engine, running_engine

pytestmark = pytest.mark.image


def _spec(engine: Engine, name: str, labels: dict[str, str]) -> ContainerSpec:
    return ContainerSpec(
        name=f"ccdtest-{name}-{engine.parts.instance_id[:8]}",
        image=engine.core.config.podman.image,
        labels=labels,
        memory_mib=64,
        cpus=1,
        pids=16,
        seccomp_profile=engine.parts.seccomp_profile,
        entrypoint=("/bin/sleep",),
        command=("600",),
    )


@asynccontextmanager
async def _standing(engine: Engine, **labels: dict[str, str]) -> AsyncIterator[dict[str, str]]:
    """Containers that run, by the names of the arguments."""
    names = {}
    try:
        for name, given in labels.items():
            spec = _spec(engine, name, given)
            names[name] = spec.name
            await engine.parts.podman.create(spec)
            await engine.parts.podman.start(spec.name)
        yield names
    finally:
        for name in names.values():
            await engine.parts.podman.remove(name)


async def _alive(engine: Engine, names: dict[str, str]) -> set[str]:
    states = {name: await engine.parts.podman.inspect(container) for name, container in names.items()}
    return {name for name, state in states.items() if state and state.running}


async def _going(engine: Engine) -> RunView:
    run_id = await engine.start("works-on")
    return await engine.when(run_id, lambda view: view.run.status is RunStatus.RUNNING and view.session is not None)


def _go(engine: Engine, folder: str) -> None:
    (engine.parts.folders.folder(folder).host / "inputs/go").touch()


async def test_only_what_is_certainly_ours_is_removed(engine: Engine) -> None:
    """Another instance's container and folder, somebody else's container and folder, and a run that goes on stay."""
    ours, theirs = engine.parts.instance_id, "f" * 32
    root = engine.parts.folders.root
    labels = {
        "stray": {"ccdtasks.instance": ours, "ccdtasks.run": str(UUID(int=1))},
        "sweep": {"ccdtasks.instance": ours, "ccdtasks.role": "sweep"},
        "other": {"ccdtasks.instance": theirs, "ccdtasks.run": str(UUID(int=1))},
        "alien": {"app": "nextcloud"},
    }
    async with _standing(engine, **labels) as names:
        engine.parts.folders.create("0123456789ab", {})
        RunFolders(root, 1, theirs).create("ba9876543210", {})
        (root / "notes").mkdir()
        view = await _going(engine)
        assert view.session is not None
        assert await engine.reaper.sweep(is_first=False)
        assert await _alive(engine, names) == {"sweep", "other", "alien"}  # a sweep may be at work at this moment
        assert sorted(os.listdir(root)) == sorted([view.session.folder, "ba9876543210", "notes"])
        assert await engine.reaper.sweep(is_first=True)
        assert await _alive(engine, names) == {"other", "alien"}
        _go(engine, view.session.folder)
        assert (await engine.end(view.run.id)).run.status is RunStatus.COMPLETED


async def test_a_session_that_is_over_goes_with_its_lease(engine: Engine) -> None:
    """The process died between the run's end and the removal of what it left."""
    view = await _going(engine)
    assert view.session is not None
    async with engine.core.db.write() as session:
        session.add(Profile(name="shop", owner_user_id="shell", leased_by=view.session.id))
    await engine.reaper.sweep(is_first=True)
    assert await engine.core.profiles.release_stale() == []  # it goes on, and the lease stays
    _go(engine, view.session.folder)
    await engine.end(view.run.id)
    async with engine.core.db.write() as session:
        row = await session.get_one(type(view.session), view.session.id)
        row.removed_at = None
    engine.parts.folders.create(view.session.folder, {})
    await engine.reaper.sweep(is_first=True)
    await engine.reaper.sweep(is_first=False)
    await engine.is_clean()
    async with engine.core.db.read() as session:
        assert (await session.scalars(select(Profile.leased_by))).all() == [None]


async def test_a_silent_podman_holds_back_nothing_else(settings: Config, short_dir: Path) -> None:
    """Sockets of a session that is over are closed at once, old snapshots go, and nothing is taken for gone."""
    socket = short_dir / "late.sock"
    podman = PodmanConfig(**{**settings.podman.model_dump(), "socket": f"unix://{socket}"})
    backups = short_dir / "backups"
    backups.mkdir()
    for number in range(7):
        path = backups / f"ccdtasks-0001-2026010{number + 1}-000000.db"
        path.touch()
        os.utime(path, (number, number))
    (backups / "ccdtasks-mine.db").touch()
    async with running_engine(settings.model_copy(update={"podman": podman})) as engine:
        run_id = await engine.start("completes")
        view = await engine.when(run_id, lambda view: view.run.status is RunStatus.FAILED)
        assert view.session is not None
        folder = engine.parts.folders.folder(view.session.folder)
        await engine.when(run_id, lambda _: not engine.dispatcher.holds(view.session.id))  # type: ignore[union-attr]
        bind_socket(folder.model_socket).close()
        assert not await engine.reaper.sweep(is_first=True)
        assert not folder.model_socket.exists()
        assert folder.path.exists()
        assert len(list(backups.iterdir())) == 6
        assert (backups / "ccdtasks-mine.db").exists()
        with podman_service(socket):
            assert await engine.reaper.sweep(is_first=True)
            await engine.is_clean()
