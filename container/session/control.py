"""What the host asks of a running session: one JSON object a line in, one back, over `guest/control.sock`."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Verb = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Refused(Exception):
    """The request cannot be done; the message says why."""


async def serve(verbs: dict[str, Verb], socket: Path) -> asyncio.Server:
    """Answer requests with the verb that `do` names."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                answer = await _answer(verbs, line)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (ValueError, ConnectionError):
            pass  # a line longer than any request, or the host went away
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve_one, str(socket))
    # Rootless, the host's service is another user here; the folder around the run folder is private.
    os.chmod(socket, 0o666)  # noqa: S103
    return server


async def _answer(verbs: dict[str, Verb], line: bytes) -> dict[str, Any]:
    request: Any = None
    try:
        request = json.loads(line)
        verb = verbs.get(request.get("do"))
        if verb is None:
            raise Refused(f"nothing is called {request.get('do')!r}; there are: {', '.join(verbs)}")
        return {"id": request.get("id"), "ok": True, **await verb(request)}
    except Refused as error:
        return {"id": request.get("id"), "ok": False, "error": str(error)}
    except (ValueError, AttributeError, TypeError):
        return {"id": None, "ok": False, "error": "a request is one JSON object on a line"}
