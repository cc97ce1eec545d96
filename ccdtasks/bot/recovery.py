"""A message that Discord may have taken without our knowing: found again by looking, where the nonce is forgotten.

Discord folds sends with one nonce into one message, but only for some minutes (Create Message, `enforce_nonce`). After
a longer outage, or a longer rest of this process, we look before we say it again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import discord

from ccdtasks.bot.cards.card import Card

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot

NONCE_LASTS = timedelta(minutes=2)
_LOOKED_AT = 100
_SKEW = timedelta(minutes=1)


async def find_sent(
    bot: Bot, place: discord.PartialMessageable, card: Card, since: datetime, *, is_alone: bool
) -> int | None:
    """The id of a message of ours that no row knows: this card, sent after `since`.

    `is_alone`: nothing else is sent to this place before it is known that this one arrived (the thread of a run), so
    whatever is unknown there is it, also when the card has changed since.
    """
    assert bot.user is not None  # noqa: S101  only who is logged in sends
    try:
        mine = [
            message
            async for message in place.history(limit=_LOOKED_AT, after=since - _SKEW, oldest_first=True)
            if message.author.id == bot.user.id and message.type is discord.MessageType.default
        ]
    except discord.Forbidden:  # without Read Message History it is said, perhaps a second time, and not kept back
        return None
    known = await bot.core.messages.known(str(message.id) for message in mine)
    for message in mine:
        if str(message.id) not in known and (is_alone or _is_same(message, card)):
            return message.id
    return None


def _is_same(message: discord.Message, card: Card) -> bool:
    embed = card.embed() or {}
    shown = message.embeds[0] if message.embeds else None
    seen = (message.content, shown.title if shown else None, shown.description if shown else None)
    return seen == (card.text() or "", embed.get("title"), embed.get("description"))
