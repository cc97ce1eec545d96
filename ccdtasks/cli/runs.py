"""`ccdtasks runs`, `ccdtasks logs`, `ccdtasks stop`"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from rich.console import RenderableType
from rich.text import Text

from ccdtasks.cli.follow import LogReader, wait_for_more
from ccdtasks.cli.look import asked_text, plain_table, status_text, when
from ccdtasks.cli.result import picture
from ccdtasks.cli.service import opened
from ccdtasks.cli.shell import Shell, verb
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.runs.runs import RunRow
from ccdtasks.core.runs.shapes import event_shape, push_shape, run_row_shape, run_shape, view_shape
from ccdtasks.core.states import FINAL
from ccdtasks.db.enums import RunStatus
from ccdtasks.db.models import RunEvent, TaskRun
from ccdtasks.times import duration_text


@click.command()
@click.argument("task", required=False)
@click.option("--status", type=click.Choice([status.value for status in RunStatus]), help="Only runs in this state.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True)
@verb
@click.pass_obj
def runs(shell: Shell, task: str | None, status: str | None, limit: int) -> None:
    """List runs, the newest first; only those of TASK when it is named."""
    rows = asyncio.run(_runs(shell, task, RunStatus(status) if status else None, limit))
    shell.show([run_row_shape(row) for row in rows], lambda: _table(rows))


@click.command()
@click.argument("run")
@click.option("--follow", "-f", is_flag=True, help="Go on until the run ends.")
@click.option("--result", is_flag=True, help="Show the result and the files instead of the log.")
@verb
@click.pass_obj
def logs(shell: Shell, run: str, follow: bool, result: bool) -> None:
    """Show what RUN did, by the first digits of its id. With --json: one JSON object a line."""
    asyncio.run(_result(shell, run) if result else _logs(shell, run, follow))


@click.command()
@click.argument("run")
@click.option("--force", is_flag=True, help="End the container at once, without collecting what there is.")
@verb
@click.pass_obj
def stop(shell: Shell, run: str, force: bool) -> None:
    """Stop RUN, named by its task or by the first digits of its id."""
    stopped, name = asyncio.run(_stop(shell, run, force))
    how = "is stopped" if stopped.status in FINAL else "is asked to stop; what it has is kept"
    shell.show(run_shape(stopped, name), lambda: Text(f"■ {name} ({stopped.id.hex[:8]}) {how}."))


async def _runs(shell: Shell, task: str | None, status: RunStatus | None, limit: int) -> Sequence[RunRow]:
    async with opened(shell) as core:
        return (await core.runs.page(SHELL, task, status, limit=limit)).rows


async def _result(shell: Shell, run: str) -> None:
    async with opened(shell) as core:
        view = await core.runs.load((await core.runs.find(SHELL, run)).id)
        pushes = await core.pushes.of_run(view.run.id)
        shape = {**view_shape(view, core.config), "pushes": [push_shape(push) for push in pushes]}
        shell.show(shape, lambda: picture(view, core.config, pushes=pushes))


async def _stop(shell: Shell, run: str, force: bool) -> tuple[TaskRun, str]:
    async with opened(shell) as core:
        stopped = await core.runs.stop(SHELL, run, force)
        return stopped, (await core.runs.load(stopped.id)).task.task_name


async def _logs(shell: Shell, run: str, follow: bool) -> None:
    async with opened(shell) as core:
        found = await core.runs.find(SHELL, run)
        await _print_events(core, found, follow, _json_line if shell.as_json else text_line)


async def _print_events(core: Core, run: TaskRun, follow: bool, line: Callable[[RunEvent], str]) -> None:
    looks, log = 0, LogReader(core, run.id)
    while True:
        ended = (await core.runs.load(run.id)).run.status in FINAL
        async for event in log.more():
            click.echo(line(event))
        if ended or not follow:
            return
        looks += 1
        await wait_for_more(core, looks)


def _json_line(event: RunEvent) -> str:
    return json.dumps(event_shape(event), ensure_ascii=False)


def text_line(event: RunEvent) -> str:
    """`15:30:02.417  step_started     1. Opening shop.example`, on this machine's own clock."""
    said = " ".join(_say(event.type, event.data).split())
    return f"{event.at.astimezone():%H:%M:%S}.{event.at.microsecond // 1000:03}  {event.type:<16} {said}"


def _say(kind: str, data: Mapping[str, Any]) -> str:
    if kind == "step_started":
        return f"{data.get('step')}. {data.get('title', '')}"
    if kind == "step_finished":
        outcome = "done" if data.get("ok") else f"failed: {data.get('error') or 'no reason given'}"
        return f"{data.get('step')}. {outcome} ({data.get('duration_ms')} ms)"
    if kind == "page_loaded":
        return f"{data.get('url', '')} “{data.get('title', '')}” ({data.get('load_ms')} ms)"
    if "text" in data:
        return str(data["text"])
    return " ".join(f"{name}={value}" for name, value in data.items() if value is not None)


def _table(rows: Sequence[RunRow]) -> RenderableType:
    if not rows:
        return Text("No runs yet. Start one: ccdtasks run TASK")
    table = plain_table("run", "task", "status", "queued", "took", "what")
    for row in rows:
        run = row.run
        took = duration_text(run.duration_seconds) if run.duration_seconds is not None else ""
        what = run.error_message or run.result_summary or asked_text(run) or (run.live or {}).get("text") or ""
        line = " ".join(what.split())
        short = line if len(line) <= 60 else f"{line[:59]}…"
        table.add_row(
            run.id.hex[:8], row.task_name, status_text(run.status, run.reason), when(run.queued_at), took, short
        )
    return table
