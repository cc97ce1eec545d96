"""`ccdtasks task create|list|show`, and the verbs of other modules about tasks."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, get_args

import click
from rich.console import Group, RenderableType
from rich.text import Text

from ccdtasks.cli import copies, dependencies, editing, schedules
from ccdtasks.cli.look import plain_table, status_text, when
from ccdtasks.cli.service import opened
from ccdtasks.cli.shell import Shell, pairs, verb
from ccdtasks.core.access import SHELL
from ccdtasks.core.calendar.timing import words_of
from ccdtasks.core.definition.fields import typed_settings
from ccdtasks.core.runs.shapes import task_row_shape, task_shape
from ccdtasks.core.tasks.tasks import TaskDraft, TaskFilter, TaskRow
from ccdtasks.db.models import Task
from ccdtasks.times import local_text


@click.group()
def task() -> None:
    """Make, list, show, change, schedule, link and delete tasks."""


for _command in (*editing.COMMANDS, *copies.COMMANDS, *dependencies.COMMANDS, *schedules.COMMANDS):
    task.add_command(_command)


@task.command()
@click.argument("name")
@click.argument("prompt")
@click.option("--type", "task_type", help="The kind of task; guessed from the prompt when left out.")
@click.option("--description", help="One line about it.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of the task, such as timeout=10m."
)
@verb
@click.pass_obj
def create(  # noqa: PLR0917 - click passes them by name
    shell: Shell, name: str, prompt: str, task_type: str | None, description: str | None, settings: tuple[str, ...]
) -> None:
    """Make a task NAME that does PROMPT ("-" reads it from standard input).

    {place} in the prompt is a parameter that each run needs, {place=Kyoto} one with a default.
    """
    text = sys.stdin.read() if prompt == "-" else prompt
    config = typed_settings({key: _value(value) for key, value in pairs(settings)})
    draft = TaskDraft(name, text, task_type, description, config)
    made = asyncio.run(_create(shell, draft))
    shell.show(task_shape(made), lambda: Text(f"✓ {made.task_name} is ready. {_needs(made)}"))


@task.command("list")
@click.option("--filter", "which", type=click.Choice(get_args(TaskFilter)), default="all", show_default=True)
@verb
@click.pass_obj
def list_tasks(shell: Shell, which: TaskFilter) -> None:
    """List the tasks."""
    rows = asyncio.run(_list(shell, which))
    shell.show([task_row_shape(row) for row in rows], lambda: _table(rows))


@task.command()
@click.argument("name")
@verb
@click.pass_obj
def show(shell: Shell, name: str) -> None:
    """Show everything about a task."""
    found = asyncio.run(_find(shell, name))
    shell.show(task_shape(found), lambda: _picture(found))


async def _create(shell: Shell, draft: TaskDraft) -> Task:
    async with opened(shell) as core:
        return await core.tasks.create(SHELL, draft)


async def _list(shell: Shell, which: TaskFilter) -> list[TaskRow]:
    rows: list[TaskRow] = []
    async with opened(shell) as core:
        page = await core.tasks.page(SHELL, which, limit=200)
        rows += page.rows
        while page.next_after:
            page = await core.tasks.page(SHELL, which, page.next_after, limit=200)
            rows += page.rows
    return rows


async def _find(shell: Shell, name: str) -> Task:
    async with opened(shell) as core:
        return await core.tasks.find(SHELL, name)


def _value(text: str) -> Any:
    """A setting's value: a table or a list as JSON, else the text itself."""
    try:
        return json.loads(text) if text.startswith(("{", "[")) else text
    except ValueError:
        return text


def _needs(made: Task) -> str:
    required = [parameter["name"] for parameter in made.required_parameters]
    optional = [
        f"{parameter['name']} is {parameter['default']} unless you say otherwise"
        for parameter in made.optional_parameters
    ]
    sentences = [f"It needs {', '.join(required)}."] if required else []
    sentences += [f"{'; '.join(optional)}."] if optional else []
    example = "".join(f" {name}=..." for name in required)
    return " ".join([*sentences, f"Start it: ccdtasks run {made.task_name}{example} --wait"])


def _table(rows: list[TaskRow]) -> RenderableType:
    if not rows:
        return Text("No tasks yet. Make one: ccdtasks task create NAME PROMPT")
    table = plain_table("task", "type", "next run", "last run", "status", "runs", "good")
    for row in rows:
        status = status_text(row.last_status) if row.last_status else Text("")
        rate = "" if row.success_rate is None else f"{row.success_rate:.0%}"
        task = row.task
        coming = "paused" if task.paused else _next_run(task)
        last = when(task.last_run_at)
        table.add_row(task.task_name, task.task_type, coming, last, status, str(task.run_count), rate)
    return table


def _schedule(found: Task) -> str:
    if not found.schedule_cron:
        return "none"
    kept = " ".join(f"{name}={value}" for name, value in found.schedule_parameters.items())
    said = f"{words_of(found.schedule_cron, found.schedule_timezone)}, {found.schedule_timezone} time"
    return f"{said}, with {kept}" if kept else said


def _next_run(found: Task) -> str:
    """On the clock of its schedule, which need not be that of the machine."""
    return local_text(found.next_run_at, found.schedule_timezone) if found.next_run_at else ""


def _picture(found: Task) -> RenderableType:
    table = plain_table("parameter", "", "default", "description")
    for parameter in (*found.required_parameters, *found.optional_parameters):
        needed = "" if "default" in parameter else "required"
        table.add_row(parameter["name"], needed, parameter.get("default", ""), parameter.get("description", ""))
    facts = plain_table("", "")
    facts.show_header = False
    for name, value in (
        ("type", found.task_type),
        ("owner", found.owner_user_id),
        ("effect", found.effect.value),
        ("settings", json.dumps(found.config) if found.config else "defaults"),
        ("schedule", _schedule(found)),
        ("next run", f"paused. {found.paused_reason or ''}" if found.paused else _next_run(found) or "none"),
        ("runs", f"{found.run_count}, of which {found.success_count} completed"),
        ("last run", when(found.last_run_at) or "never"),
    ):
        facts.add_row(name, value)
    parts: list[RenderableType] = [Text(found.task_name, style="bold"), Text(found.template_prompt), Text("")]
    if table.row_count:
        parts += [table, Text("")]
    return Group(*parts, facts)
