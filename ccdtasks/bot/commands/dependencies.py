"""Dependencies: let a task run after others, and see what runs after what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from ccdtasks.bot import cards
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.messages import reply
from ccdtasks.bot.params import TaskName, Values, complete_task
from ccdtasks.bot.pictures import picture_of
from ccdtasks.core.tasks.dependencies import Mode

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot


@app_commands.command(name="task-depends-on", description="Let a task run each time that another one is done")
@app_commands.describe(
    task="Which task is to run by itself",
    depends_on="After which other task",
    required="Only if that one completed (otherwise also when it failed)",
    mode="With several: after all of them, or after the first",
    values="Its values, like input_file:@scrape-news/output_file",
)
@app_commands.autocomplete(task=complete_task, depends_on=complete_task)
async def task_depends_on(  # noqa: PLR0917 - discord.py passes them by name
    interaction: discord.Interaction[Bot],
    task: TaskName,
    depends_on: TaskName,
    required: bool = True,
    mode: Mode | None = None,
    values: Values = "",
) -> None:
    """Adding a pair again changes it."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    dependencies, actor = interaction.client.core.dependencies, actor_of(interaction)
    change = await dependencies.add(actor, task, depends_on, required=required, mode=mode, values=values)
    await reply(interaction, cards.dependencies.added(change))


@app_commands.command(name="task-depends-remove", description="Let a task no longer run after another one")
@app_commands.describe(task="Which task ran by itself", depends_on="After which other task")
@app_commands.autocomplete(task=complete_task, depends_on=complete_task)
async def task_depends_remove(interaction: discord.Interaction[Bot], task: TaskName, depends_on: TaskName) -> None:
    """A run that waits only for the other task ends."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    change = await interaction.client.core.dependencies.remove(actor_of(interaction), task, depends_on)
    await reply(interaction, cards.dependencies.removed(change))


@app_commands.command(name="task-dependencies", description="What a task runs after, and what runs after it")
@app_commands.describe(task="Which task")
@app_commands.autocomplete(task=complete_task)
async def task_dependencies(interaction: discord.Interaction[Bot], task: TaskName) -> None:
    """The tree in words and as a picture."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    found = await interaction.client.core.dependencies.tree(actor_of(interaction), task)
    picture = await picture_of(interaction.client, found)
    await reply(interaction, cards.dependencies.tree(found, picture))


COMMANDS: tuple[app_commands.Command[Any, ..., None], ...] = (task_depends_on, task_depends_remove, task_dependencies)
