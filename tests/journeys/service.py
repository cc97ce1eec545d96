"""A private instance of ccdtasks for journeys: the real service as a process of its own, and what a user would do."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from uuid import UUID

from ccdtasks.app import open_core
from ccdtasks.config import load_config
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.runs.runs import RunView
from ccdtasks.core.states import FINAL
from ccdtasks.core.tasks.tasks import TaskDraft
from tests.journeys.serve_with_crashes import run_forked
from tests.surface.repository import ROOT

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.journeys.serve_with_crashes"])

PLANTED_KEY = "sk-ant-api03-planted-key-of-the-journey"


def unit_environment() -> dict[str, str]:
    """Our environment with what the systemd unit sets for the interpreter, compiled modules kept in the checkout."""
    unit = (ROOT / "systemd/ccdtasks.service").read_text()
    settings = dict(re.findall(r"\b((?:PYTHON|MALLOC)\w+)=(\S+)", unit))
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **settings, "PYTHONPYCACHEPREFIX": str(ROOT / ".cache/pycache")}


@dataclass
class Instance:
    """A configuration file with its data folder; processes come and go."""

    folder: Path
    config_path: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @contextmanager
    def serve(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        """The service as its unit starts it. `command`: module and arguments, the real shell's `serve` when empty."""
        parts = command or ("ccdtasks.cli", "--config", str(self.config_path), "serve")
        with (self.folder / "serve.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", *parts], stdout=log, stderr=log, env=unit_environment())
        self.processes.append(process)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(60)

    @contextmanager
    def forked(self, point: str | None = None, steps: Path | None = None) -> Iterator[ForkServerProcess]:
        """The service in a process that starts at once, and kills itself at `point`; or it records its `steps`."""
        arguments = (str(self.config_path), str(self.folder / "serve.log"), point, steps)
        process = _FORKS.Process(target=run_forked, args=arguments)
        process.start()
        try:
            yield process
        finally:
            process.terminate()
            process.join(60)
            process.kill()
            process.join()

    def crashing(self, *point: str) -> tuple[str, ...]:
        """The command of a service that kills itself at a step."""
        return ("tests.journeys.serve_with_crashes", str(self.config_path), *point)

    def log(self) -> str:
        """What all services so far have said."""
        return (self.folder / "serve.log").read_text()

    @asynccontextmanager
    async def core(self) -> AsyncIterator[Core]:
        """A core over the same database, as the shell has it."""
        async with open_core(load_config(self.config_path).config) as core:
            yield core


@contextmanager
def instance(socket: Path, image: str, tables: Mapping[str, Mapping[str, Any]] | None = None) -> Iterator[Instance]:
    """A fresh instance over a Podman socket. `tables`: more of its configuration."""
    folder = Path(tempfile.mkdtemp(prefix="ccdt-"))
    config = {
        "paths": {"data_dir": str(folder / "d")},
        "server": {"port": 0},
        "podman": {"socket": f"unix://{socket}", "image": image, "memory_mib": 1024},
        "limits": {"starts_per_minute": 10_000},
        "claude": {"api_key": PLANTED_KEY, "base_url": "http://127.0.0.1:9"},
    }
    for name, table in (tables or {}).items():
        config[name] = {**config.get(name, {}), **table}
    path = folder / "config.toml"
    path.write_text(_toml(config))
    made = Instance(folder, path)
    try:
        yield made
    finally:
        for process in made.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        _remove_containers(folder / "d/ccdtasks.db")
        shutil.rmtree(folder, ignore_errors=True)


def _remove_containers(database: Path) -> None:
    """Takes away what a failed test left; after one that succeeded there is nothing."""
    if not database.exists():
        return
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT value FROM instance_facts WHERE name = 'instance_id'").fetchone()
    if found is not None:
        label = f"label=ccdtasks.instance={found[0]}"
        listed = subprocess.run(["podman", "ps", "-aq", "--filter", label], capture_output=True, text=True, check=True)
        for container in listed.stdout.split():
            subprocess.run(["podman", "rm", "-ft0", container], check=True, stdout=subprocess.DEVNULL)


def _toml(config: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for name, table in config.items():
        lines.append(f"[{name}]")
        for key, value in table.items():
            listed = isinstance(value, list | tuple)
            lines.append(f"{key} = {[str(item) for item in value]!r}" if listed else f"{key} = {_scalar(value)}")
    return "\n".join(lines) + "\n"


def _scalar(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


async def start(core: Core, name: str, prompt: str, config: Mapping[str, Any] | None = None, **values: str) -> UUID:
    """A task and a run of it."""
    await core.tasks.create(SHELL, TaskDraft(name, prompt, config=config or {"retries": {"attempts": 1}}))
    return (await core.runs.start(SHELL, name, values)).run.id


async def when(core: Core, run_id: UUID, is_so: Callable[[RunView], bool], patience_s: float = 120) -> RunView:
    """The run, once something is so."""
    async with asyncio.timeout(patience_s):
        while not is_so(view := await core.runs.load(run_id)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return view


async def end(core: Core, run_id: UUID) -> RunView:
    """The run in its final state, with container and folder gone."""

    def is_over(view: RunView) -> bool:
        return view.run.status in FINAL and (view.session is None or view.session.removed_at is not None)

    return await when(core, run_id, is_over)
