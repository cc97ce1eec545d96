"""The bot: one discord.py client around one core, connected for as long as it is wanted."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import discord

from ccdtasks.adapters.painter import Painter
from ccdtasks.adapters.pushover import Pushover
from ccdtasks.bot import adjusting, answering, filing, looking, permissions, statistics
from ccdtasks.bot.archive import Archive
from ccdtasks.bot.places import Places, absent
from ccdtasks.bot.projection import Projection
from ccdtasks.bot.tree import Tree
from ccdtasks.bot.uploads import Files
from ccdtasks.bot.views import BUTTONS
from ccdtasks.config import Config
from ccdtasks.core import Core
from ccdtasks.errors import CcdError, Invalid

log = logging.getLogger(__name__)

LONGEST_RATE_LIMIT_S = 60
"""A longer wait is an error of its own (renames: ten minutes); discord.py would sleep through it."""


class Bot(discord.Client):
    """The Discord front end. Needs the `guilds` intent alone.

    `projection` is the courier of the delivery loop. `trouble` is None while all is well, else one sentence.
    """

    def __init__(
        self,
        core: Core,
        config: Config,
        files: Files | None = None,
        pushover: Pushover | None = None,
        register_again_s: float = 60,
    ) -> None:
        if config.discord.guild_id is None:
            raise Invalid("discord.guild_id", "The bot needs the id of its server.", "set `[discord] guild_id`")
        # Nobody talks with this bot: that its voice is missing is no news for the journal.
        discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
        super().__init__(
            intents=discord.Intents(guilds=True),
            allowed_mentions=discord.AllowedMentions.none(),
            max_ratelimit_timeout=LONGEST_RATE_LIMIT_S,
            max_messages=None,
            guild_ready_timeout=0.5,
        )
        self.core = core
        self.config = config
        self.guild_id = config.discord.guild_id
        self.trouble: str | None = "not connected yet"
        self.places = Places(self)
        self.archive = Archive(self)
        self.projection = Projection(self, files)
        self.pushover = pushover or Pushover(None, config.pushover.api_url)
        self.painter = Painter(config.paths.data_dir / "cache" / "pictures")
        self.tree = Tree(self, self.guild_id)
        self._register_again_s = register_again_s
        self._registering: asyncio.Task[None] | None = None

    @property
    def is_online(self) -> bool:
        """Whether requests can be made: logged in, and not closed."""
        return self.user is not None and not self.is_closed()

    def server(self) -> discord.Guild:
        """The one server, as Discord last described it; Unavailable while it is unknown."""
        guild = self.get_guild(self.guild_id)
        if guild is None:
            raise absent()
        return guild

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Nothing happens any more after the end; discord.py would stumble over events that come late."""
        if not self.is_closed():
            super().dispatch(event, *args, **kwargs)

    async def close(self) -> None:
        """Ends the connection and what was still going on."""
        if self._registering is not None:
            self._registering.cancel()
            await asyncio.gather(self._registering, return_exceptions=True)
        await super().close()

    async def setup_hook(self) -> None:
        """Makes the buttons of all earlier messages work again."""
        for each in (
            BUTTONS,
            answering.BUTTONS,
            adjusting.BUTTONS,
            looking.BUTTONS,
            filing.BUTTONS,
            statistics.BUTTONS,
        ):
            self.add_dynamic_items(*each)

    async def on_guild_available(self, guild: discord.Guild) -> None:
        """The server is there: at start, and after an outage of Discord."""
        await self._settle(guild)

    async def on_guild_join(self, guild: discord.Guild) -> None:
        """Somebody invited the bot."""
        await self._settle(guild)

    async def on_ready(self) -> None:
        """Connected, but perhaps to nothing."""
        if self.get_guild(self.guild_id) is None:
            invite = permissions.invite_url(self.application_id or 0)
            self._troubled(f"The bot is not in server {self.guild_id}. Invite it: {invite}")

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Forms that an earlier process may have opened; all else has its own way in."""
        await answering.take_form(interaction)
        await adjusting.take_form(interaction)

    async def on_app_command_completion(self, interaction: discord.Interaction[Any], _command: Any) -> None:
        """A command did what was asked."""
        await self.tree.note(interaction, "ok")

    async def on_disconnect(self) -> None:
        """discord.py comes back by itself."""
        self.trouble = "the connection to Discord was lost"

    async def on_resumed(self) -> None:
        """Back, with nothing missed."""
        self.trouble = None

    async def _settle(self, guild: discord.Guild) -> None:
        if guild.id == self.guild_id and (self._registering is None or self._registering.done()):
            self._registering = asyncio.create_task(self._register(guild), name="discord-commands")

    async def _register(self, guild: discord.Guild) -> None:
        """Until the server knows our commands; then all is well, unless a permission is missing."""
        while True:
            try:
                await self.tree.settle()
                break
            except (CcdError, discord.NotFound) as error:
                self._troubled(f"Commands were not registered. {error}")
            await asyncio.sleep(self._register_again_s)
        self.trouble = None
        lacking = permissions.missing(guild.me.guild_permissions)
        if lacking:
            self._troubled(f"The bot's role lacks: {', '.join(lacking)}. Grant it in the server's settings.")

    def _troubled(self, sentence: str) -> None:
        self.trouble = sentence
        log.warning("%s", sentence)
