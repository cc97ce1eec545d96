"""Options that complete themselves, and the form for what is still missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discord import app_commands

from ccdtasks.bot import text
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.cards.status import look_of
from ccdtasks.core.definition.fields import Field, fields_of, parameter_names
from ccdtasks.core.definition.parameters import from_rows
from ccdtasks.core.definition.values import completions
from ccdtasks.core.runs.runs import RunRow
from ccdtasks.db.enums import RunStatus
from ccdtasks.db.models import Task
from ccdtasks.errors import Invalid

if TYPE_CHECKING:
    import discord

    from ccdtasks.bot.client import Bot

TaskName = app_commands.Range[str, 1, 100]
RunId = app_commands.Range[str, 1, 100]
Values = app_commands.Range[str, 1, 6000]


async def complete_task(interaction: discord.Interaction[Bot], typed: str) -> list[app_commands.Choice[str]]:
    """The caller's task names that begin with what was typed, then those that contain it."""
    names = await interaction.client.core.tasks.names(actor_of(interaction), typed, limit=25)
    return [app_commands.Choice(name=name, value=name) for name in names if len(name) <= text.CHOICE]


async def complete_cleanup(interaction: discord.Interaction[Bot], typed: str) -> list[app_commands.Choice[str]]:
    """The caller's tasks, then deleted ones that still have runs; the value of these is their id."""
    found = await complete_task(interaction, typed)
    for task in await interaction.client.core.cleanups.deleted(actor_of(interaction), typed, limit=25):
        name = f"{text.clamp(task.task_name, 60)}, deleted {task.deleted_at:%Y-%m-%d %H:%M} UTC"
        found.append(app_commands.Choice(name=name, value=str(task.id)))
    return found[:25]


async def complete_timezone(interaction: discord.Interaction[Bot], typed: str) -> list[app_commands.Choice[str]]:
    """Timezones whose city begins with what was typed, then those that contain it."""
    names = await interaction.client.core.schedules.timezones(typed, limit=25)
    return [app_commands.Choice(name=name, value=name) for name in names]


async def complete_run(interaction: discord.Interaction[Bot], typed: str) -> list[app_commands.Choice[str]]:
    """The caller's latest runs by task name; the value is the run's id."""
    return await _complete(interaction, typed, None)


async def complete_failed(interaction: discord.Interaction[Bot], typed: str) -> list[app_commands.Choice[str]]:
    """The caller's latest failed runs."""
    return await _complete(interaction, typed, RunStatus.FAILED)


async def complete_waiting(interaction: discord.Interaction[Bot], typed: str) -> list[app_commands.Choice[str]]:
    """The caller's runs in the queue; an admin's are everybody's."""
    return await _complete(interaction, typed, RunStatus.QUEUED)


async def complete_field(interaction: discord.Interaction[Bot], typed: str) -> list[app_commands.Choice[str]]:
    """What can be changed of the task that was chosen, with what it means."""
    task = await _chosen(interaction)
    wanted = typed.strip().casefold().replace(" ", "_")
    fields = [each for each in fields_of(parameter_names(task) if task else ()) if _fits(each, wanted)]
    return [
        app_commands.Choice(name=text.clamp(f"{each.name}: {each.meaning}", text.CHOICE), value=each.name)
        for each in fields[:25]
    ]


async def complete_value(interaction: discord.Interaction[Bot], typed: str) -> list[app_commands.Choice[str]]:
    """The words that the chosen field takes, where it takes words; anything else is typed."""
    chosen = str(interaction.namespace.field or "").strip().casefold()
    words = next((each.choices for each in fields_of(()) if chosen in (each.name, *each.aliases)), ())
    wanted = typed.strip().casefold()
    return [app_commands.Choice(name=word, value=word) for word in words if wanted in word]


async def complete_values(interaction: discord.Interaction[Bot], typed: str) -> list[app_commands.Choice[str]]:
    """The chosen task's next parameter behind what was typed, or the choices of the one that is being typed."""
    task = await _chosen(interaction)
    lines = completions(typed, from_rows(task.required_parameters, task.optional_parameters)) if task else []
    return [app_commands.Choice(name=line, value=line) for line in lines if 0 < len(line) <= text.CHOICE][:25]


async def _chosen(interaction: discord.Interaction[Bot]) -> Task | None:
    """The task that stands in the command so far."""
    name = str(interaction.namespace.task or "")
    return await interaction.client.core.tasks.peek(actor_of(interaction), name) if name else None


def _fits(field: Field, wanted: str) -> bool:
    return any(wanted in name for name in (field.name, *field.aliases))


async def _complete(
    interaction: discord.Interaction[Bot], typed: str, status: RunStatus | None
) -> list[app_commands.Choice[str]]:
    found = await interaction.client.core.runs.page(actor_of(interaction), status=status, limit=100)
    wanted = typed.strip().casefold()
    rows = [row for row in found.rows if wanted in row.task_name.casefold() or str(row.run.id).startswith(wanted)]
    return [app_commands.Choice(name=_run_name(row), value=str(row.run.id)) for row in rows[:25]]


def _run_name(row: RunRow) -> str:
    look = look_of(row.run)
    name = text.clamp(row.task_name, 50)
    return text.clamp(f"{look.sign} {name} {look.word}, {row.run.created_at:%Y-%m-%d %H:%M} UTC", text.CHOICE)


def parse_lines(typed: str) -> dict[str, str]:
    """One `name: value` a line, as the form for many parameters shows them; empty values are left out."""
    values: dict[str, str] = {}
    for line in typed.splitlines():
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise Invalid(
                "parameters", f"{text.code(line, 60)} has no name in front.", "one line each, like origin: SFO"
            )
        if value.strip():
            values[name.strip()] = value.strip()
    return values
