"""Tasks: make one, list them, see how they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from ccdtasks.bot import cards
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.messages import reply
from ccdtasks.bot.params import TaskName, complete_task
from ccdtasks.core.definition.categories import CATEGORIES
from ccdtasks.core.tasks.tasks import TaskDraft, TaskFilter

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot


@app_commands.command(name="task-create", description="Describe a chore once, then run it whenever you like")
@app_commands.describe(
    name="A short name, like ticket-checker; its channel gets it too",
    prompt="What to do, in plain words; {origin} is asked for, {limit=500} has a default",
    type="Which category it belongs to; guessed from your words if you leave it out",
    description="A line for the channel's topic",
)
@app_commands.choices(type=[app_commands.Choice(name=each.name, value=each.task_type) for each in CATEGORIES])
async def task_create(
    interaction: discord.Interaction[Bot],
    name: app_commands.Range[str, 1, 100],
    prompt: app_commands.Range[str, 1, 6000],
    type: str | None = None,
    description: app_commands.Range[str, 1, 1000] | None = None,
) -> None:
    """A channel that cannot be made leaves no task, a task that cannot be made leaves no channel."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    bot, actor = interaction.client, actor_of(interaction)
    draft = TaskDraft(name=name, prompt=prompt, task_type=type, description=description)
    await bot.core.tasks.check(actor, draft)
    async with bot.places.lent(draft) as place:
        task = await bot.core.tasks.create(actor, draft, place)
    await reply(interaction, cards.task.created(task, place.channel_id))


@app_commands.command(name="task-list", description="Your tasks: what they do and how the last runs went")
@app_commands.describe(filter="Only some of them")
async def task_list(interaction: discord.Interaction[Bot], filter: TaskFilter = "all") -> None:
    """One page; a button turns to the next."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    found = await interaction.client.core.tasks.page(actor_of(interaction), filter, None, cards.task.PAGE)
    await reply(interaction, cards.task.page(filter, found, is_first=True))


@app_commands.command(name="task-status", description="What runs now, or how one task stands")
@app_commands.describe(task="The task; leave it out to see everything that goes on")
@app_commands.autocomplete(task=complete_task)
async def task_status(interaction: discord.Interaction[Bot], task: TaskName | None = None) -> None:
    """One task with its latest runs, or all that goes on."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    found = await interaction.client.core.runs.status(actor_of(interaction), task)
    await reply(interaction, cards.task.status(found))


@app_commands.command(name="task-delete", description="Delete a task; you are asked first")
@app_commands.describe(task="Which task")
@app_commands.autocomplete(task=complete_task)
async def task_delete(interaction: discord.Interaction[Bot], task: TaskName) -> None:
    """Says what goes, what stays and what hangs on it; a button does it."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    core = interaction.client.core
    found = await core.tasks.find(actor_of(interaction), task)
    broken = await core.dependencies.broken_by(found.id, "delete")
    await reply(interaction, cards.task.ask_delete(found, broken))


COMMANDS: tuple[app_commands.Command[Any, ..., None], ...] = (task_create, task_list, task_status, task_delete)
