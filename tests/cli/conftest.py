"""The installed command, run as a user runs it: a process of its own, with a configuration of its own."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from ccdtasks.cli import main

PROGRAM = Path(sys.executable).with_name("ccdtasks")

# Calls are forked from a process that has loaded what a verb loads: 30 ms each instead of 800.
_FORKS = multiprocessing.get_context("forkserver")
_VERBS = ["task", "runs", "schedules", "dependencies", "metrics", "settings"]
_FORKS.set_forkserver_preload(
    ["ccdtasks.cli.outcome", *(f"ccdtasks.cli.{each}" for each in _VERBS), "ccdtasks.app", "aiosqlite", "rich.markdown"]
)


@dataclass(frozen=True)
class Done:
    """How a call ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def error(self) -> Any:
        return json.loads(self.err)["error"]


Command = Callable[..., Done]


@dataclass(frozen=True)
class Place:
    """A user's home, configuration and data folder."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "c.toml"

    @property
    def data_dir(self) -> Path:
        return self.root / "d"

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CCDTASKS_", "ANTHROPIC_"))}
        return kept | {
            "HOME": str(self.root),
            "XDG_CONFIG_HOME": str(self.root / "xdg"),
            "XDG_STATE_HOME": str(self.root / "state"),
            "CCDTASKS_CONFIG": str(self.config),
        }

    def run(self, *words: str, stdin: str = "", **environ: str) -> Done:
        """One call of the program."""
        with TemporaryDirectory(prefix="ccd-call-") as folder:
            files = [Path(folder) / name for name in ("in", "out", "err")]
            files[0].write_text(stdin)
            call = _FORKS.Process(target=_call, args=(words, files, self.environ | environ))
            call.start()
            call.join(120)
            if call.exitcode is None:
                call.kill()
                pytest.fail(f"{words} did not end")
            return Done(call.exitcode, files[1].read_text(), files[2].read_text())


def _call(words: tuple[str, ...], files: list[Path], environ: Mapping[str, str]) -> None:
    """What the installed command does, in the forked process."""
    os.environ.clear()
    os.environ.update(environ)
    for number, path in enumerate(files):
        os.dup2(os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT), number)
    sys.stdin = os.fdopen(0)
    main(words)


@pytest.fixture
def new_place() -> Iterator[Place]:
    """A place in which nothing was ever done."""
    with TemporaryDirectory(prefix="ccd-") as root:  # short: pytest's own folders leave no room for sockets
        found = Place(Path(root))
        found.config.write_text(f'[paths]\ndata_dir = "{found.data_dir}"\n[podman]\nsocket = "{root}/no.sock"\n')
        yield found


@pytest.fixture
def place(new_place: Place, sqlite_template: Path) -> Place:
    """A place with a database."""
    new_place.data_dir.mkdir(mode=0o700)
    shutil.copy(sqlite_template, new_place.data_dir / "ccdtasks.db")
    return new_place


@pytest.fixture
def ccdtasks(place: Place) -> Command:
    return place.run


async def in_thread(call: Command, *words: str, **environ: str) -> Done:
    """A call beside the test's own event loop, on which the doubles live."""
    return await asyncio.to_thread(call, *words, **environ)
