"""`ccdtasks run TASK name=value ... [--wait]`"""

from __future__ import annotations

import asyncio

import click
from rich.text import Text

from ccdtasks.cli.follow import follow, progress
from ccdtasks.cli.result import picture
from ccdtasks.cli.service import is_served, no_service, opened
from ccdtasks.cli.shell import Shell, pairs, verb
from ccdtasks.core.access import SHELL
from ccdtasks.core.runs.shapes import run_shape, view_shape
from ccdtasks.db.enums import RunStatus


@click.command()
@click.argument("task")
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--wait", is_flag=True, help="Follow the run to its end; exit code 1 when it does not complete.")
@verb
@click.pass_obj
def run(shell: Shell, task: str, values: tuple[str, ...], wait: bool) -> int:
    """Start TASK with the given values of its parameters."""
    return asyncio.run(_run(shell, task, dict(pairs(values)), wait))


async def _run(shell: Shell, task: str, values: dict[str, str], wait: bool) -> int:
    async with opened(shell) as core:
        served = await is_served(core.config)
        if wait and not served:
            raise no_service()
        started = await core.runs.start(SHELL, task, values)
        run_id = started.run.id
        if not wait:
            if not served:
                click.echo("warning: no ccdtasks service is running; the run waits until one starts", err=True)
            name = (await core.runs.load(run_id)).task.task_name
            words = (
                f"◌ {name} waits, number {started.position} in line. Follow it: ccdtasks logs {run_id.hex[:8]} --follow"
            )
            for hold in (await core.facts.holds()).values():
                click.echo(f"warning: nothing starts now: {hold.message}", err=True)
            shell.show(run_shape(started.run, name, started.position), lambda: Text(words))
            return 0
        if not shell.as_json:
            click.echo(
                f"run {run_id.hex[:8]} (Ctrl-C leaves it running; ccdtasks stop {run_id.hex[:8]} ends it)", err=True
            )
        with progress(shell, core.clock.now) as show:
            view = await follow(core, run_id, show)
        shell.show(view_shape(view, core.config), lambda: picture(view, core.config))
        return 0 if view.run.status is RunStatus.COMPLETED else 1
