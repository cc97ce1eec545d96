"""`ccdtasks files`"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.text import Text

from ccdtasks.cli.look import plain_table
from ccdtasks.cli.service import opened
from ccdtasks.cli.shell import Shell, verb
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.pages import MAX_PAGE
from ccdtasks.core.runs.shapes import file_shape
from ccdtasks.db.enums import ArtifactState
from ccdtasks.db.models import Artifact
from ccdtasks.engine.assembly import open_keeper
from ccdtasks.errors import Conflict, Unavailable
from ccdtasks.times import size_text


@click.command()
@click.argument("run")
@click.option("--get", metavar="NAME", help="Copy this file; “all” for each one.")
@click.option(
    "--to", type=click.Path(path_type=Path, file_okay=False), default=Path("."), help="The folder to copy into."
)
@verb
@click.pass_obj
def files(shell: Shell, run: str, get: str | None, to: Path) -> None:
    """List the files that RUN left, or copy them out, from wherever they are kept."""
    if get is None:
        shown = asyncio.run(_list(shell, run))
        shell.show(shown, lambda: _table(shown))
        return
    copied = asyncio.run(_get(shell, run, get, to))
    shell.show(copied, lambda: _copied(copied))


async def _list(shell: Shell, run: str) -> list[dict[str, Any]]:
    async with opened(shell) as core:
        rows = await _rows(core, run)
        return [{**file_shape(each, core.config), "link": core.links.file(each.id)} for each in rows]


async def _rows(core: Core, run: str) -> Sequence[Artifact]:
    found, rows, after = await core.runs.find(SHELL, run), list[Artifact](), None
    while True:
        page = await core.artifacts.page(SHELL, found.id, after, MAX_PAGE)
        rows += page.rows
        after = page.next_after
        if after is None:
            return rows


async def _get(shell: Shell, run: str, name: str, to: Path) -> list[dict[str, Any]]:
    async with opened(shell) as core:
        if name == "all":
            wanted = [each for each in await _rows(core, run) if each.state is not ArtifactState.MISSING]
        else:
            wanted = [await core.artifacts.find(SHELL, (await core.runs.find(SHELL, run)).id, name)]
        with ThreadPoolExecutor(1) as threads:
            async with open_keeper(core, threads) as keeper:
                done = []
                for each in wanted:
                    path = to / each.name
                    with _new_file(path) as copy:
                        try:
                            await keeper.fetch(each, copy.fileno())
                        except BaseException:
                            path.unlink(missing_ok=True)
                            raise
                    done.append({**file_shape(each, core.config), "copy": str(path)})
                return done


def _new_file(path: Path) -> Any:
    """A file that was not there before: nothing of the user's is written over."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb")
    except FileExistsError:
        raise Conflict(f"{path} is there already.", "name another folder with --to") from None
    except OSError as error:
        raise Unavailable("disk", f"{path} cannot be written: {error.strerror}.") from error


def _table(shown: list[dict[str, Any]]) -> RenderableType:
    if not shown:
        return Text("This run left no files.")
    table = plain_table("name", "kind", "size", "where")
    for each in shown:
        where = each["note"] if each["state"] == "missing" else each["link"] or each["path"] or each["location"]
        table.add_row(each["name"], each["kind"], size_text(each["size_bytes"]), str(where or "lost"))
    return table


def _copied(copied: list[dict[str, Any]]) -> RenderableType:
    return Group(*(Text(f"✓ {each['copy']} ({size_text(each['size_bytes'])})") for each in copied))
