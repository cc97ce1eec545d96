"""Staying connected: Discord being away, at the start or later, is never the end of the process."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

import discord
from yarl import URL

from ccdtasks.config import DiscordConfig

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0
"""Discord allows 1,000 logins a day and resets the token of who exceeds them."""
_FATAL_CODES = {4004: "the token", 4012: "the API version", 4013: "the intents", 4014: "the privileged intents"}


def point_at(config: DiscordConfig) -> None:
    """Sends all of discord.py in this process to the configured servers: it keeps both addresses in class variables."""
    discord.http.Route.BASE = config.api_url.rstrip("/")
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = URL(config.gateway_url)


async def run_forever(bot: Bot, stop: asyncio.Event, first_pause_s: float = FIRST_PAUSE_S) -> None:
    """Keeps the bot connected until `stop` is set.

    discord.py retries by itself once it was connected; neither a login that fails nor a first connection that fails
    (an AttributeError there) is retried by it. A refused token or intent is not tried again: only a person can mend it.
    """
    token = bot.config.discord.token
    if token is None:
        return
    point_at(bot.config.discord)
    loop = asyncio.get_running_loop()
    stopping = asyncio.create_task(stop.wait(), name="discord-stop")
    pause_s = first_pause_s
    try:
        while not stop.is_set():
            began_s = loop.time()
            session = asyncio.create_task(_session(bot, token.get_secret_value()), name="discord-client")
            await asyncio.wait({session, stopping}, return_when=asyncio.FIRST_COMPLETED)
            session.cancel()
            await asyncio.gather(session, return_exceptions=True)
            if stop.is_set():
                return
            refusal = _refused(session)
            if refusal:
                bot.trouble = refusal
                log.error("%s", refusal)
                await stop.wait()
                return
            held = loop.time() - began_s > LONGEST_PAUSE_S
            pause_s = first_pause_s if held else min(pause_s * 2, LONGEST_PAUSE_S)
            bot.trouble = f"Discord cannot be reached ({_reason(session)})"
            log.warning("%s; the next try is in about %.0f s.", bot.trouble, pause_s)
            await asyncio.wait({stopping}, timeout=pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            _reopen(bot)
    finally:
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)


async def _session(bot: Bot, token: str) -> None:
    """From login to the end of the connection; entering makes a client that was closed before usable again."""
    async with bot:
        await bot.start(token)


def _reopen(bot: Bot) -> None:
    """discord.py keeps the closed connector of the last session; a new one has to be asked for."""
    bot.clear()
    bot.http.connector = discord.utils.MISSING


def _refused(session: asyncio.Task[None]) -> str | None:
    """The sentence for what only a person can mend, or None when another try may help."""
    error = None if session.cancelled() else session.exception()
    if isinstance(error, discord.LoginFailure):
        return "Discord refuses the bot's token. Set a fresh `[discord] token` and restart."
    if isinstance(error, discord.PrivilegedIntentsRequired):
        return "Discord refuses the bot's intents. Switch them on in the developer portal and restart."
    if isinstance(error, discord.ConnectionClosed) and error.code in _FATAL_CODES:
        return f"Discord refuses {_FATAL_CODES[error.code]} of the bot ({error.code})."
    return None


def _reason(session: asyncio.Task[None]) -> str:
    error = None if session.cancelled() else session.exception()
    return f"{type(error).__name__}: {error}"[:200] if error else "the connection ended"
