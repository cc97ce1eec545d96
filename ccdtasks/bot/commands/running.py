"""Runs: start one, stop it, read its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from ccdtasks.bot import cards
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.forms import ask_missing, start
from ccdtasks.bot.messages import reply
from ccdtasks.bot.params import RunId, TaskName, Values, complete_run, complete_task, complete_values
from ccdtasks.bot.views import log_of
from ccdtasks.core.definition.parameters import from_rows, missing
from ccdtasks.core.definition.values import parse_values

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot


@app_commands.command(name="task-start", description="Run a task now")
@app_commands.describe(task="Which task", values='Its values, like origin:SFO dates:"Feb 15-22"')
@app_commands.autocomplete(task=complete_task, values=complete_values)
async def task_start(interaction: discord.Interaction[Bot], task: TaskName, values: Values = "") -> None:
    """A form asks for what is missing; Discord takes one only as the very first answer, so we look before we defer."""
    given = parse_values(values)
    found = await interaction.client.core.tasks.find(actor_of(interaction), task)
    lacking = missing(from_rows(found.required_parameters, found.optional_parameters), given)
    if lacking:
        await ask_missing(interaction, found, given, lacking)
    else:
        await start(interaction, found, given)


@app_commands.command(name="task-stop", description="Stop a run; what it found so far is kept")
@app_commands.describe(
    task="The task, or the session id of one run", force="Kill it at once instead of letting it finish"
)
@app_commands.autocomplete(task=complete_task)
async def task_stop(interaction: discord.Interaction[Bot], task: TaskName, force: bool = False) -> None:
    """In good order, or at once."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    core = interaction.client.core
    run = await core.runs.stop(actor_of(interaction), task, force)
    name = (await core.tasks.load(run.task_id)).task_name
    await reply(interaction, cards.task.stopping(run, name))


@app_commands.command(name="task-logs", description="The log of a run, as a file")
@app_commands.describe(session="The session id of the run, or its first letters")
@app_commands.autocomplete(session=complete_run)
async def task_logs(interaction: discord.Interaction[Bot], session: RunId) -> None:
    """What the agent said and did, what the browser loaded, what went wrong."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    await reply(interaction, await log_of(interaction, session))


COMMANDS: tuple[app_commands.Command[Any, ..., None], ...] = (task_start, task_stop, task_logs)
