"""`ccdtasks task edit`"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.text import Text

from ccdtasks.cli.look import plain_table
from ccdtasks.cli.service import opened
from ccdtasks.cli.shell import Shell, pairs, verb
from ccdtasks.config import Config
from ccdtasks.core.access import SHELL
from ccdtasks.core.definition.fields import default_of, fields_of, parameter_names, shown, unset_text, value_of
from ccdtasks.core.runs.shapes import Json, edited_shape
from ccdtasks.core.tasks.editing import Edited
from ccdtasks.db.models import Task


@click.command()
@click.argument("name")
@click.option("--set", "given", multiple=True, metavar="FIELD=VALUE", help="A new value, such as timeout=1h.")
@click.option("--unset", multiple=True, metavar="FIELD", help="Back to its default.")
@verb
@click.pass_obj
def edit(shell: Shell, name: str, given: tuple[str, ...], unset: tuple[str, ...]) -> None:
    """Change the task NAME; without --set and --unset: show what can be changed, and today's values.

    "prompt=-" reads the prompt from standard input. All of the changes are made, or none.
    """
    changes: dict[str, Any] = dict.fromkeys(unset)
    for field, value in pairs(given):
        if field in changes:
            raise click.UsageError(f"“{field}” is there twice.")
        changes[field] = sys.stdin.read() if (field, value) == ("prompt", "-") else _value(value)
    if changes:
        made, config = asyncio.run(_edit(shell, name, changes))
        shell.show(edited_shape(made), lambda: _changes(made, config))
    else:
        task, config = asyncio.run(_find(shell, name))
        shell.show(_fields_shape(task, config), lambda: _fields(task, config))


COMMANDS = (edit,)


async def _edit(shell: Shell, name: str, changes: dict[str, Any]) -> tuple[Edited, Config]:
    async with opened(shell) as core:
        return await core.tasks.edit(SHELL, name, changes), core.config


async def _find(shell: Shell, name: str) -> tuple[Task, Config]:
    async with opened(shell) as core:
        return await core.tasks.find(SHELL, name), core.config


def _value(text: str) -> Any:
    """Tables and lists come as JSON, anything else as it is typed."""
    if not text.startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _changes(made: Edited, config: Config) -> RenderableType:
    if not made.changes:
        return Text(f"✓ {made.task.task_name}: it was so already.")
    lines = [f"✓ {made.task.task_name} is changed. Runs that begin from now on have it."]
    for each in made.changes:
        unset = unset_text(made.task, each.field, config)
        lines.append(f"  {each.field}: {each.before or unset} → {each.after or unset}")
    return Text("\n".join(lines))


def _fields_shape(task: Task, config: Config) -> Json:
    return {
        "name": task.task_name,
        "fields": [
            {
                "field": each.name,
                "value": value_of(task, each),
                "default": default_of(task, each, config),
                "meaning": each.meaning,
                "choices": list(each.choices),
            }
            for each in fields_of(parameter_names(task))
        ],
    }


def _fields(task: Task, config: Config) -> RenderableType:
    table = plain_table("field", "value", "meaning")
    for each in fields_of(parameter_names(task)):
        value = shown(each, value_of(task, each)) or unset_text(task, each.name, config)
        table.add_row(each.name, value, each.meaning)
    return Group(table, Text(f"Change one: ccdtasks task edit {task.task_name} --set timeout=1h"))
