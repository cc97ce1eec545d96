"""Buttons below the list of a run's files: the next page, and the files themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import discord

from ccdtasks.bot import cards, uploads
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.messages import reply, turn
from ccdtasks.bot.views import UUID_PATTERN, PersistentButton
from ccdtasks.core.pages import Page
from ccdtasks.db.models import Artifact

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot

_WHERE = rf"(?P<run_id>{UUID_PATTERN}):(?P<after>start|{UUID_PATTERN})"


class FilesPage(PersistentButton, template=rf"files:page:{_WHERE}"):
    """Turns the list of files to another page."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        card = await files_page(interaction, UUID(self.match["run_id"]), _after(self.match["after"]))
        await turn(interaction, card)


class SendFiles(PersistentButton, template=rf"files:send:{_WHERE}"):
    """Sends the files of a page, for the eyes of whoever pressed."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        bot, run_id = interaction.client, UUID(self.match["run_id"])
        found = await _page(interaction, run_id, _after(self.match["after"]))
        run = await bot.core.runs.find(actor_of(interaction), str(run_id))
        await reply(interaction, await uploads.load(cards.files.sent(run, found), bot.projection.shelf))


BUTTONS: tuple[type[PersistentButton], ...] = (FilesPage, SendFiles)


async def files_page(interaction: discord.Interaction[Bot], run_id: UUID, after: UUID | None) -> cards.card.Card:
    """The card with a page of the files of a run that the caller may see, behind the file `after`."""
    core = interaction.client.core
    found = await _page(interaction, run_id, after)
    run = await core.runs.find(actor_of(interaction), str(run_id))
    task = await core.tasks.load(run.task_id)
    return cards.files.page(run, task.task_name, found, core.links.file, after)


async def _page(interaction: discord.Interaction[Bot], run_id: UUID, after: UUID | None) -> Page[Artifact]:
    artifacts = interaction.client.core.artifacts
    last = (await artifacts.load(after)).name if after else None
    return await artifacts.page(actor_of(interaction), run_id, last, cards.files.PAGE)


def _after(text: str) -> UUID | None:
    return None if text == "start" else UUID(text)
