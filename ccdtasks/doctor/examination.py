"""The order of the checks, from the nearest to the farthest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from ccdtasks.adapters.podman import Podman, find_socket
from ccdtasks.app import open_core
from ccdtasks.config import Config, LoadedConfig
from ccdtasks.core import Core
from ccdtasks.core.facts import MODEL_AUTH
from ccdtasks.doctor import host
from ccdtasks.doctor.accounts import discord_findings, model_credential
from ccdtasks.doctor.containers import podman_findings
from ccdtasks.doctor.finding import Finding, failed, ok, warn
from ccdtasks.doctor.notifications import notification_findings
from ccdtasks.doctor.outside import outside_findings
from ccdtasks.errors import CcdError
from ccdtasks.times import Clock, SystemClock


async def examine(loaded: LoadedConfig, clock: Clock | None = None) -> AsyncIterator[Finding]:
    """Every finding, as soon as it is there. When the model takes the credential again, the queue goes on."""
    config = loaded.config
    for finding in (*_config(loaded), *host.rootless_user(), host.disk(config.paths.data_dir)):
        yield finding
    yield await host.time_of_day(clock or SystemClock())
    async with AsyncExitStack() as stack:
        core = None
        try:
            core = await stack.enter_async_context(open_core(config))
        except CcdError as error:
            yield failed("database", error)
        else:
            yield ok("database", f"{'SQLite' if core.db.is_sqlite else 'PostgreSQL'} opens and is up to date.")
        async for finding in _containers(config):
            yield finding
        yield await _model(config, core)
        if core is not None:
            async for finding in outside_findings(core):
                yield finding
            async for finding in notification_findings(core):
                yield finding
    async for finding in discord_findings(config.discord):
        yield finding


def _config(loaded: LoadedConfig) -> Iterator[Finding]:
    where = f"{loaded.path} is good." if loaded.path else "There is no file; the defaults hold."
    yield ok("config", where)
    for warning in loaded.warnings:
        yield warn("config", warning)


async def _containers(config: Config) -> AsyncIterator[Finding]:
    podman = Podman(find_socket(config.podman.socket))
    try:
        with TemporaryDirectory(prefix="ccdtasks-doctor-") as scratch:
            async for finding in podman_findings(podman, config, Path(scratch)):
                yield finding
    finally:
        await podman.close()


async def _model(config: Config, core: Core | None) -> Finding:
    finding = await model_credential(config.claude)
    if finding.outcome == "ok" and core is not None and await core.facts.release(MODEL_AUTH):
        return ok("model", f"{finding.text} The runs that waited for it go on.")
    return finding
