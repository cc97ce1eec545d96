"""`ccdtasks retry RUN [name=value ...]`"""

from __future__ import annotations

import asyncio

import click
from rich.text import Text

from ccdtasks.cli.service import opened
from ccdtasks.cli.shell import Shell, pairs, verb
from ccdtasks.core.access import SHELL
from ccdtasks.core.runs.runs import StartedRun
from ccdtasks.core.runs.shapes import run_shape


@click.command()
@click.argument("run")
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--yes", is_flag=True, help="Also when the task buys, posts or submits, and may do it twice.")
@verb
@click.pass_obj
def retry(shell: Shell, run: str, values: tuple[str, ...], yes: bool) -> None:
    """Try the failed RUN again, with its own values or with those given here."""
    begun, name = asyncio.run(_retry(shell, run, dict(pairs(values)), yes))
    short = begun.run.id.hex[:8]
    words = (
        f"◌ {name}, try {begun.run.attempt}, number {begun.position} in line. Follow it: ccdtasks logs {short} --follow"
    )
    shell.show(run_shape(begun.run, name, begun.position), lambda: Text(words))


async def _retry(shell: Shell, run: str, values: dict[str, str], confirm: bool) -> tuple[StartedRun, str]:
    async with opened(shell) as core:
        begun = await core.attempts.retry(SHELL, run, values, confirm=confirm)
        return begun, (await core.tasks.load(begun.run.task_id)).task_name
