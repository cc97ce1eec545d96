"""Adjust: a form with the values of a run, and a new run with what somebody made of them; outlives a restart."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import discord

from ccdtasks.bot import text
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.handling import handled
from ccdtasks.bot.messages import reply_started
from ccdtasks.bot.params import parse_lines
from ccdtasks.bot.views import UUID_PATTERN, PersistentButton
from ccdtasks.core.definition.parameters import MAX_VALUE, Parameter, from_rows
from ccdtasks.db.models import Task
from ccdtasks.errors import Conflict

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot

_ID = rf"run:adjust:(?P<run_id>{UUID_PATTERN})"
_FORM = re.compile(_ID)
_FIELDS = 5
_LINES = "lines"
_LONGEST = 4000


class Adjust(PersistentButton, template=_ID):
    """Opens the form, which must be the first answer, to somebody who may run the task."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        core = interaction.client.core
        run = await core.runs.find(actor_of(interaction), self.match["run_id"])
        task = await core.tasks.load(run.task_id)
        _require_there(task)
        await interaction.response.send_modal(_form(self.match.string, task, run.parameters))


async def take_form(interaction: discord.Interaction[Any]) -> None:
    """Starts a run with the values of a form, whichever process opened it; ignores any other interaction."""
    data = cast("dict[str, Any]", interaction.data or {})
    match = _FORM.fullmatch(str(data.get("custom_id", "")))
    if interaction.type is not discord.InteractionType.modal_submit or match is None:
        return
    bot_interaction = cast("discord.Interaction[Bot]", interaction)
    typed = {str(each["component"]["custom_id"]): str(each["component"]["value"]) for each in data["components"]}
    await handled(bot_interaction, "modal", match.string, typed, lambda: _start(bot_interaction, match, typed))


async def _start(interaction: discord.Interaction[Bot], match: re.Match[str], typed: Mapping[str, str]) -> None:
    await interaction.response.defer(ephemeral=True, thinking=True)
    core, actor = interaction.client.core, actor_of(interaction)
    run = await core.runs.find(actor, match["run_id"])
    task = await core.tasks.load(run.task_id)
    values = parse_lines(typed[_LINES]) if _LINES in typed else _without_cleared(_parameters(task), typed)
    begun = await core.runs.again(actor, UUID(match["run_id"]), values)
    await reply_started(interaction, begun, task)


def _without_cleared(parameters: Sequence[Parameter], typed: Mapping[str, str]) -> dict[str, str]:
    """A field that somebody emptied means the default, where there is one."""
    defaults = {each.name: each.default for each in parameters if each.default is not None}
    return {name: value or defaults.get(name, "") for name, value in typed.items()}


def _form(custom_id: str, task: Task, values: Mapping[str, Any]) -> discord.ui.Modal:
    modal = discord.ui.Modal(title=text.clamp(f"Adjust {task.task_name}", text.MODAL_TITLE), custom_id=custom_id)
    parameters = _parameters(task)
    if not parameters:
        raise Conflict(f"{task.task_name} takes no values any more.", "press Run Again")
    shown = {each.name: str(values.get(each.name, each.default or "")) for each in parameters}
    fields = [_field(each, shown[each.name]) for each in parameters] if len(shown) <= _FIELDS else [_lines(shown)]
    for field in fields:
        modal.add_item(field)
    modal.stop()  # discord.py need not keep it: `take_form` knows it by its id
    return modal


def _field(parameter: Parameter, value: str) -> discord.ui.Label[Any]:
    entry: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id=parameter.name,
        style=discord.TextStyle.paragraph
        if len(value) > text.PLACEHOLDER or "\n" in value
        else discord.TextStyle.short,
        default=value or None,
        required=parameter.is_required and bool(value),
        max_length=MAX_VALUE,
    )
    hint = parameter.description or (f"One of: {', '.join(parameter.choices)}" if parameter.choices else "")
    return discord.ui.Label(
        text=text.clamp(parameter.name, text.MODAL_LABEL), description=text.clamp(hint, 100) or None, component=entry
    )


def _lines(values: Mapping[str, str]) -> discord.ui.Label[Any]:
    """One value a line; what does not fit in a line, or in the form, stays as it was."""
    lines: list[str] = []
    for name, value in values.items():
        line = f"{name}: {value}"
        if "\n" not in value and sum(map(len, lines)) + len(lines) + len(line) <= _LONGEST:
            lines.append(line)
    entry: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id=_LINES,
        style=discord.TextStyle.paragraph,
        default="\n".join(lines),
        required=False,
        max_length=_LONGEST,
    )
    return discord.ui.Label(text="The values", description="One line each; what is left out stays", component=entry)


def _parameters(task: Task) -> list[Parameter]:
    return [*from_rows(task.required_parameters, task.optional_parameters)]


def _require_there(task: Task) -> None:
    if task.deleted_at:
        raise Conflict(f"{task.task_name} was deleted.", "/task-create makes a new one")


BUTTONS: tuple[type[PersistentButton], ...] = (Adjust,)
