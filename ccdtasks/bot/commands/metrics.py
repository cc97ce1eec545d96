"""How tasks do: their histories, their figures, and the numbers that they find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from ccdtasks.bot import cards, text
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.charted import reply_charted
from ccdtasks.bot.messages import reply
from ccdtasks.bot.params import TaskName, complete_task
from ccdtasks.core.figures.metrics import Timeframe

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot

_TIMEFRAME = "Today, the last 7 days, the last 30 days, or all time"


async def complete_number(interaction: discord.Interaction[Bot], typed: str) -> list[app_commands.Choice[str]]:
    """The numbers in the latest results of the task that was chosen."""
    task = str(interaction.namespace.task or "")
    names = await interaction.client.core.metrics.value_names(actor_of(interaction), task, typed) if task else []
    return [app_commands.Choice(name=name, value=name) for name in names if len(name) <= text.CHOICE]


@app_commands.command(name="task-history", description="The runs of a task, the newest first")
@app_commands.describe(task="Which task", limit="How many on one page")
@app_commands.autocomplete(task=complete_task)
async def task_history(
    interaction: discord.Interaction[Bot],
    task: TaskName,
    limit: app_commands.Range[int, 1, 20] = cards.metrics.HISTORY,
) -> None:
    """One page; a button turns to older ones."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    core, actor = interaction.client.core, actor_of(interaction)
    found = await core.runs.page(actor, task, limit=limit)
    await reply(
        interaction, cards.metrics.history(await core.tasks.find(actor, task), found, limit=limit, is_first=True)
    )


@app_commands.command(name="task-metrics", description="How well a task does, how long it takes, what it uses")
@app_commands.describe(task="Which task; leave it out for all of them", timeframe=_TIMEFRAME)
@app_commands.autocomplete(task=complete_task)
async def task_metrics(
    interaction: discord.Interaction[Bot], task: TaskName | None = None, timeframe: Timeframe = "month"
) -> None:
    """Buttons show other times, and give the figures as a file."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    found = await interaction.client.core.metrics.of(actor_of(interaction), task, timeframe)
    await reply_charted(interaction, cards.metrics.report(found), cards.metrics.report_chart(found))


@app_commands.command(name="task-chart", description="A number that a task finds, over time")
@app_commands.describe(task="Which task", value="Which number of its results, like lowest_price", timeframe=_TIMEFRAME)
@app_commands.autocomplete(task=complete_task, value=complete_number)
async def task_chart(
    interaction: discord.Interaction[Bot],
    task: TaskName,
    value: app_commands.Range[str, 1, 100],
    timeframe: Timeframe = "month",
) -> None:
    """With the threshold of the task, if it has one, and the points as a file."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    found = await interaction.client.core.metrics.series(actor_of(interaction), task, value, timeframe)
    await reply_charted(
        interaction, cards.metrics.series(found, timeframe), cards.metrics.series_chart(found, timeframe)
    )


COMMANDS: tuple[app_commands.Command[Any, ..., None], ...] = (task_history, task_metrics, task_chart)
