"""What the bot must be allowed, by name."""

from __future__ import annotations

import discord

NEEDED = discord.Permissions(
    view_channel=True,
    manage_channels=True,
    send_messages=True,
    send_messages_in_threads=True,
    create_public_threads=True,
    manage_threads=True,
    embed_links=True,
    attach_files=True,
    read_message_history=True,
)
"""The integer of an invite link is `NEEDED.value`."""

_NAMES = {"view_channel": "View Channels", "read_message_history": "Read Message History"}


def missing(granted: discord.Permissions) -> list[str]:
    """The needed permissions that are not granted, as Discord's settings call them."""
    if granted.administrator:
        return []
    lacking = [name for name, needed in NEEDED if needed and not getattr(granted, name)]
    return [_NAMES.get(name, name.replace("_", " ").title().replace(" In ", " in ")) for name in lacking]


def invite_url(application_id: int) -> str:
    """The link with which an owner of a server invites the bot."""
    scopes = ("bot", "applications.commands")
    return discord.utils.oauth_url(application_id, permissions=NEEDED, scopes=scopes)
