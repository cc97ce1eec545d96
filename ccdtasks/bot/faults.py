"""What Discord answers when it refuses, in words of ours: the edge where its errors end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import discord

from ccdtasks.core.outbox import AllWait, NotLetIn
from ccdtasks.errors import CcdError, Invalid, LimitReached, Unavailable

UNKNOWN_CHANNEL = 10003
TOO_LARGE = {40005, 50045}
ARCHIVED = 50083
THREAD_EXISTS = 160004
_NO_ACCESS = {50001, 50013}
_BANNED_S = 60
"""discord.py waits out what says how long; a 429 that comes through is the guard before Discord, which does not."""

_FULL = {
    30010: "Discord allows no more reactions here.",
    30013: "This server has 500 channels, the most that Discord allows.",
    160006: "This server has as many open threads as Discord allows.",
}


@contextmanager
def discord_errors(act: str) -> Iterator[None]:
    """Turns what Discord and the network do into CcdError. `act`: `make a channel`. A 404 passes: callers mend it."""
    try:
        yield
    except discord.NotFound:
        raise
    except discord.RateLimited as error:
        raise LimitReached(f"Discord wants us to wait before we {act}.", retry_after_s=error.retry_after) from error
    except discord.HTTPException as error:
        raise _refusal(error, act) from error
    except (TimeoutError, aiohttp.ClientError, OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "closed" not in str(error):
            raise  # aiohttp says it so when the session ended under a request
        raise Unavailable("discord", "Discord does not answer.", "it is tried again") from error


def _refusal(error: discord.HTTPException, act: str) -> CcdError:
    if error.code in _NO_ACCESS:
        return NotLetIn("discord", f"Discord does not let the bot {act}.", "give its role the permission for it")
    if error.code in _FULL:
        return LimitReached(_FULL[error.code], "delete or archive some first", retry_after_s=600)
    if error.status == 429:
        return AllWait(f"Discord wants us to wait before we {act}.", retry_after_s=_BANNED_S)
    if error.status >= 500:
        return Unavailable("discord", "Discord has trouble right now.", "it is tried again")
    if error.status == 401:
        return Unavailable("discord", "Discord refuses the bot's token.", "set a fresh `[discord] token`")
    return Invalid("message", f"Discord does not take this: {error.text[:200]} ({error.code}).")
