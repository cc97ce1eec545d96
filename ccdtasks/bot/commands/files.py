"""Files: what a run left, and where to get it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from ccdtasks.bot.access import actor_of
from ccdtasks.bot.filing import files_page
from ccdtasks.bot.messages import reply
from ccdtasks.bot.params import RunId, complete_run

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot


@app_commands.command(name="task-files", description="The files of a run: size, kind, and a link to each")
@app_commands.describe(session="The session id of the run, or its first letters")
@app_commands.autocomplete(session=complete_run)
async def task_files(interaction: discord.Interaction[Bot], session: RunId) -> None:
    """A page at a time; what is missing says why."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    run = await interaction.client.core.runs.find(actor_of(interaction), session)
    await reply(interaction, await files_page(interaction, run.id, None))


COMMANDS: tuple[app_commands.Command[Any, ..., None], ...] = (task_files,)
