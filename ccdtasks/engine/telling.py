"""Hands a session what people answered and said, until it confirms that it has it."""

from __future__ import annotations

import asyncio
import logging

from ccdtasks.core.ending.interventions import Untold
from ccdtasks.core.runs.claims import Claim
from ccdtasks.db.models import Intervention
from ccdtasks.engine.control import SessionControl
from ccdtasks.engine.parts import Parts, stubbornly
from ccdtasks.errors import Unavailable

_log = logging.getLogger(__name__)

_BACKOFF_CAP_S = 10.0


class Teller:
    """Stays with one session. What it says twice, after a crash or a lost confirmation, the session takes once.

    A request of a session is resolved once, and a message that has the id of an earlier one is not repeated.
    """

    def __init__(self, parts: Parts, claim: Claim, control: SessionControl) -> None:
        self._parts = parts
        self._claim = claim
        self._control = control

    async def run(self, ended: asyncio.Event) -> None:
        """Tells until the session has ended. A session that does not listen is asked again, ever less often."""
        look_s = self._parts.patience.look_s
        pause_s = look_s
        while not ended.is_set():
            is_heard = await self._tell_all()
            pause_s = look_s if is_heard else min(_BACKOFF_CAP_S, pause_s * 2)
            try:
                async with asyncio.timeout(pause_s):
                    await ended.wait()
            except TimeoutError:
                pass

    async def _tell_all(self) -> bool:
        """False when something is left to be told; later things wait behind it."""
        untold = await stubbornly(lambda: self._parts.core.interventions.untold(self._claim.session_id))
        for each in untold:
            if not await self._is_told(each):
                return False
        return True

    async def _is_told(self, untold: Untold) -> bool:
        try:
            if isinstance(untold, Intervention):
                await self._control.resume(untold.request_id, untold.outcome or "done", untold.answer or "")
            else:
                await self._control.say(untold.text, untold.author, str(untold.id))
        except Unavailable as error:
            _log.info("run %s: %s It is told later.", self._claim.run_id, error.message)
            return False
        await stubbornly(lambda: self._parts.core.interventions.told(untold))
        return True
