"""The buttons below histories, figures and clean-ups; like all, they outlive restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast
from uuid import UUID

import discord

from ccdtasks.bot import cards
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.charted import turn_charted
from ccdtasks.bot.messages import reply, turn
from ccdtasks.bot.views import UUID_PATTERN, PersistentButton
from ccdtasks.core.figures.metrics import Report, Timeframe

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot

_WHOSE = rf"(?P<task>all|{UUID_PATTERN})"
_TIMEFRAME = "(?P<timeframe>day|week|month|all)"


class HistoryPage(
    PersistentButton,
    template=rf"history:(?P<task>{UUID_PATTERN}):(?P<limit>\d{{1,2}}):(?P<after>start|{UUID_PATTERN})",
):
    """Turns the history of a task to another page."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        core, actor = interaction.client.core, actor_of(interaction)
        task = await core.tasks.load(UUID(self.match["task"]))
        after, limit = self.match["after"], int(self.match["limit"])
        is_first = after == "start"
        found = await core.runs.page(actor, task.task_name, after=None if is_first else after, limit=limit)
        await turn(interaction, cards.metrics.history(task, found, limit=limit, is_first=is_first))


class OtherTime(PersistentButton, template=rf"metrics:{_TIMEFRAME}:{_WHOSE}"):
    """Shows the figures of another timeframe."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        found = await _report(interaction, self.match["task"], self.match["timeframe"])
        await turn_charted(interaction, cards.metrics.report(found), cards.metrics.report_chart(found))


class AsFile(PersistentButton, template=rf"metrics:csv:{_TIMEFRAME}:{_WHOSE}"):
    """Gives the figures as a file."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        found = await _report(interaction, self.match["task"], self.match["timeframe"])
        await reply(interaction, cards.metrics.report_file(found))


class CleanUp(
    PersistentButton, template=rf"cleanup:(?P<task>{UUID_PATTERN}):(?P<before>\d{{9,11}}):(?P<flags>[-fxt]{{1,3}})"
):
    """Removes what the question named, now that somebody is sure."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        core, task_id = interaction.client.core, UUID(self.match["task"])
        rule = cards.cleanup.rule_in(self.match["before"], self.match["flags"])
        await core.cleanups.start(actor_of(interaction), task_id, rule)
        await turn(interaction, cards.cleanup.started(await core.tasks.load(task_id)))


BUTTONS: tuple[type[PersistentButton], ...] = (HistoryPage, OtherTime, AsFile, CleanUp)


async def _report(interaction: discord.Interaction[Bot], task: str, timeframe: str) -> Report:
    core = interaction.client.core
    name = None if task == "all" else (await core.tasks.load(UUID(task))).task_name
    return await core.metrics.of(actor_of(interaction), name, cast("Timeframe", timeframe))
