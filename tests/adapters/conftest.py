"""A real Podman for the adapters' tests."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from ccdtasks.adapters.containers import ContainerSpec
from ccdtasks.adapters.podman import Podman
from ccdtasks.adapters.seccomp import write_session_profile
from tests.doubles.podman import SESSION_IMAGE, podman_service, require_image


@pytest.fixture(scope="session")
def podman_socket() -> Iterator[Path]:
    require_image()
    with tempfile.TemporaryDirectory(prefix="ccdt-") as folder, podman_service(Path(folder) / "p.sock") as socket:
        yield socket


@pytest.fixture(scope="session")
def seccomp_profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("seccomp") / "session.json"
    write_session_profile(path)
    return path


@pytest.fixture
async def podman(podman_socket: Path) -> AsyncIterator[Podman]:
    podman = Podman(str(podman_socket))
    yield podman
    await podman.close()


@pytest.fixture
async def spec(podman: Podman, seccomp_profile: Path) -> AsyncIterator[ContainerSpec]:
    """A container of this test alone, removed after it; it sleeps until it is told to end, then exits with 3."""
    instance = uuid4().hex
    spec = ContainerSpec(
        name=f"ccdtest-{instance[:12]}",
        image=SESSION_IMAGE,
        labels={"ccdtasks.instance": instance, "ccdtasks.run": "r", "ccdtasks.epoch": "1"},
        memory_mib=256,
        cpus=1.5,
        pids=64,
        seccomp_profile=seccomp_profile,
        entrypoint=("/usr/bin/tini", "--"),
        command=("/bin/sh", "-c", "trap 'exit 3' TERM; echo ready; sleep 600 & wait"),
    )
    yield spec
    for container in await podman.list(instance):
        await podman.remove(container.name)
