"""`ccdtasks answer`, `ccdtasks say`"""

from __future__ import annotations

import asyncio

import click
from rich.text import Text

from ccdtasks.cli.service import opened
from ccdtasks.cli.shell import Shell, verb
from ccdtasks.core.access import SHELL
from ccdtasks.core.ending.interventions import Answer, Asked
from ccdtasks.core.runs.shapes import asked_shape, run_shape
from ccdtasks.db.models import TaskRun


@click.command()
@click.argument("run")
@click.argument("text", default="")
@click.option("--skip", is_flag=True, help="Let it go on without.")
@verb
@click.pass_obj
def answer(shell: Shell, run: str, text: str, skip: bool) -> None:
    """Answer the latest thing that RUN asks, with TEXT; without TEXT: say that it is done."""
    given = Answer("skipped" if skip else "answered" if text else "done", text)
    asked = asyncio.run(_answer(shell, run, given))
    heard = f"hears “{asked.request.answer}”" if asked.request.answer else f"hears that it is {asked.request.outcome}"
    shell.show(asked_shape(asked), lambda: Text(f"✓ {asked.task_name} ({asked.run.id.hex[:8]}) {heard} and goes on."))


@click.command()
@click.argument("run")
@click.argument("text")
@verb
@click.pass_obj
def say(shell: Shell, run: str, text: str) -> None:
    """Say TEXT to the agent of RUN while it works."""
    found, name = asyncio.run(_say(shell, run, text))
    shell.show(run_shape(found, name), lambda: Text(f"✓ {name} ({found.id.hex[:8]}) hears it in a moment."))


async def _answer(shell: Shell, run: str, given: Answer) -> Asked:
    async with opened(shell) as core:
        return await core.interventions.answer(SHELL, run, given)


async def _say(shell: Shell, run: str, text: str) -> tuple[TaskRun, str]:
    async with opened(shell) as core:
        found = await core.interventions.say(SHELL, run, text)
        return found, (await core.tasks.load(found.task_id)).task_name
