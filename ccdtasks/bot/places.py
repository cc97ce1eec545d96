"""Categories and channels: found when they are there, made when they are not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import discord

from ccdtasks.bot import text
from ccdtasks.bot.faults import discord_errors
from ccdtasks.core.definition.categories import category_name, infer_type
from ccdtasks.core.tasks.tasks import ChannelPlace, TaskDraft
from ccdtasks.db.models import Task
from ccdtasks.errors import CcdError, Unavailable

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot

log = logging.getLogger(__name__)

CHANNELS_PER_CATEGORY = 50


@dataclass(frozen=True, slots=True)
class _MadePlace:
    """A channel for a task. `is_new`: we just made it, so we may take it away again."""

    place: ChannelPlace
    is_new: bool


class Places:
    """The channels of tasks in the one server; made one after the other, so that no category is made twice."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._making = asyncio.Lock()

    @asynccontextmanager
    async def lent(self, draft: TaskDraft) -> AsyncIterator[ChannelPlace]:
        """A channel for a task that is about to be made; when that fails, a channel made for it is taken away again."""
        kind = draft.task_type or infer_type(draft.name, draft.prompt)
        made = await self._make(draft.name, kind, draft.description or draft.prompt)
        try:
            yield made.place
        except BaseException:
            await self._remove(made)
            raise

    async def channel_of(self, task: Task) -> int:
        """The id of the task's channel; a task that came from elsewhere gets one now."""
        if task.discord_channel_id:
            return int(task.discord_channel_id)
        return await self.remake(task)

    async def remake(self, task: Task) -> int:
        """A new channel for a task that has none, or whose channel somebody deleted."""
        made = await self._make(task.task_name, task.task_type, task.description or task.template_prompt)
        await self._bot.core.tasks.set_place(task.id, made.place)
        return int(made.place.channel_id)

    async def describe(self, task: Task) -> None:
        """Gives the task's channel the topic of its new words; Discord takes few such changes, so the old may stay."""
        if not task.discord_channel_id:
            return
        topic = text.plain(task.description or task.template_prompt, 300)
        try:
            with discord_errors("change a channel's topic"):
                await self._bot.http.edit_channel(int(task.discord_channel_id), topic=topic, reason="The task changed")
        except (CcdError, discord.NotFound) as error:
            log.info("The topic of %s stays as it was: %s", task.task_name, error)

    async def _remove(self, made: _MadePlace) -> None:
        if not made.is_new:
            return
        try:
            with discord_errors("delete a channel"):
                await self._bot.http.delete_channel(int(made.place.channel_id), reason="The task could not be made")
        except (CcdError, discord.NotFound) as error:
            log.warning("Channel %s was made for nothing and stays: %s", made.place.channel_name, error)

    async def _make(self, name: str, task_type: str, topic: str) -> _MadePlace:
        wanted, group = text.channel_name(name), category_name(task_type)
        async with self._making:
            with discord_errors("make a channel"):
                guild = self._bot.server()
                channels = await guild.fetch_channels()
                known = _existing(channels, wanted, group)
                if known:
                    return _MadePlace(known, is_new=False)
                category = await self._category(guild, channels, group)
                channel = await guild.create_text_channel(
                    wanted, category=category, topic=text.plain(topic, 300), reason=f"Task {wanted}"
                )
        return _MadePlace(_place(channel, category), is_new=True)

    async def _category(
        self, guild: discord.Guild, channels: Sequence[discord.abc.GuildChannel], group: str
    ) -> discord.CategoryChannel:
        """The first category of that name with room, or the next one: `Web Monitoring`, `Web Monitoring 2`."""
        categories = {each.name.casefold(): each for each in channels if isinstance(each, discord.CategoryChannel)}
        number = 1
        while True:
            name = group if number == 1 else f"{group} {number}"
            category = categories.get(name.casefold())
            if category is None:
                return await guild.create_category(name, reason="Tasks of this type")
            if sum(each.category_id == category.id for each in channels) < CHANNELS_PER_CATEGORY:
                return category
            number += 1


def _existing(channels: Sequence[discord.abc.GuildChannel], wanted: str, group: str) -> ChannelPlace | None:
    """A channel of that name in a category of that type: ours from before a crash, or from a task that was deleted."""
    groups = {
        each.id: each for each in channels if isinstance(each, discord.CategoryChannel) and _is_group(each, group)
    }
    for each in channels:
        if isinstance(each, discord.TextChannel) and each.name == wanted and each.category_id in groups:
            return _place(each, groups[each.category_id])
    return None


def _is_group(category: discord.CategoryChannel, group: str) -> bool:
    name, base = category.name.casefold(), group.casefold()
    return name == base or (name.startswith(f"{base} ") and name.removeprefix(f"{base} ").isdigit())


def _place(channel: discord.TextChannel, category: discord.CategoryChannel) -> ChannelPlace:
    return ChannelPlace(str(channel.id), channel.name, str(category.id), category.name)


def absent() -> Unavailable:
    """The bot is not in its server, or not connected yet."""
    return Unavailable("discord", "The bot is not connected to its server.", "invite it, or wait until it is connected")
