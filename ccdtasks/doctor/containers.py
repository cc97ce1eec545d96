"""Checks of Podman and the session image, the last of them from inside a real sealed container."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from importlib import resources
from pathlib import Path
from typing import Any
from uuid import uuid4

from ccdtasks.adapters.containers import ContainerSpec
from ccdtasks.adapters.image import CONTENT_LABEL, content_hash, find_recipe
from ccdtasks.adapters.podman import Podman, PodmanInfo
from ccdtasks.adapters.seccomp import write_session_profile
from ccdtasks.config import Config
from ccdtasks.doctor.finding import Finding, fail, failed, ok, warn
from ccdtasks.errors import CcdError, Unavailable
from ccdtasks.times import size_text

_OLDEST = (4, 3)
_PROBE_TIMEOUT_S = 60
_LOOK_S = 0.1
_BUILD = "ccdtasks image build"


async def podman_findings(podman: Podman, config: Config, scratch: Path) -> AsyncIterator[Finding]:
    """Podman, its storage, the image, and the seal of a session. `scratch`: a folder to put the seccomp profile in."""
    try:
        info = await podman.version()
    except CcdError as error:
        yield failed("podman", error)
        return
    for finding in service(info):
        yield finding
    try:
        image = await session_image(podman, config.podman.image)
        yield image
        if image.outcome == "fail":
            return
        profile = scratch / "seccomp.json"
        await asyncio.to_thread(write_session_profile, profile)
        report = await probe(podman, config, profile)
    except CcdError as error:
        yield failed("container", error)
        return
    for finding in sealed(report, config):
        yield finding


def service(info: PodmanInfo) -> Iterator[Finding]:
    """Version, rights and storage of the server."""
    found = tuple(int(part) for part in re.findall(r"\d+", info.version)[:2])
    who = "rootless" if info.rootless else "as root"
    if found < _OLDEST:
        yield fail("podman", f"Podman {info.version} is too old; 4.3 is the oldest that works.", "upgrade Podman")
    else:
        yield ok("podman", f"Podman {info.version} answers on {info.socket}, {who}.")
    if info.storage_driver == "vfs":
        yield fail(
            "storage",
            "Podman stores images with vfs, which copies 1.5 GB for each session: a start takes half a minute.",
            'put driver = "overlay" under [storage] into ~/.config/containers/storage.conf, then: podman system reset, '
            f"and build the image again: {_BUILD}",
        )
    else:
        yield ok("storage", f"Podman stores images with {info.storage_driver}.")


async def session_image(podman: Podman, name: str) -> Finding:
    """Whether the image is there and was built from this version's recipe."""
    image = await podman.image(name)
    if image is None:
        return fail("image", f"The session image {name} is not on this machine.", _BUILD)
    if image.labels.get(CONTENT_LABEL) != content_hash(find_recipe()):
        return warn("image", f"{name} was built by another version of ccdtasks.", f"build it again: {_BUILD}")
    return ok("image", f"{name} is up to date, {size_text(image.size_bytes)}.")


async def probe(podman: Podman, config: Config, seccomp_profile: Path) -> dict[str, Any]:
    """What `probe.py` reports from inside a container that is sealed as a session is. Raises Unavailable."""
    name = f"ccd-doctor-{uuid4().hex[:12]}"
    script = resources.files("ccdtasks.doctor").joinpath("probe.py").read_text()
    spec = ContainerSpec(
        name=name,
        image=config.podman.image,
        labels={"ccdtasks.doctor": name},
        memory_mib=config.podman.memory_mib,
        cpus=config.podman.cpus,
        pids=config.podman.pids,
        seccomp_profile=seccomp_profile,
        entrypoint=("/usr/bin/python3", "-I", "-c", script),
    )
    try:
        await podman.create(spec)
        await podman.start(name)
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            await _ended(podman, name)
        said = (await podman.logs(name)).strip().splitlines()
    except TimeoutError:
        raise Unavailable(
            "podman", "The probe container did not end within a minute.", "is this machine busy?"
        ) from None
    finally:
        await podman.remove(name)
    try:
        report: dict[str, Any] = json.loads(said[-1])
    except (IndexError, ValueError):
        last = f": {said[-1][:200]}" if said else ""
        raise Unavailable("podman", f"The probe container could not do its work{last}.") from None
    return report


async def _ended(podman: Podman, name: str) -> None:
    state = await podman.inspect(name)
    while state is not None and state.running:
        await asyncio.sleep(_LOOK_S)
        state = await podman.inspect(name)


def sealed(report: dict[str, Any], config: Config) -> Iterator[Finding]:
    """What the report says about limits, seal and the browser's sandbox."""
    yield _limits(report["limits"], config)
    if report["routes"] or report["interfaces"] != ["lo"] or report["reached"]:
        where = ", ".join(report["reached"]) or "another network"
        yield fail("network", f"A session's container could reach {where}.", "this should not be possible: report it")
    else:
        yield ok(
            "network", "There is no way out of a session's container, neither to the internet nor to your network."
        )
    if (
        report["capabilities"] != 0
        or not report["no_new_privileges"]
        or report["seccomp"] != 2
        or report["root_writable"]
    ):
        yield fail(
            "seal", "A session's container has more rights than it should.", "this should not be possible: report it"
        )
    else:
        yield ok("seal", "A session has no capability, cannot gain rights, and cannot write outside of its folder.")
    yield _sandbox(report["chromium"], config.podman.chromium_sandbox)


def _limits(limits: dict[str, int | None], config: Config) -> Finding:
    wanted = {"memory": config.podman.memory_mib << 20, "pids": config.podman.pids, "cpu": config.podman.cpus}
    loose = [name for name, value in wanted.items() if (limits.get(name) or float("inf")) > value * 1.01]
    if loose:
        return fail(
            "limits",
            f"Limits are not enforced here: {' and '.join(loose)}.",
            "rootless needs cgroup v2 and delegated controllers: install.sh sets Delegate=cpu cpuset io memory pids",
        )
    memory = size_text(config.podman.memory_mib << 20)
    return ok(
        "limits",
        f"A session is held to {memory} of memory, {config.podman.cpus:g} CPUs, {config.podman.pids} processes.",
    )


def _sandbox(chromium: dict[str, Any], setting: str) -> Finding:
    if chromium["works"]:
        return ok("chromium", "Chromium starts with its own sandbox on.")
    why = f" It said: {chromium['said']}" if chromium["said"] else ""
    text = f"Chromium's own sandbox does not work here.{why}"
    if setting == "off":
        return warn("chromium", text, '[podman] chromium_sandbox = "off" lets runs go on without it, which is weaker')
    remedy = 'sysctl user.max_user_namespaces must be above 0; or, weaker, [podman] chromium_sandbox = "off"'
    return fail("chromium", text, remedy)
