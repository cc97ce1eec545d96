"""The installed command, run as a user runs it: a process of its own, with a configuration of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

PROGRAM = Path(sys.executable).with_name("ccdtasks")


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
        done = subprocess.run(
            [PROGRAM, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=self.environ | environ,
        )
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def place() -> Iterator[Place]:
    with TemporaryDirectory(prefix="ccd-") as root:  # short: pytest's own folders leave no room for sockets
        found = Place(Path(root))
        found.config.write_text(f'[paths]\ndata_dir = "{found.data_dir}"\n[podman]\nsocket = "{root}/no.sock"\n')
        yield found


@pytest.fixture
def ccdtasks(place: Place) -> Command:
    return place.run


async def in_thread(call: Command, *words: str, **environ: str) -> Done:
    """A call beside the test's own event loop, on which the doubles live."""
    return await asyncio.to_thread(call, *words, **environ)
