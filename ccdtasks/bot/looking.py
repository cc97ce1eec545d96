"""Buttons that look closer at a run: details, rows page by page, the report; and another try after a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from ccdtasks.bot import cards
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.messages import reply, turn
from ccdtasks.bot.views import UUID_PATTERN, PersistentButton

if TYPE_CHECKING:
    import discord

    from ccdtasks.bot.client import Bot


class Details(PersistentButton, template=rf"run:details:(?P<run_id>{UUID_PATTERN})"):
    """Shows all that is known of a run to whoever pressed."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        core = interaction.client.core
        run = await core.runs.find(actor_of(interaction), self.match["run_id"])
        await reply(interaction, cards.details.details(await core.reports.load(run.id)))


class RowsPage(
    PersistentButton, template=rf"rows:(?P<run_id>{UUID_PATTERN}):(?P<table>\d{{1,3}}):(?P<start>\d{{1,9}})"
):
    """Turns a table of a result to another page."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        core, run_id = interaction.client.core, UUID(self.match["run_id"])
        table, start = int(self.match["table"]), int(self.match["start"])
        page = await core.runs.rows(actor_of(interaction), run_id, table, start, cards.details.PAGE)
        await turn(interaction, cards.details.rows_page(run_id, table, *page))


class FullReport(PersistentButton, template=rf"run:report:(?P<run_id>{UUID_PATTERN})"):
    """Gives whoever pressed a fresh link to the report page."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        core = interaction.client.core
        run = await core.runs.find(actor_of(interaction), self.match["run_id"])
        await reply(interaction, cards.details.report_link(run, core.links.run(run.id)))


class Retry(PersistentButton, template=rf"run:retry:(?P<run_id>{UUID_PATTERN})"):
    """Tries a failed run again in its thread; a task that acts is asked about first."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        core, actor, run_id = interaction.client.core, actor_of(interaction), self.match["run_id"]
        if await core.attempts.is_risky(actor, run_id):
            run = await core.runs.find(actor, run_id)
            task = await core.tasks.load(run.task_id)
            await reply(interaction, cards.queue.ask_retry(run, task, has_values=False))
            return
        begun = await core.attempts.retry(actor, run_id)
        await reply(interaction, cards.queue.retried(await core.runs.brief(begun.run.id)))


BUTTONS: tuple[type[PersistentButton], ...] = (Details, RowsPage, FullReport, Retry)
