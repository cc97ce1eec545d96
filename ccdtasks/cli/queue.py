"""`ccdtasks queue`, `ccdtasks queue list|move|clear`"""

from __future__ import annotations

import asyncio
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.text import Text

from ccdtasks.amounts import counted
from ccdtasks.cli.look import AMBER, plain_table, when
from ccdtasks.cli.service import opened
from ccdtasks.cli.shell import Shell, verb
from ccdtasks.core.access import SHELL
from ccdtasks.core.facts import Hold
from ccdtasks.core.runs.queue import MOVE_MAX, QueuePage, Waiting, WaitsFor

_ALL = 1000


@click.group(invoke_without_command=True)
@verb
@click.pass_context
def queue(context: click.Context) -> None:
    """Show the runs that wait for a session, reorder and clear them."""
    if context.invoked_subcommand is None:
        context.invoke(list_)


@click.command("list")
@verb
@click.pass_obj
def list_(shell: Shell) -> None:
    """Show the runs that wait, whose turn it is, and what they wait for."""
    found = asyncio.run(_page(shell))
    shell.show(_shape(found), lambda: _picture(found))


@click.command()
@click.argument("run")
@click.option("--to", type=click.IntRange(1, MOVE_MAX), default=1, show_default=True, help="Its new place in line.")
@verb
@click.pass_obj
def move(shell: Shell, run: str, to: int) -> None:
    """Put RUN elsewhere in the line, by the first digits of its id."""
    place = asyncio.run(_move(shell, run, to))
    shell.show({"place": place}, lambda: Text(f"✓ Run {run} is number {place} in line."))


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask first.")
@verb
@click.pass_obj
def clear(shell: Shell, yes: bool) -> None:
    """Cancel all runs that wait. Runs that have begun go on."""
    if not yes:
        click.confirm("Cancel all runs that wait, of all owners?", abort=True, err=True)
    count = asyncio.run(_clear(shell))
    said = f"■ {counted(count, 'waiting run')} {'was' if count == 1 else 'were'} cancelled."
    shell.show({"cancelled": count}, lambda: Text(said))


for _command in (list_, move, clear):
    queue.add_command(_command)


async def _page(shell: Shell) -> QueuePage:
    async with opened(shell) as core:
        return await core.queue.page(SHELL, 0, _ALL)


async def _move(shell: Shell, run: str, to: int) -> int:
    async with opened(shell) as core:
        return await core.queue.move(SHELL, run, to)


async def _clear(shell: Shell) -> int:
    async with opened(shell) as core:
        return await core.queue.clear(SHELL)


def _shape(found: QueuePage) -> dict[str, Any]:
    return {
        "total": found.total,
        "holds": [
            {
                "name": hold.name,
                "message": hold.message,
                "since": hold.since.isoformat(),
                "until": hold.until.isoformat() if hold.until else None,
            }
            for hold in found.holds
        ],
        "runs": [
            {
                "id": str(row.run.id),
                "task": row.task_name,
                "owner": row.run.owner_user_id,
                "place": row.place,
                "queued_at": row.run.queued_at.isoformat() if row.run.queued_at else None,
                "waits_for": row.waits_for.value,
                "not_before": row.run.not_before.isoformat() if row.run.not_before else None,
            }
            for row in found.rows
        ],
    }


def _picture(found: QueuePage) -> RenderableType:
    holds = [Text(f"✋ {_held(hold)}", style=AMBER) for hold in found.holds]
    if not found.rows:
        return Group(*holds, Text("No run waits."))
    table = plain_table("place", "run", "task", "owner", "since", "waits for")
    for row in found.rows:
        run, place = row.run, str(row.place or "")
        table.add_row(place, run.id.hex[:8], row.task_name or "", run.owner_user_id, when(run.queued_at), _why(row))
    return Group(*holds, table)


def _held(hold: Hold) -> str:
    if hold.until is None:
        return hold.message
    return f"{hold.message.rstrip('.')} until {when(hold.until)}; all runs wait."


def _why(row: Waiting) -> str:
    if row.waits_for is WaitsFor.TIME:
        return f"its next try, {when(row.run.not_before)}"
    return {WaitsFor.HOLD: "the hold", WaitsFor.TASK: "the task's run before it"}.get(row.waits_for, "a free session")
