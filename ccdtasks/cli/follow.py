"""Follows a run to its end: its log, which misses nothing, and one line that says what it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

import click
from rich.text import Text

from ccdtasks.amounts import counted
from ccdtasks.cli.look import asked_text, status_text
from ccdtasks.cli.service import is_served, no_service
from ccdtasks.cli.shell import Shell
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.runs.runs import RunView
from ccdtasks.core.states import FINAL
from ccdtasks.core.text import clean_line
from ccdtasks.db.enums import ArtifactState, RunStatus
from ccdtasks.db.models import RunEvent, TaskRun
from ccdtasks.times import duration_text

_LOOK_S = 0.5
_SERVED_EVERY = 20
"""Every so many looks: is the service still there?"""
_STORE_LOOKS = 60
"""How many looks the store may take for the last files, before they are shown as not yet there."""

_PAGE = 500

Show = Callable[[RunView, Sequence[RunEvent]], None]
"""Shows how a run stands, and what its log has brought since the last time."""


class LogReader:
    """The log of a run from its beginning, each event once."""

    def __init__(self, core: Core, run_id: UUID) -> None:
        self._core = core
        self._run_id = run_id
        self._after: datetime | None = None

    async def more(self) -> AsyncIterator[RunEvent]:
        """What came since the last time. Read the run's state before: then nothing of a run that ended is missed."""
        while True:
            events = await self._core.runs.events(SHELL, self._run_id, self._after, _PAGE)
            for event in events:
                self._after = event.at
                yield event
            if len(events) < _PAGE:
                return


async def wait_for_more(core: Core, looks: int, *, needs_service: bool = True) -> None:
    """Waits until it is worth looking again; now and then raises Unavailable("service") when the service is gone."""
    if needs_service and looks % _SERVED_EVERY == 0 and not await is_served(core.config):
        raise no_service()
    await asyncio.sleep(_LOOK_S)


async def follow(core: Core, run_id: UUID, show: Show, *, needs_service: bool = True) -> RunView:
    """The run, or the last of its retries, when it has ended and its files are stored.

    Raises Unavailable("service") when the service that should do the work is gone.
    """
    looks, log = 0, LogReader(core, run_id)
    while True:
        view = await core.runs.load(run_id)
        show(view, [event async for event in log.more()])
        if view.run.status in FINAL:
            retry = await _retry_of(core, view)
            if retry is None:
                return await _with_files(core, view)
            run_id = retry.id
            log = LogReader(core, run_id)
            continue
        looks += 1
        await wait_for_more(core, looks, needs_service=needs_service)


async def _retry_of(core: Core, view: RunView) -> TaskRun | None:
    if view.run.status is not RunStatus.FAILED:
        return None
    first = view.run.retry_of or view.run.id
    page = await core.runs.page(SHELL, view.task.task_name, limit=20)
    later = [row.run for row in page.rows if row.run.retry_of == first and row.run.attempt > view.run.attempt]
    return min(later, key=lambda run: run.attempt, default=None)


async def _with_files(core: Core, view: RunView) -> RunView:
    for _ in range(_STORE_LOOKS):
        if all(artifact.state is not ArtifactState.LOCAL for artifact in view.artifacts):
            break
        await asyncio.sleep(_LOOK_S)
        view = await core.runs.load(view.run.id)
    return view


@contextmanager
def progress(shell: Shell, now: Callable[[], datetime]) -> Iterator[Show]:
    """On standard error: one line that is written over in a terminal, a line a step elsewhere, none for JSON."""
    console = shell.console(stderr=True)
    if shell.as_json:
        yield lambda _view, _events: None
    elif console.is_terminal:
        with console.status("") as status:
            yield lambda view, _events: status.update(Text(line_of(view, now())))
    else:
        last = ""

        def say(view: RunView, events: Sequence[RunEvent]) -> None:
            nonlocal last
            for line in lines_of(view, events):
                if line != last:
                    click.echo(line, err=True)
                last = line

        yield say


def lines_of(view: RunView, events: Sequence[RunEvent]) -> Iterator[str]:
    """What is to be told about a run that goes on: each step from its log, then a state that is in no log."""
    sign = status_text(RunStatus.RUNNING, None).plain[0]
    for event in events:
        if said := _said(event):
            yield f"{sign} {view.task.task_name}: {said}"
    if view.run.status is not RunStatus.RUNNING:
        yield doing(view)


def _said(event: RunEvent) -> str:
    words: object = {
        "session_started": "starting the desktop",
        "agent_started": "Claude begins",
        "step_started": event.data.get("title"),
        "progress": event.data.get("text"),
    }.get(event.type)
    return clean_line(words or "", 300)


def doing(view: RunView) -> str:
    """What the run does now, without figures that change all the time."""
    run, name = view.run, view.task.task_name
    if run.status is RunStatus.QUEUED and run.not_before and run.attempt > 1:
        at = f"{run.not_before.astimezone():%H:%M:%S}"
        return f"◌ {name}: next try at {at} ({run.attempt} of {view.attempts})"
    if run.status is RunStatus.QUEUED:
        return f"◌ {name}: waiting for a free session, number {view.position or 1} in line"
    sign = status_text(run.status, run.reason).plain[0]
    if asked := " ".join(asked_text(run).split()):
        return f"{sign} {name}: {asked}  Answer: ccdtasks answer {run.id.hex[:8]} ..."
    text = (run.live or {}).get("text")
    return f"{sign} {name}: {text if text and run.status not in FINAL else run.status.value}"


def line_of(view: RunView, now: datetime) -> str:
    """The same with time and pages, for a line that is written over."""
    run = view.run
    parts = [doing(view)]
    if run.started_at:
        parts.append(duration_text((now - run.started_at).total_seconds()))
    if run.pages_loaded:
        parts.append(counted(run.pages_loaded, "page"))
    return " · ".join(parts)
