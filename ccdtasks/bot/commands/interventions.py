"""Runs that wait for a person: say that it is done, or answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from ccdtasks.bot import text
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.answering import tell
from ccdtasks.bot.params import RunId
from ccdtasks.core.ending.interventions import MAX_TEXT, Answer

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot

Words = app_commands.Range[str, 1, MAX_TEXT]


async def complete_asking(interaction: discord.Interaction[Bot], typed: str) -> list[app_commands.Choice[str]]:
    """The runs that wait for the caller, with what they ask; the value is the run's id."""
    wanted = typed.strip().casefold()
    found = await interaction.client.core.interventions.waiting(actor_of(interaction), limit=100)
    choices = {
        str(each.run.id): app_commands.Choice(
            name=text.clamp(f"✋ {text.clamp(each.task_name, 40)}: {text.visible(each.request.text)}", text.CHOICE),
            value=str(each.run.id),
        )
        for each in found
        if wanted in each.task_name.casefold() or str(each.run.id).startswith(wanted)
    }
    return list(choices.values())[:25]


@app_commands.command(name="task-continue", description="Tell a waiting run that you are done, or answer it")
@app_commands.describe(session="The session id of the run that waits", answer="Your answer, when it asks a question")
@app_commands.autocomplete(session=complete_asking)
async def task_continue(interaction: discord.Interaction[Bot], session: RunId, answer: Words = "") -> None:
    """The latest thing that it asks."""
    await tell(interaction, session, Answer("answered", answer) if answer else Answer("done"))


@app_commands.command(name="task-intervention-resolve", description="The same as /task-continue")
@app_commands.describe(session="The session id of the run that waits", answer="Your answer, when it asks a question")
@app_commands.autocomplete(session=complete_asking)
async def task_intervention_resolve(interaction: discord.Interaction[Bot], session: RunId, answer: Words = "") -> None:
    """The latest thing that it asks."""
    await tell(interaction, session, Answer("answered", answer) if answer else Answer("done"))


COMMANDS: tuple[app_commands.Command[Any, ..., None], ...] = (task_continue, task_intervention_resolve)
