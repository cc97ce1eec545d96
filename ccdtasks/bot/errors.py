"""How mistakes look in Discord: one table, one reply, the same for commands, buttons and forms."""

from __future__ import annotations

import logging
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

import discord
from discord import app_commands

from ccdtasks.bot import text
from ccdtasks.bot.cards.card import Card, join
from ccdtasks.bot.cards.run import stamp
from ccdtasks.bot.cards.status import AMBER, GREY, RED
from ccdtasks.bot.messages import reply
from ccdtasks.errors import CcdError, Conflict, Denied, Invalid, LimitReached, NotFound, Unavailable

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot

log = logging.getLogger(__name__)

TITLES: dict[type[CcdError], tuple[str, int]] = {
    NotFound: ("? Not found", GREY),
    Invalid: ("✕ Not accepted", AMBER),
    Denied: ("✕ Not allowed", AMBER),
    Conflict: ("■ Not possible now", GREY),
    LimitReached: ("■ Limit reached", AMBER),
    Unavailable: ("✕ Out of reach", RED),
}
"""Title and colour of each class of mistake."""

_GONE = {10062, 10015, 40060, 50027}
"""Too late to answer: unknown interaction, unknown webhook, already answered, expired token."""


def error_card(error: CcdError, now_text: str = "") -> Card:
    """The card of a mistake. `now_text`: when it may be tried again, for a limit."""
    title, colour = TITLES.get(type(error), ("✕ That did not work", RED))
    field = f"`{error.field}`" if isinstance(error, Invalid) and error.field else ""
    where = f"{field}: " if field and not error.message.startswith(field) else ""  # many a message begins with it
    hint = error.hint[:1].upper() + error.hint[1:]
    if hint and hint[-1] not in ".!?`\"'”)":
        hint += "."
    return Card(
        title=title, body=join(where + text.sentence(error.message), text.sentence(hint), now_text), colour=colour
    )


async def answer_error(interaction: discord.Interaction[Bot], error: Exception) -> str:
    """Tells the caller what went wrong; returns the outcome for the log: an error's code, or the incident."""
    cause = _cause(error)
    if isinstance(cause, CcdError):
        again = ""
        if isinstance(cause, LimitReached) and cause.retry_after_s and not cause.hint:
            at = interaction.client.core.clock.now() + timedelta(seconds=cause.retry_after_s)
            again = f"It can go again {stamp(at, 'R')}."
        await _reply(interaction, error_card(cause, again))
        return cause.code
    if isinstance(cause, discord.HTTPException) and cause.code in _GONE:
        log.warning("An interaction could no longer be answered (Discord says %s).", cause.code)
        return "too_late"
    if isinstance(cause, app_commands.CommandNotFound | app_commands.CommandSignatureMismatch):
        await _reply(
            interaction, Card(title="■ Not possible now", body="The commands just changed. Try again in a minute.")
        )
        return "outdated"
    incident = secrets.token_hex(4)
    log.error("Incident %s", incident, exc_info=cause)
    await _reply(interaction, incident_card(incident))
    return f"incident {incident}"


def incident_card(incident: str) -> Card:
    """What a person sees of a mistake of ours: the number to look for in the log."""
    return Card(
        title="✕ Something broke here",
        body=f"It is not your fault. The server's log has the details under incident `{incident}`.",
        colour=RED,
    )


async def _reply(interaction: discord.Interaction[Bot], card: Card) -> None:
    try:
        await reply(interaction, card)
    except discord.HTTPException as error:
        log.warning("A mistake could not be shown to the caller (Discord says %s).", error.code)


def _cause(error: Exception) -> BaseException:
    if isinstance(error, app_commands.CommandInvokeError):
        return error.original
    if isinstance(error, app_commands.TransformerError) and error.__cause__ is not None:
        return error.__cause__
    return error
