"""Changes: of one field, or of all settings at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import discord
from discord import app_commands

from ccdtasks.bot import cards
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.editing import change, field_form, settings_form
from ccdtasks.bot.messages import reply
from ccdtasks.bot.params import TaskName, complete_field, complete_task, complete_value
from ccdtasks.core.definition.fields import find_field, parameter_names
from ccdtasks.core.tasks.settingsjson import settings, settings_text
from ccdtasks.errors import Invalid

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot


@app_commands.command(name="task-edit", description="Change a task: what it does, its limits, when it calls you")
@app_commands.describe(
    task="Which task",
    field="What to change; leave it out to see everything that can be changed",
    value="The new value, default for the usual one; leave it out and a form opens",
)
@app_commands.autocomplete(task=complete_task, field=complete_field, value=complete_value)
async def task_edit(
    interaction: discord.Interaction[Bot],
    task: TaskName,
    field: app_commands.Range[str, 1, 100] | None = None,
    value: app_commands.Range[str, 1, 6000] | None = None,
) -> None:
    """Discord takes a form only as the very first answer, so we look before we defer."""
    if field and value:
        await change(interaction, task, {field: value})
        return
    if value:
        raise Invalid("field", "Which field should get this value?", f"/task-edit {task} lists them all")
    found = await interaction.client.core.tasks.find(actor_of(interaction), task)
    if field:
        wanted = find_field(parameter_names(found), field, found.task_name)
        await interaction.response.send_modal(field_form(found, wanted))
    else:
        await reply(interaction, cards.editing.fields(found, interaction.client.config))


@app_commands.command(name="task-config", description="All settings of a task as JSON, to read or to change")
@app_commands.describe(task="Which task", action="show (the usual), or edit in a form")
@app_commands.autocomplete(task=complete_task)
async def task_config(
    interaction: discord.Interaction[Bot], task: TaskName, action: Literal["show", "edit"] = "show"
) -> None:
    """For people who like to see everything at once."""
    found = await interaction.client.core.tasks.find(actor_of(interaction), task)
    if action == "edit":
        await interaction.response.send_modal(settings_form(found))
    else:
        await reply(interaction, cards.editing.settings(found, settings_text(settings(found))))


COMMANDS: tuple[app_commands.Command[Any, ..., None], ...] = (task_edit, task_config)
