"""From a press or a form to its outcome: gate, act, tell what went wrong, log."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from ccdtasks.bot.access import check
from ccdtasks.bot.errors import answer_error
from ccdtasks.core.interactions import Asked

if TYPE_CHECKING:
    import discord

    from ccdtasks.bot.client import Bot

log = logging.getLogger(__name__)


async def handled(
    interaction: discord.Interaction[Bot],
    kind: str,
    name: str,
    options: Mapping[str, Any],
    act: Callable[[], Awaitable[None]],
) -> None:
    """Does `act` for somebody who may; any mistake becomes a reply, and all of it a row of the log."""
    try:
        check(interaction)
        await act()
        outcome = "ok"
    except Exception as error:
        outcome = await answer_error(interaction, error)
    await record(interaction, kind, name, options, outcome)


async def record(
    interaction: discord.Interaction[Bot], kind: str, name: str, options: Mapping[str, Any], outcome: str
) -> None:
    """Notes an interaction. A database that is away must not break what was answered already."""
    asked = Asked(
        interaction_id=str(interaction.id),
        user_id=str(interaction.user.id),
        guild_id=str(interaction.guild_id) if interaction.guild_id else None,
        channel_id=str(interaction.channel_id) if interaction.channel_id else None,
        kind=kind,
        name=name,
        options=options,
        outcome=outcome,
    )
    try:
        await interaction.client.core.interactions.record(asked)
    except Exception:
        log.exception("An interaction could not be noted.")
