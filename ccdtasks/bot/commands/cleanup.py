"""Cleaning up what nobody needs any more: a look first, then a button."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import discord
from discord import app_commands

from ccdtasks.bot import cards
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.messages import reply
from ccdtasks.bot.params import TaskName, complete_cleanup
from ccdtasks.core.figures.cleanups import Wanted

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot


@app_commands.command(name="task-cleanup", description="Remove old runs of a task; you see first what would go")
@app_commands.describe(
    task="Which task; deleted ones come last",
    older_than_days="Runs older than so many days",
    keep_last="All but the latest so many runs",
    what="Whole runs, or only their files",
    failed_only="Only runs that failed",
    threads="What becomes of their threads",
)
@app_commands.autocomplete(task=complete_cleanup)
async def task_cleanup(  # noqa: PLR0917 - discord.py passes them by name
    interaction: discord.Interaction[Bot],
    task: TaskName,
    older_than_days: app_commands.Range[int, 0, 36_500] | None = None,
    keep_last: app_commands.Range[int, 0, 1_000_000] | None = None,
    what: Literal["runs", "files"] = "runs",
    failed_only: bool = False,
    threads: Literal["archive", "delete"] = "archive",
) -> None:
    """Says exactly what would go; nothing is ever removed by itself."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    wanted = Wanted(older_than_days, keep_last, what == "files", failed_only, threads == "delete")
    plan = await interaction.client.core.cleanups.plan(actor_of(interaction), task, wanted)
    await reply(interaction, cards.cleanup.ask(plan))


COMMANDS: tuple[app_commands.Command[Any, ..., None], ...] = (task_cleanup,)
