"""What commands that copy tasks share: the file out of Discord, and the task with its channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from ccdtasks.bot import cards
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.faults import discord_errors
from ccdtasks.bot.messages import reply
from ccdtasks.core.tasks.definitions import MAX_BYTES, Definition
from ccdtasks.errors import Invalid, Unavailable
from ccdtasks.times import size_text

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot


async def make(interaction: discord.Interaction[Bot], definition: Definition) -> None:
    """Makes the task and its channel, or neither."""
    bot = interaction.client
    async with bot.places.lent(definition.draft) as place:
        copied = await bot.core.definitions.make(actor_of(interaction), definition, place)
    await reply(interaction, cards.copies.made(copied, place.channel_id))


async def file_text(file: discord.Attachment) -> str:
    """The text of a file that somebody sent. Raises Invalid when it is none, or too large to be a task."""
    if file.size > MAX_BYTES:
        raise Invalid("file", f"The file has {size_text(file.size)}; a task's file has {size_text(MAX_BYTES)} at most.")
    try:
        with discord_errors("read the file"):
            return (await file.read()).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Invalid("file", "The file is not text.", "/task-export makes such a file") from None
    except discord.NotFound:
        raise Unavailable("discord", "The file is gone in Discord.", "send it again") from None
