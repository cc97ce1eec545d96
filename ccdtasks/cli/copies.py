"""`ccdtasks task clone|export|import`"""

from __future__ import annotations

import asyncio
import json
from typing import BinaryIO

import click
from rich.text import Text

from ccdtasks.cli.service import opened
from ccdtasks.cli.shell import Shell, verb
from ccdtasks.core.access import SHELL
from ccdtasks.core.runs.shapes import Json, task_shape
from ccdtasks.core.tasks.definitions import MAX_BYTES, Copied
from ccdtasks.errors import Invalid


@click.command()
@click.argument("source")
@click.argument("new_name")
@verb
@click.pass_obj
def clone(shell: Shell, source: str, new_name: str) -> None:
    """Make a task NEW_NAME like SOURCE; its schedule rests until it is resumed."""
    copied = asyncio.run(_clone(shell, source, new_name))
    shell.show(task_shape(copied.task), lambda: _made(copied))


@click.command()
@click.argument("name")
@verb
@click.pass_obj
def export(shell: Shell, name: str) -> None:
    """Write the task NAME as JSON, for import here or elsewhere."""
    document = asyncio.run(_export(shell, name))
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--name", help="Another name than the one in the file.")
@verb
@click.pass_obj
def import_task(shell: Shell, file: BinaryIO, name: str | None) -> None:
    """Make a task from FILE, which export wrote ("-" is standard input); its schedule rests until it is resumed."""
    copied = asyncio.run(_import(shell, _text(file), name))
    shell.show(task_shape(copied.task), lambda: _made(copied))


COMMANDS = (clone, export, import_task)


async def _clone(shell: Shell, source: str, new_name: str) -> Copied:
    async with opened(shell) as core:
        return await core.definitions.make(SHELL, await core.definitions.clone(SHELL, source, new_name))


async def _export(shell: Shell, name: str) -> Json:
    async with opened(shell) as core:
        return await core.definitions.export(SHELL, name)


async def _import(shell: Shell, text: str, name: str | None) -> Copied:
    async with opened(shell) as core:
        return await core.definitions.make(SHELL, await core.definitions.read(SHELL, text, name))


def _text(file: BinaryIO) -> str:
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise Invalid("file", "The file is too large to be a task.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Invalid("file", "The file is not text.", "ccdtasks task export writes such a file") from None


def _made(copied: Copied) -> Text:
    name = copied.task.task_name
    rests = f" Its schedule rests; it goes on with: ccdtasks task resume {name}" if copied.task.paused else ""
    passed = " Its schedule was for one time that has passed, so it has none." if copied.has_passed else ""
    return Text(f"✓ {name} is ready.{rests}{passed}")
