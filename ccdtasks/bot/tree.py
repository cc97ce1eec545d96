"""The command tree: who may, what went wrong, and what the server knows of our commands."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any, cast

import discord
from discord import app_commands

from ccdtasks.bot.access import check
from ccdtasks.bot.commands import COMMANDS
from ccdtasks.bot.errors import answer_error
from ccdtasks.bot.faults import discord_errors
from ccdtasks.bot.handling import record
from ccdtasks.errors import Denied

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot

log = logging.getLogger(__name__)
_FACT = "discord_commands"
# https://discord.com/developers/docs/interactions/application-commands#application-command-object-application-command-option-type
_SUBCOMMAND, _SUBCOMMAND_GROUP = 1, 2


class Tree(app_commands.CommandTree[Any]):
    """Our commands in the one server; none are global."""

    def __init__(self, bot: Bot, guild_id: int) -> None:
        super().__init__(bot, fallback_to_global=False)
        self._guild = discord.Object(guild_id)
        for command in COMMANDS:
            self.add_command(command, guild=self._guild)

    async def interaction_check(self, interaction: discord.Interaction[Any], /) -> bool:
        """The gate before every command and every completion."""
        try:
            check(interaction)
        except Denied as refusal:
            await self._refuse(interaction, refusal)
            return False
        return True

    async def on_error(self, interaction: discord.Interaction[Any], error: app_commands.AppCommandError, /) -> None:
        """Whatever a command raised becomes a reply and a row of the log."""
        outcome = await answer_error(interaction, error)
        await self.note(interaction, outcome)

    async def note(self, interaction: discord.Interaction[Any], outcome: str) -> None:
        """Logs a command that was used."""
        name, given = _asked(cast("dict[str, Any]", interaction.data or {}))
        options = {option["name"]: option.get("value", "") for option in given}
        await record(interaction, "command", name, options, outcome)

    async def settle(self) -> bool:
        """Registers the commands when they changed since the last time; True when they did.

        A hash in the database spares Discord's limit of 200 new commands a day.
        """
        bot = cast("Bot", self.client)
        commands = [command.to_dict(self) for command in self.get_commands(guild=self._guild)]
        text = json.dumps([str(bot.application_id), self._guild.id, commands], sort_keys=True, default=str)
        known = hashlib.sha256(text.encode()).hexdigest()
        if await bot.core.facts.get(_FACT) == known:
            return False
        with discord_errors("register its commands"):
            await self.sync(guild=self._guild)
            await self.sync()  # none: an older global set would show every command twice
        await bot.core.facts.set(_FACT, known)
        log.info("Registered %d commands.", len(commands))
        return True

    async def _refuse(self, interaction: discord.Interaction[Any], refusal: Denied) -> None:
        if interaction.type is discord.InteractionType.autocomplete:
            await interaction.response.autocomplete([])
            return
        await self.note(interaction, await answer_error(interaction, refusal))


def _asked(data: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """The whole name of a command, `settings pushover-key`, and the options that were given."""
    name, options = str(data.get("name", "")), list(data.get("options", ()))
    while options and options[0].get("type") in (_SUBCOMMAND, _SUBCOMMAND_GROUP):
        name, options = f"{name} {options[0]['name']}", list(options[0].get("options", ()))
    return name, options
