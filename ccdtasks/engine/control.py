"""What we ask of a running session: one JSON object a line over `guest/control.sock`, which the guest serves."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from ccdtasks.engine.guest import GuestFolder, Trap, parse_object
from ccdtasks.errors import Unavailable

_ANSWER_BYTES_MAX = 64 * 1024
_TIMEOUT_S = 15.0

TRUSTED_UIDS = frozenset({0, os.geteuid()})
"""Whoever listens on a guest's socket must not be one of us: then it would not be the guest who answers."""


class SessionControl:
    """The control socket of one session. Every method raises `Unavailable("session")` when it does not answer."""

    def __init__(self, folder: GuestFolder, refuse_uids: frozenset[int] = TRUSTED_UIDS) -> None:
        self._folder = folder
        self._refuse_uids = refuse_uids

    async def ping(self) -> int:
        """The seq of the session's last event."""
        seq = (await self._ask("ping")).get("seq")
        return seq if isinstance(seq, int) else 0

    async def say(self, text: str, author: str, message_id: str) -> None:
        """Gives the agent a person's message; one whose `message_id` it had already changes nothing."""
        await self._ask("say", text=text, author=author, message_id=message_id)

    async def resume(self, request_id: str | None, outcome: str, text: str = "") -> None:
        """Ends a wait for a person, once. `outcome`: done, skipped or answered; `text` is the answer."""
        await self._ask("resume", request_id=request_id, outcome=outcome, text=text)

    async def screenshot(self) -> str:
        """Takes a picture of the desktop; its path below `guest/`, in the guest's own words."""
        return str((await self._ask("screenshot")).get("path", ""))

    async def stop(self, by: str) -> None:
        """Asks the session to end: it interrupts the agent, collects, and is gone within 15 s."""
        await self._ask("stop", by=by)

    async def _ask(self, do: str, **data: Any) -> dict[str, Any]:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                answer = await self._exchange({"id": 1, "do": do, **data})
        except (OSError, Trap, ValueError, TimeoutError) as error:  # an over-long line is a ValueError
            raise Unavailable(
                "session", "The session does not answer.", "It may be ending; look at its status."
            ) from error
        if answer.get("ok") is not True:
            raise Unavailable("session", f"The session refused: {str(answer.get('error'))[:200]}.")
        return answer

    async def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        handle = self._folder.open_socket("control.sock")
        reader, writer = await handle.connect(refuse_uids=self._refuse_uids, limit=_ANSWER_BYTES_MAX)
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            await writer.drain()
            return parse_object(await reader.readline())
        finally:
            writer.close()
