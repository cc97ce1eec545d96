"""The forms in which a task is changed: one field with its value of today, or all settings as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import discord

from ccdtasks.bot import cards, text
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.handling import handled
from ccdtasks.bot.messages import reply
from ccdtasks.core.definition.fields import Field, typed, value_of
from ccdtasks.core.definition.values import parse_values
from ccdtasks.core.tasks.settingsjson import difference, read_object, settings, settings_text
from ccdtasks.db.models import Task
from ccdtasks.errors import Invalid

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot

LONGEST = 4000
"""Discord's limit for one field of a form."""
_KEPT_S = 900


@dataclass(frozen=True, slots=True)
class _Ask:
    """What a form asks for. `read`: what was typed, as `Tasks.edit` takes it."""

    task_name: str
    title: str
    label: str
    meaning: str
    read: Callable[[str], Mapping[str, Any]]
    placeholder: str = ""
    is_long: bool = True
    is_required: bool = True


class EditForm(discord.ui.Modal):
    """A form with one text. What cannot be taken is not lost: a button leads back to the form as it was sent."""

    def __init__(self, ask: _Ask, written: str) -> None:
        super().__init__(title=text.clamp(ask.title, text.MODAL_TITLE), timeout=_KEPT_S)
        self._ask = ask
        self._entry: discord.ui.TextInput[Any] = discord.ui.TextInput(
            custom_id="value",
            style=discord.TextStyle.paragraph if ask.is_long else discord.TextStyle.short,
            default=written or None,
            placeholder=text.clamp(ask.placeholder, text.PLACEHOLDER) or None,
            required=ask.is_required,
            max_length=LONGEST,
        )
        description = text.clamp(ask.meaning, 100) or None
        self.add_item(
            discord.ui.Label(
                text=text.clamp(ask.label, text.MODAL_LABEL), description=description, component=self._entry
            )
        )

    async def on_submit(self, interaction: discord.Interaction[Any]) -> None:
        """Makes the change, or keeps what was typed."""
        bot_interaction = cast("discord.Interaction[Bot]", interaction)
        done: list[bool] = []

        async def act() -> None:
            await change(bot_interaction, self._ask.task_name, self._ask.read(self._entry.value))
            done.append(True)

        await handled(bot_interaction, "modal", "task-edit", {"task": self._ask.task_name}, act)
        if not done:
            await bot_interaction.followup.send(view=_BackToForm(self._ask, self._entry.value), ephemeral=True)


class _BackToForm(discord.ui.View):
    """Opens a form again with what was typed into it."""

    def __init__(self, ask: _Ask, written: str) -> None:
        super().__init__(timeout=_KEPT_S)
        self._ask = ask
        self._written = written

    @discord.ui.button(label="Back to what I typed")
    async def back(self, interaction: discord.Interaction[Any], _button: discord.ui.Button[Any]) -> None:
        """Only who typed it sees this button."""
        await interaction.response.send_modal(EditForm(self._ask, self._written))


def field_form(task: Task, field: Field) -> EditForm:
    """One field with its value of today."""
    before = {"values": dict(task.schedule_parameters)}

    def read(written: str) -> Mapping[str, Any]:
        if field.kind == "values":  # what was taken out of the form is to go
            return difference(before, {"values": parse_values(written)})
        return {field.name: written}

    ask = _Ask(
        task_name=task.task_name,
        title=f"Change {task.task_name}",
        label=field.name,
        meaning=field.meaning,
        read=read,
        placeholder=" or ".join(field.choices),
        is_long=field.place != "config" or field.kind == "list",
        is_required=field.name == "prompt",
    )
    return EditForm(ask, _fitting(typed(field, value_of(task, field)), f"The {field.name}", task))


def settings_form(task: Task) -> EditForm:
    """All settings as JSON. Only what was changed in the form is changed in the task."""
    before = settings(task)
    ask = _Ask(
        task_name=task.task_name,
        title=f"Settings of {task.task_name}",
        label="Settings as JSON",
        meaning="null: as the server says; what you take out goes back to its default",
        read=lambda written: difference(before, read_object(written)),
    )
    return EditForm(ask, _fitting(settings_text(before), "All of the settings", task))


async def change(interaction: discord.Interaction[Bot], task_name: str, changes: Mapping[str, Any]) -> None:
    """Changes a task, says what became of it, and gives its channel a topic that fits."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    bot = interaction.client
    made = await bot.core.tasks.edit(actor_of(interaction), task_name, changes)
    await reply(interaction, cards.editing.edited(made, bot.config))
    if any(each.field in ("prompt", "description") for each in made.changes):
        await bot.places.describe(made.task)


def _fitting(written: str, what: str, task: Task) -> str:
    """The text, when a form of Discord can hold it."""
    if len(written) > LONGEST:
        raise Invalid(
            "value",
            f"{what} is longer than the {LONGEST:,} characters that Discord's form takes.",
            f"on the box: ccdtasks task edit {task.task_name} --set NAME=VALUE",
        )
    return written
