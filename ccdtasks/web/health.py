"""Whether the service lives, and whether each of its parts does: for machines that watch it. Tells no secret."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from aiohttp import web

from ccdtasks.errors import CcdError
from ccdtasks.web.context import CHECKS, CORE, Check

log = logging.getLogger(__name__)

PATHS = ("/healthz", "/readyz")

_PART_LIMIT_S = 3.0
_FRESH_S = 5.0


@dataclass
class _Last:
    """The last answer; whoever asks more often gets it again, and the parts have their peace."""

    at_s: float = float("-inf")
    parts: dict[str, str] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


_LAST = web.AppKey("last_health", _Last)


def prepare(app: web.Application) -> None:
    """Remembers answers in the application."""
    app[_LAST] = _Last()


async def healthz(_: web.Request) -> web.Response:
    """The process answers."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Each part by its name: `ok` or `away`; 503 when any is away."""
    last, now_s = request.app[_LAST], request.app[CORE].clock.monotonic_s
    async with last.lock:
        if now_s() - last.at_s > _FRESH_S:
            checks = request.app[CHECKS]
            states = await asyncio.gather(*(_state(name, check) for name, check in checks.items()))
            last.parts, last.at_s = dict(zip(checks, states, strict=True)), now_s()
        parts = last.parts
    is_ready = all(state == "ok" for state in parts.values())
    shape = {"status": "ok" if is_ready else "not ready", "parts": parts}
    return web.json_response(shape, status=200 if is_ready else 503)


ROUTES = (web.get("/healthz", healthz), web.get("/readyz", readyz))


async def _state(name: str, check: Check) -> str:
    try:
        async with asyncio.timeout(_PART_LIMIT_S):
            await check()
    except (CcdError, TimeoutError):
        return "away"
    except Exception:
        log.exception("the check of %s broke", name)
        return "away"
    return "ok"
