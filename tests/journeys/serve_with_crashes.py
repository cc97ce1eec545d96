"""`ccdtasks serve` that kills itself with SIGKILL at one chosen step; the product knows nothing of it.

python -m tests.journeys.serve_with_crashes CONFIG.toml Claims.created:before

`run_forked` is the same for a process that was forked from one that has imported everything: it starts at once. It can
also record which acts of the core have committed and which calls Podman got, so that no step of a run is left out here.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import signal
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Any, get_type_hints

from sqlalchemy import Engine, event

from ccdtasks.adapters.podman import Podman
from ccdtasks.app import serve
from ccdtasks.config import load_config
from ccdtasks.core import Core
from ccdtasks.core.due.firing import Firing
from ccdtasks.core.ending.interventions import Interventions
from ccdtasks.core.runs.claims import Claims
from ccdtasks.core.runs.trends import Charting
from ccdtasks.engine.folder import RunFolders
from ccdtasks.engine.gates import Gates
from ccdtasks.engine.keeping import Keeper
from ccdtasks.engine.parts import Patience

PLACES = {each.__name__: each for each in (Charting, Claims, Firing, Gates, Interventions, Keeper, Podman, RunFolders)}
QUICK = Patience(launch_s=20, stop_s=2, busy_poll_s=0.02, idle_poll_s=0.05, look_s=0.1, weigh_s=0.5)


def crash_at(point: str) -> None:
    """`Class.method:before` or `:after`; after, only when the method gave something (an empty queue is no step)."""
    name, _, moment = point.partition(":")
    owner_name, _, method_name = name.partition(".")
    owner = PLACES[owner_name]
    method = getattr(owner, method_name)

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def blocking(self: Any, *arguments: Any) -> Any:
        if moment == "before":
            die()
        result = method(self, *arguments)
        die()
        return result

    async def waiting(self: Any, *arguments: Any, **named: Any) -> Any:
        if moment == "before":
            die()
        result = await method(self, *arguments, **named)
        if result or method_name not in ("claim_next", "fire_due"):
            die()
        return result

    double = waiting if inspect.iscoroutinefunction(method) else blocking
    setattr(owner, method_name, functools.wraps(method)(double))


def record_steps(path: Path) -> None:
    """Writes a line for each commit, with the act of the core that made it, and for each call of Podman."""
    act: ContextVar[str | None] = ContextVar("act", default=None)

    def note(name: str) -> None:
        with path.open("a") as steps:
            steps.write(f"{name}\n")

    def wrapped(owner: type, name: str, method: Any) -> Any:
        @functools.wraps(method)
        async def noted(self: Any, *arguments: Any, **named: Any) -> Any:
            if owner is Podman:
                note(f"Podman.{name}")
            token = act.set(act.get() or f"{owner.__name__}.{name}")
            try:
                return await method(self, *arguments, **named)
            finally:
                act.reset(token)

        return noted

    for owner in {Podman, *get_type_hints(Core).values()}:
        for name, method in list(vars(owner).items()):
            if inspect.iscoroutinefunction(method) and not name.startswith("_"):
                setattr(owner, name, wrapped(owner, name, method))
    event.listen(Engine, "commit", lambda _: note(act.get() or "unknown"))


def run(config_path: str, point: str | None = None) -> None:
    """The service, until it is killed or told to end."""
    if point:
        crash_at(point)
    asyncio.run(serve(load_config(Path(config_path)).config, patience=QUICK))


def run_forked(config_path: str, log_path: str, point: str | None, steps: Path | None = None) -> None:
    """The target of a forked process; what it says goes to the end of the log, its steps into a file."""
    if steps is not None:
        record_steps(steps)
    log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(log, stream)
    run(config_path, point)


if __name__ == "__main__":
    run(*sys.argv[1:])
