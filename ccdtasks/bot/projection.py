"""Discord as a projection of rows: each message of the outbox is sent or edited, and what it needs is made.

Nothing here decides what is told. A call can be repeated at any point: a message has the nonce of its row, a thread
has the id of the message it starts from, an edit is an edit; and what somebody deleted by hand is made anew.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Literal, TypeVar
from uuid import UUID

import discord

from ccdtasks.bot import uploads
from ccdtasks.bot.cards import asking, dependencies, push, schedule
from ccdtasks.bot.cards.card import Card
from ccdtasks.bot.cards.run import goes_on_here, notice, render, thread_name
from ccdtasks.bot.faults import ARCHIVED, THREAD_EXISTS, TOO_LARGE, UNKNOWN_CHANNEL, discord_errors
from ccdtasks.bot.messages import editing, made, sending
from ccdtasks.bot.places import absent
from ccdtasks.bot.recovery import NONCE_LASTS, find_sent
from ccdtasks.core.ending.chains import KEY
from ccdtasks.core.outbox import Delivered
from ccdtasks.core.phone.pushqueue import ABOUT as ABOUT_PUSH
from ccdtasks.core.runs.runs import RunView
from ccdtasks.db.enums import MessageType
from ccdtasks.db.models import DiscordMessage, Task
from ccdtasks.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot

WEEK_MIN: Literal[10080] = 10080
REPLY_LASTS_S = 14 * 60
"""Discord lets a reply be edited for 15 minutes."""
_STATUS = {"completed": "complete", "failed": "failed", "cancelled": "cancelled"}
T = TypeVar("T")

log = logging.getLogger(__name__)


class Projection:
    """The courier of the delivery loop."""

    def __init__(self, bot: Bot, files: uploads.Files | None) -> None:
        self._bot = bot
        ttl_s = bot.config.storage.link_ttl_s
        self.shelf = uploads.Shelf(files, bot.core.links, ttl_s) if files else None
        self._sent: dict[UUID, int] = {}
        self._waiting: dict[UUID, tuple[float, Callable[[str], Awaitable[None]]]] = {}

    async def deliver(self, message: DiscordMessage, view: RunView | None) -> Delivered:
        """Shows a row in Discord as it is now. Raises Unavailable, LimitReached (later) or Invalid (never)."""
        if not self._bot.is_online:
            raise absent()
        card = await self._card(message, view)
        card = await uploads.load(card, self.shelf)
        try:
            with discord_errors("post this"):
                return await self._route(message, view, card)
        except discord.NotFound as error:
            raise Unavailable(
                "discord", "The place of this message is gone in Discord.", "it is tried again"
            ) from error

    async def _card(self, message: DiscordMessage, view: RunView | None) -> Card:
        """What the row looks like now: news of a schedule, a question, a message of a run, or what concerns no run."""
        if message.payload.get("about") == schedule.ABOUT:
            return schedule.news(message.payload)
        if message.payload.get("about") == ABOUT_PUSH:
            return push.news(message.payload)
        if view is not None and message.message_type in (MessageType.ASK_USER, MessageType.HUMAN_NEEDED):
            return asking.wanted(view, message.payload)
        if view is not None:
            return render(message, view, self._bot.core.clock.now())
        if message.key.startswith(KEY):
            return dependencies.summary(await self._bot.core.chains.load(UUID(message.key.removeprefix(KEY))))
        return notice(message)

    async def _route(self, message: DiscordMessage, view: RunView | None, card: Card) -> Delivered:
        if view is None:
            return await self._announce(message, card)
        if message.message_type is MessageType.RUN_OPENING:
            return await self._open(message, view, card)
        return await self._tell(message, view, card)

    async def _announce(self, message: DiscordMessage, card: Card) -> Delivered:
        """To the person that the row names; else in the channel of its task, else in the notification channel."""
        if message.payload.get("to"):
            person = await self._bot.create_dm(discord.Object(int(message.payload["to"])))
            return await self._show(message, card, person.id)
        task = await self._bot.core.tasks.load(message.task_id) if message.task_id else None
        if task is None or task.deleted_at is not None:
            return await self._show(message, card, self._notification_channel())
        return await self._in_channel(task, lambda channel_id: self._show(message, card, channel_id))

    async def when_thread(self, run_id: UUID, show: Callable[[str], Awaitable[None]]) -> None:
        """Calls `show` with the id of a run's thread: now if there is one, else when it is made within 14 minutes."""
        now_s = self._bot.core.clock.monotonic_s()
        self._waiting = {key: each for key, each in self._waiting.items() if now_s - each[0] < REPLY_LASTS_S}
        self._waiting[run_id] = (now_s, show)
        thread_id = (await self._bot.core.runs.load(run_id)).run.discord_thread_id
        if thread_id:
            await self._show_thread(run_id, thread_id)

    async def _show_thread(self, run_id: UUID, thread_id: str) -> None:
        _, show = self._waiting.pop(run_id, (0.0, None))
        if show is None:
            return
        try:
            await show(thread_id)
        except discord.HTTPException as error:
            log.info("A reply could not get the link to its thread (Discord says %s).", error.code)

    async def _open(self, message: DiscordMessage, view: RunView, card: Card) -> Delivered:
        """The message in the task's channel, and the thread that starts from it, named once more at the end."""
        done = await self._in_channel(view.task, lambda channel_id: self._show(message, card, channel_id))
        ended = message.payload.get("ended")
        thread_id, name = view.run.discord_thread_id, thread_name(view, ended)
        channel_id = view.run.discord_channel_id or done.channel_id
        if thread_id is None or (ended and not await self._rename(int(thread_id), name)):
            channel_id = done.channel_id
            thread_id = await self._start_thread(int(channel_id), int(done.message_id), name)
        await self._keep(message.lane, thread_id, name, channel_id, ended)
        self._sent.pop(message.id, None)
        return done

    async def _tell(self, message: DiscordMessage, view: RunView, card: Card) -> Delivered:
        """A message in the run's thread; a thread that is gone is started anew."""
        thread_id = view.run.discord_thread_id
        if thread_id is not None:
            try:
                done = await self._show(message, card, int(thread_id))
            except discord.NotFound as error:
                if error.code != UNKNOWN_CHANNEL:
                    raise
            else:
                return self._told(message, done, view.run.discord_channel_id or "")
        channel_id, thread_id = await self._restart_thread(message, view)
        return self._told(message, await self._show(message, card, int(thread_id)), channel_id)

    def _told(self, message: DiscordMessage, done: Delivered, channel_id: str) -> Delivered:
        self._sent.pop(message.id, None)
        return replace(done, channel_id=channel_id, thread_id=done.channel_id)

    async def _show(self, message: DiscordMessage, card: Card, place_id: int) -> Delivered:
        """Edits the row's message, or sends it when there is none (any more)."""
        place = self._bot.get_partial_messageable(place_id, guild_id=self._bot.guild_id)
        known = int(message.message_id) if message.message_id else self._sent.get(message.id)
        sent_names = {each["name"] for each in message.attachments or ()}
        if known and (message.channel_id is None or str(place_id) in (message.channel_id, message.thread_id)):
            try:
                await self._unarchived(place_id, lambda: self._edit(place, known, card, sent_names))
            except discord.NotFound as error:
                if error.code == UNKNOWN_CHANNEL:
                    raise
            else:
                return _delivered(card, known, place_id)
        lost = await self._find_lost(message, place, card)
        if lost is not None:
            await self._unarchived(place_id, lambda: self._edit(place, lost, card, set()))
            return _delivered(card, lost, place_id)
        nonce, silent = _nonce(message, place_id), _is_quiet(message)
        done = await self._unarchived(place_id, lambda: self._send(place, card, nonce, silent=silent))
        self._sent[message.id] = int(done.message_id)
        return done

    async def _find_lost(self, message: DiscordMessage, place: discord.PartialMessageable, card: Card) -> int | None:
        """Discord may have taken it long ago, and we may not have heard of that (any more)."""
        is_new = self._bot.core.clock.now() - message.created_at < NONCE_LASTS
        if message.message_id is not None or is_new:
            return None
        is_alone = message.task_run_id is not None and message.message_type is not MessageType.RUN_OPENING
        return await find_sent(self._bot, place, card, message.created_at, is_alone=is_alone)

    async def _send(
        self, place: discord.PartialMessageable, card: Card, nonce: str, *, silent: bool = False
    ) -> Delivered:
        try:
            sent = await place.send(**sending(card), files=made(card.files), nonce=nonce, silent=silent)
        except discord.HTTPException as error:
            if error.code not in TOO_LARGE or not card.files:
                raise
            card = card.without_artifacts("The files are too large for Discord and kept on the server.")
            sent = await place.send(**sending(card), nonce=nonce, silent=silent)
        return _delivered(card, sent.id, place.id)

    async def _edit(self, place: discord.PartialMessageable, message_id: int, card: Card, sent_names: set[str]) -> None:
        """Files are sent again only when there are new ones; else those that are there stay."""
        message = place.get_partial_message(message_id)
        if {file.name for file in card.files} - sent_names:
            await message.edit(**editing(card), attachments=made(card.files))
        else:
            await message.edit(**editing(card))

    async def _in_channel(self, task: Task, act: Callable[[int], Awaitable[T]]) -> T:
        """Acts in the task's channel; one that somebody deleted is made anew, once."""
        channel_id = await self._bot.places.channel_of(task)
        try:
            return await act(channel_id)
        except discord.NotFound as error:
            if error.code != UNKNOWN_CHANNEL:
                raise
        return await act(await self._bot.places.remake(task))

    async def _start_thread(self, channel_id: int, message_id: int, name: str) -> str:
        """A thread has the id of the message it starts from, so one that exists already is known."""
        place = self._bot.get_partial_messageable(channel_id, guild_id=self._bot.guild_id)
        try:
            await place.get_partial_message(message_id).create_thread(name=name, auto_archive_duration=WEEK_MIN)
        except discord.HTTPException as error:
            if error.code != THREAD_EXISTS:
                raise
        return str(message_id)

    async def _restart_thread(self, message: DiscordMessage, view: RunView) -> tuple[str, str]:
        """A thread in place of one that is gone, below a message of its own: the opening can have but one."""
        name, lost = thread_name(view, None), view.run.discord_thread_id
        nonce = sha256(f"{message.lane}:{lost}".encode()).hexdigest()[:25]

        async def begin(channel_id: int) -> tuple[str, str]:
            place = self._bot.get_partial_messageable(channel_id, guild_id=self._bot.guild_id)
            anchor = await self._send(place, goes_on_here(view), nonce, silent=True)
            return str(channel_id), await self._start_thread(channel_id, int(anchor.message_id), name)

        channel_id, thread_id = await self._in_channel(view.task, begin)
        await self._keep(message.lane, thread_id, name, channel_id, None)
        return channel_id, thread_id

    async def _rename(self, thread_id: int, name: str) -> bool:
        """Once a run: Discord allows two renames in ten minutes. False when the thread is gone."""
        try:
            found = await self._bot.fetch_channel(thread_id)
        except discord.NotFound:
            return False
        if isinstance(found, discord.Thread) and found.name != name:
            await found.edit(name=name, archived=False)
        return True

    async def _unarchived(self, place_id: int, act: Callable[[], Awaitable[T]]) -> T:
        """Discord refuses to touch what lies in an archived thread; so it is opened first."""
        try:
            return await act()
        except discord.HTTPException as error:
            if error.code != ARCHIVED:
                raise
        thread = await self._bot.fetch_channel(place_id)
        if isinstance(thread, discord.Thread):
            await thread.edit(archived=False, locked=False)
        return await act()

    async def _keep(self, lane: UUID, thread_id: str, name: str, channel_id: str, ended: str | None) -> None:
        await self._bot.core.runs.set_thread(lane, channel_id, thread_id, name, _STATUS.get(ended or "", "running"))
        await self._show_thread(lane, thread_id)

    def _notification_channel(self) -> int:
        """The channel of `[discord] notification_channel`, an id or a name; else the server's system channel."""
        guild, wanted = self._bot.server(), self._bot.config.discord.notification_channel
        if wanted and wanted.isdecimal():
            return int(wanted)
        for channel in guild.text_channels:
            if wanted and channel.name == wanted.lstrip("#"):
                return channel.id
        if wanted is None and guild.system_channel:
            return guild.system_channel.id
        raise Invalid("notification_channel", f"There is no channel {wanted or 'for notices'} in the server.")


def _is_quiet(message: DiscordMessage) -> bool:
    """Whether phones stay still: starts, progress, and results that the task's rule finds not worth a call."""
    is_start = message.message_type in (MessageType.RUN_OPENING, MessageType.LIVE_CARD)
    return is_start or (message.message_type is MessageType.RESULT and not message.payload.get("ping", True))


def _nonce(message: DiscordMessage, place_id: int) -> str:
    """The row's own nonce; another one where the message has to be said again in another place or after a deletion."""
    if message.message_id is None:
        return message.nonce
    return sha256(f"{message.nonce}:{message.message_id}:{place_id}".encode()).hexdigest()[:25]


def _delivered(card: Card, message_id: int, channel_id: int) -> Delivered:
    embed = card.embed()
    return Delivered(
        message_id=str(message_id),
        channel_id=str(channel_id),
        content=card.text(),
        embeds=[embed] if embed else [],
        attachments=[{"name": file.name, "size_bytes": len(file.data)} for file in card.files],
        buttons=[button.record() for button in card.buttons],
    )
