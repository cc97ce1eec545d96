"""Closes threads of runs that a clean-up removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from ccdtasks.bot.faults import discord_errors
from ccdtasks.core.records.removal import TO_DELETE
from ccdtasks.db.models import DiscordThread
from ccdtasks.errors import Unavailable

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot


class Archive:
    """The archivist of the engine."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    async def close_thread(self, thread: DiscordThread) -> None:
        """Archives or deletes it, as its row says; one that is gone is success."""
        if not self._bot.is_online:
            raise Unavailable("discord", "Discord does not answer.", "it is tried again")
        with discord_errors("close a thread"):
            try:
                found = await self._bot.fetch_channel(int(thread.thread_id))
                if isinstance(found, discord.Thread):
                    await (found.delete() if thread.status == TO_DELETE else found.edit(archived=True))
            except discord.NotFound:
                return
