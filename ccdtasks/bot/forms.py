"""The form that asks for missing values, and the start behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import discord

from ccdtasks.bot import text
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.handling import handled
from ccdtasks.bot.messages import reply_started
from ccdtasks.bot.params import parse_lines
from ccdtasks.core.definition.parameters import MAX_VALUE, Parameter
from ccdtasks.db.enums import Trigger
from ccdtasks.db.models import Task

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot

FIELDS = 5
"""Discord's forms have no more."""
_LINES = "lines"
_LONGEST = 4000


class MissingValues(discord.ui.Modal):
    """One field a parameter; for more than five, one large field with a line each."""

    def __init__(self, task: Task, given: Mapping[str, str], lacking: Sequence[Parameter]) -> None:
        super().__init__(title=text.clamp(f"Start {task.task_name}", text.MODAL_TITLE), timeout=900)
        self._task = task
        self._given = dict(given)
        self._fields = {each.name: _field(each) for each in lacking} if len(lacking) <= FIELDS else {}
        if not self._fields:
            self._fields[_LINES] = _lines(lacking)
        for label in self._fields.values():
            self.add_item(label)

    async def on_submit(self, interaction: discord.Interaction[Any]) -> None:
        """Starts the task with what was given before and what was typed now."""
        typed = {name: cast("discord.ui.TextInput[Any]", label.component).value for name, label in self._fields.items()}
        bot_interaction = cast("discord.Interaction[Bot]", interaction)

        async def act() -> None:
            values = parse_lines(typed[_LINES]) if _LINES in typed else typed
            await start(bot_interaction, self._task, self._given | values)

        await handled(bot_interaction, "modal", "task-start", {"task": self._task.task_name, **typed}, act)


async def ask_missing(
    interaction: discord.Interaction[Bot], task: Task, given: Mapping[str, str], lacking: Sequence[Parameter]
) -> None:
    """Opens the form. It must be the first answer to the interaction."""
    await interaction.response.send_modal(MissingValues(task, given, lacking))


async def start(interaction: discord.Interaction[Bot], task: Task, values: Mapping[str, str]) -> None:
    """Starts a run and tells where to follow it."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    begun = await interaction.client.core.runs.start(actor_of(interaction), task.task_name, values, Trigger.MANUAL)
    await reply_started(interaction, begun, task)


def _field(parameter: Parameter) -> discord.ui.Label[Any]:
    hint = f"One of: {', '.join(parameter.choices)}" if parameter.choices else ""
    entry: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id=parameter.name, placeholder=text.clamp(hint, text.PLACEHOLDER) or None, max_length=MAX_VALUE
    )
    return discord.ui.Label(
        text=text.clamp(parameter.name, text.MODAL_LABEL),
        description=text.clamp(parameter.description, 100) or None,
        component=entry,
    )


def _lines(lacking: Sequence[Parameter]) -> discord.ui.Label[Any]:
    entry: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id=_LINES,
        style=discord.TextStyle.paragraph,
        default="\n".join(f"{each.name}: " for each in lacking),
        max_length=_LONGEST,
    )
    return discord.ui.Label(text="The missing values", description="One line each, behind the colon", component=entry)
