"""Options that complete themselves, and the form for what is still missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discord import app_commands

from ccdtasks.bot import text
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.cards.status import look_of
from ccdtasks.core.runs import RunRow
from ccdtasks.db.enums import RunStatus
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
