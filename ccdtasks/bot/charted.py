"""Cards whose chart comes after them: the words are there at once, the picture is drawn meanwhile."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from ccdtasks.adapters import charts
from ccdtasks.bot.cards.card import Card, File
from ccdtasks.bot.cards.metrics import CHART
from ccdtasks.bot.messages import editing, made, reply, turn
from ccdtasks.errors import Unavailable

if TYPE_CHECKING:
    import discord

    from ccdtasks.bot.client import Bot

log = logging.getLogger(__name__)


async def reply_charted(interaction: discord.Interaction[Bot], card: Card, chart: charts.Chart | None) -> None:
    """Answers a command with the card, then shows the chart in it; None: there is nothing to draw."""
    await reply(interaction, card)
    await _show(interaction, card, chart)


async def turn_charted(interaction: discord.Interaction[Bot], card: Card, chart: charts.Chart | None) -> None:
    """Shows another card in the message whose button was pressed, then its chart in place of the old one."""
    await turn(interaction, card)
    await _show(interaction, card, chart)


async def _show(interaction: discord.Interaction[Bot], card: Card, chart: charts.Chart | None) -> None:
    """The words say the same, so a chart that cannot be drawn is left out."""
    files = card.files
    if chart is not None:
        try:
            files = (*files, File(CHART, await charts.paint(interaction.client.painter, chart)))
        except Unavailable as error:
            log.warning("%s", error.message)
    shown = replace(card, image=CHART if len(files) > len(card.files) else None)
    await interaction.edit_original_response(**editing(shown), attachments=made(files))
