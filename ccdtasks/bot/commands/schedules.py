"""Schedules: let a task run by itself, stop that, and pause it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from ccdtasks.bot import cards
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.messages import reply
from ccdtasks.bot.params import TaskName, Values, complete_task, complete_timezone, complete_values

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot


@app_commands.command(name="task-schedule", description="Let a task run by itself, or see when it does and did")
@app_commands.describe(
    task="Which task",
    when="Cron like 0 9 * * 1-5 or @daily; or once: at 2026-12-24 09:00, tomorrow 9:00, in 2h 30m",
    timezone="Whose clock; start typing a city. Left out: as before, else your own",
    values='Kept for its scheduled runs, like origin:SFO dates:"Feb 15-22"',
)
@app_commands.autocomplete(task=complete_task, timezone=complete_timezone, values=complete_values)
async def task_schedule(
    interaction: discord.Interaction[Bot],
    task: TaskName,
    when: app_commands.Range[str, 1, 100] | None = None,
    timezone: app_commands.Range[str, 1, 60] | None = None,
    values: Values = "",
) -> None:
    """Said back in words, with the next five times, so that a mistake shows. With a task alone: as it stands."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    core, actor = interaction.client.core, actor_of(interaction)
    if when is timezone is None and not values:
        await reply(interaction, cards.schedule.shown(await core.schedules.show(actor, task)))
        return
    made = await core.schedules.set(actor, task, when, timezone, values)
    await reply(interaction, cards.schedule.scheduled(made, await core.dependencies.followers(made.task.id)))


@app_commands.command(name="task-schedule-remove", description="Take a task's schedule away; the task stays")
@app_commands.describe(task="Which task")
@app_commands.autocomplete(task=complete_task)
async def task_schedule_remove(interaction: discord.Interaction[Bot], task: TaskName) -> None:
    """From then on it runs by hand only."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    found = await interaction.client.core.schedules.remove(actor_of(interaction), task)
    await reply(interaction, cards.schedule.removed(found))


@app_commands.command(name="task-pause", description="Let a task rest: it does not start by itself until you resume it")
@app_commands.describe(task="Which task")
@app_commands.autocomplete(task=complete_task)
async def task_pause(interaction: discord.Interaction[Bot], task: TaskName) -> None:
    """A run that goes on is not stopped. When others run after it, a button does it."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    core, actor = interaction.client.core, actor_of(interaction)
    found = await core.tasks.find(actor, task)
    broken = await core.dependencies.broken_by(found.id, "pause")
    if broken and not found.paused:
        await reply(interaction, cards.task.ask_pause(found, broken))
    else:
        await reply(interaction, cards.schedule.paused(await core.schedules.pause(actor, task)))


@app_commands.command(name="task-resume", description="Let a paused task go on")
@app_commands.describe(task="Which task")
@app_commands.autocomplete(task=complete_task)
async def task_resume(interaction: discord.Interaction[Bot], task: TaskName) -> None:
    """What it missed meanwhile is not made up for."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    found = await interaction.client.core.schedules.resume(actor_of(interaction), task)
    await reply(interaction, cards.schedule.resumed(found))


COMMANDS: tuple[app_commands.Command[Any, ..., None], ...] = (
    task_schedule,
    task_schedule_remove,
    task_pause,
    task_resume,
)
