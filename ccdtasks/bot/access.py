"""Who is at the other end of an interaction, and whether they may be there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from ccdtasks.core.access import Actor
from ccdtasks.errors import Denied

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot


def actor_of(interaction: discord.Interaction[Bot]) -> Actor:
    """The person behind an interaction: their id, roles, and whether Discord calls them an administrator."""
    user = interaction.user
    roles = frozenset(role.id for role in user.roles) if isinstance(user, discord.Member) else frozenset()
    admin = isinstance(user, discord.Member) and interaction.permissions.administrator
    return Actor(str(user.id), "discord", roles, is_admin=admin)


def check(interaction: discord.Interaction[Bot]) -> None:
    """Raises Denied outside the configured server and for people without a role that may use the bot."""
    bot = interaction.client
    if interaction.guild_id != bot.guild_id:
        raise Denied("This bot only works in its own server.")
    bot.core.access.require_use(actor_of(interaction))
