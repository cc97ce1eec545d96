"""The real Podman through our adapter."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from ccdtasks.adapters.containers import Bind, ContainerSpec, ContainerState
from ccdtasks.adapters.podman import Podman
from ccdtasks.errors import Conflict, Unavailable

pytestmark = pytest.mark.image


async def _until(podman: Podman, name: str, *, running: bool) -> ContainerState:
    async with asyncio.timeout(30):
        while True:
            state = await podman.inspect(name)
            assert state is not None
            if state.running == running and (running or state.exit_code is not None):
                return state
            await asyncio.sleep(0.02)


async def _output(podman: Podman, spec: ContainerSpec, script: str) -> str:
    spec = replace(spec, command=("/bin/bash", "-c", script))
    await podman.create(spec)
    await podman.start(spec.name)
    await _until(podman, spec.name, running=False)
    return await podman.logs(spec.name)


async def test_says_what_it_is(podman: Podman) -> None:
    info = await podman.version()
    assert int(info.version.split(".")[0]) >= 4
    assert info.rootless == (os.geteuid() != 0)
    assert info.cgroup_version in ("v1", "v2")
    assert info.storage_driver


async def test_a_container_lives_from_create_to_remove(podman: Podman, spec: ContainerSpec) -> None:
    assert await podman.inspect(spec.name) is None
    container_id = await podman.create(spec)
    created = await podman.inspect(spec.name)
    assert created is not None
    assert (created.container_id, created.running, created.exit_code) == (container_id, False, None)

    await podman.start(spec.name)
    running = await _until(podman, spec.name, running=True)
    assert running.pid_alive is True
    assert running.oom_kills == 0
    assert running.labels.items() >= dict(spec.labels).items()
    [listed] = await podman.list(spec.labels["ccdtasks.instance"])
    assert (listed.name, listed.running) == (spec.name, True)

    while "ready" not in await podman.logs(spec.name):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    await podman.stop(spec.name)
    ended = await _until(podman, spec.name, running=False)
    assert ended.exit_code == 3
    assert ended.started_at is not None
    assert ended.finished_at is not None
    assert ended.started_at <= ended.finished_at

    await podman.remove(spec.name)
    assert await podman.inspect(spec.name) is None


async def test_creating_again_gives_the_same_container(podman: Podman, spec: ContainerSpec) -> None:
    first = await podman.create(spec)
    assert await podman.create(spec) == first


async def test_a_name_taken_by_another_container_is_a_conflict(podman: Podman, spec: ContainerSpec) -> None:
    await podman.create(spec)
    with pytest.raises(Conflict, match=spec.name):
        await podman.create(replace(spec, labels={**spec.labels, "ccdtasks.epoch": "2"}))


async def test_starting_twice_is_harmless(podman: Podman, spec: ContainerSpec) -> None:
    await podman.create(spec)
    await podman.start(spec.name)
    before = await podman.inspect(spec.name)
    await podman.start(spec.name)
    after = await podman.inspect(spec.name)
    assert before is not None
    assert after is not None
    assert (after.running, after.pid, after.started_at) == (True, before.pid, before.started_at)


async def test_a_missing_image_is_said_by_name(podman: Podman, spec: ContainerSpec) -> None:
    with pytest.raises(Unavailable, match="localhost/nothing:1") as caught:
        await podman.create(replace(spec, image="localhost/nothing:1"))
    assert caught.value.part == "image"
    assert "ccdtasks image build" in caught.value.hint
    assert await podman.image("localhost/nothing:1") is None
    assert await podman.inspect(spec.name) is None


async def test_the_image_tells_its_size(podman: Podman, spec: ContainerSpec) -> None:
    image = await podman.image(spec.image)
    assert image is not None
    assert image.size_bytes > 10_000_000


async def test_ending_what_is_gone_or_over_is_success(podman: Podman, spec: ContainerSpec) -> None:
    for end in (podman.stop, podman.kill, podman.remove):
        await end(spec.name)
    await podman.create(spec)
    await podman.stop(spec.name)
    await podman.kill(spec.name)
    await podman.remove(spec.name)
    await podman.remove(spec.name)
    assert await podman.logs(spec.name) == ""


async def test_a_killed_conmon_shows_as_a_dead_process(podman: Podman, spec: ContainerSpec) -> None:
    """Podman then says "running" with exit code 0 for ever; only the process itself tells the truth."""
    await podman.create(spec)
    await podman.start(spec.name)
    state = await _until(podman, spec.name, running=True)
    conmon = int(Path(f"/proc/{state.pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(conmon, signal.SIGKILL)
    os.kill(state.pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        while (state := await podman.inspect(spec.name)) and state.pid_alive:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert state is not None
    assert state.running
    assert state.exit_code is None
    assert state.pid_alive is False


async def test_the_inside_is_sealed(podman: Podman, spec: ContainerSpec, tmp_path: Path) -> None:
    for name, mode in (("host", 0o755), ("guest", 0o777)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    binds = (
        Bind(tmp_path / "host", "/run/ccdtasks/host", read_only=True),
        Bind(tmp_path / "guest", "/run/ccdtasks/guest", read_only=False),
    )
    said = await _output(
        podman,
        replace(spec, binds=binds),
        """
        echo uid=$(id -u):$(id -g)
        grep -E '^(CapEff|CapBnd|CapPrm|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'
        awk '$2 == "/" || $2 == "/run/ccdtasks/host" { print "mount=" $2 "," substr($4, 1, 2) }' /proc/mounts
        echo links=$(ls /sys/class/net | xargs)
        echo routes=$(tail -n +2 /proc/net/route | wc -l)
        for path in /x /usr/x /run/ccdtasks/host/x; do touch $path 2>/dev/null && echo wrote=$path; done
        touch /tmp/x /home/agent/x /run/ccdtasks/guest/x && echo scratch=ok
        echo nofile=$(ulimit -Sn):$(ulimit -Hn) nproc=$(ulimit -Hu)
        cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null
        unshare -m true 2>&1 | grep -c -i 'not permitted'
        """,
    )
    lines = said.split()
    assert "uid=2000:2000" in lines
    assert {"CapEff:0000000000000000", "CapBnd:0000000000000000", "CapPrm:0000000000000000"} <= set(lines)
    assert {"NoNewPrivs:1", "Seccomp:2"} <= set(lines)
    assert {"mount=/,ro", "mount=/run/ccdtasks/host,ro"} <= set(lines)
    assert "links=lo" in lines
    assert "routes=0" in lines
    assert "wrote=" not in said
    assert "scratch=ok" in lines
    assert {"nofile=4096:8192", "nproc=4096"} <= set(lines)
    assert (tmp_path / "guest/x").exists()
    info = await podman.version()
    if not (info.rootless and info.cgroup_version == "v1"):  # there the kernel cannot hold them; doctor says so
        assert str(256 << 20) in lines


async def test_out_of_memory_is_counted(podman: Podman, spec: ContainerSpec) -> None:
    info = await podman.version()
    if info.rootless and info.cgroup_version == "v1":
        pytest.skip("cgroup v1 cannot limit the memory of a rootless container")
    eat = "python3 -c 'x = bytearray(1 << 30); x[::4096] = b\"x\" * (1 << 18)'; echo survived; sleep 600"
    await podman.create(replace(spec, command=("/bin/sh", "-c", eat)))
    await podman.start(spec.name)
    async with asyncio.timeout(60):
        while not ((state := await podman.inspect(spec.name)) and state.oom_kills):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert state.oom_kills >= 1
