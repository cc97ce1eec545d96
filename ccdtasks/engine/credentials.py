"""Lets the queue go on by itself when Claude takes again the credential that it had refused."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta

from aiohttp import ClientError

from ccdtasks.core import Core
from ccdtasks.core.facts import MODEL_AUTH
from ccdtasks.engine.outcome import NO_CREDIT
from ccdtasks.errors import Unavailable
from ccdtasks.gateways.credential import Credential
from ccdtasks.gateways.question import count_one_word

_EVERY_S = 600.0
_SOON = timedelta(hours=1)

_log = logging.getLogger(__name__)


class CredentialWatch:
    """Asks every ten minutes, for free, while runs wait for the credential.

    An empty account cannot be asked about for free, so that hold waits for a person. A credential that is refused
    again soon after it was found good is not believed a second time: each try would cost the runs that wait.
    """

    def __init__(self, core: Core, every_s: float = _EVERY_S) -> None:
        self._core = core
        self._every_s = every_s
        self._released_at: datetime | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.look()
            except Unavailable as error:
                _log.warning("whether Claude takes the credential again is not known: %s", error.message)

    async def look(self) -> bool:
        """One look; True when the queue goes on by it."""
        facts, now = self._core.facts, self._core.clock.now()
        hold = (await facts.holds()).get(MODEL_AUTH)
        if hold is None or hold.message.startswith(NO_CREDIT):
            return False
        if self._released_at is not None and hold.since - self._released_at < _SOON:
            return False
        if not await self._is_taken() or not await facts.release(MODEL_AUTH):
            return False
        self._released_at = now
        _log.info("Claude takes the credential again: runs go on")
        return True

    async def _is_taken(self) -> bool:
        claude = self._core.config.claude
        secret = claude.oauth_token or claude.api_key
        if secret is None:
            return False
        credential = Credential("oauth_token" if claude.oauth_token else "api_key", secret.get_secret_value())
        try:
            return await count_one_word(claude.base_url, credential, claude.model) == 200
        except (ClientError, TimeoutError, OSError):
            return False
