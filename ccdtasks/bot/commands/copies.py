"""Copies: a task beside another one, out to a file, and back from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from ccdtasks.bot import cards
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.copying import file_text, make
from ccdtasks.bot.messages import reply
from ccdtasks.bot.params import TaskName, complete_task

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot


@app_commands.command(name="task-clone", description="Make a second task like another one, with a channel of its own")
@app_commands.describe(task="Which task", new_name="The name of the new one")
@app_commands.autocomplete(task=complete_task)
async def task_clone(
    interaction: discord.Interaction[Bot], task: TaskName, new_name: app_commands.Range[str, 1, 100]
) -> None:
    """Everything but its runs and what it runs after; its schedule rests until it is resumed."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    definition = await interaction.client.core.definitions.clone(actor_of(interaction), task, new_name)
    await make(interaction, definition)


@app_commands.command(name="task-export", description="A task as a file: to keep it, share it, or take it elsewhere")
@app_commands.describe(task="Which task")
@app_commands.autocomplete(task=complete_task)
async def task_export(interaction: discord.Interaction[Bot], task: TaskName) -> None:
    """The JSON that /task-import reads."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    document = await interaction.client.core.definitions.export(actor_of(interaction), task)
    await reply(interaction, cards.copies.exported(document))


@app_commands.command(name="task-import", description="Make a task from a file that /task-export made")
@app_commands.describe(file="The .json file", new_name="Another name than the one in the file")
async def task_import(
    interaction: discord.Interaction[Bot],
    file: discord.Attachment,
    new_name: app_commands.Range[str, 1, 100] | None = None,
) -> None:
    """All of it or nothing; its schedule rests until it is resumed."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    written = await file_text(file)
    definition = await interaction.client.core.definitions.read(actor_of(interaction), written, new_name)
    await make(interaction, definition)


COMMANDS: tuple[app_commands.Command[Any, ..., None], ...] = (task_clone, task_export, task_import)
