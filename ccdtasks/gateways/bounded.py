"""An HTTP server that one session cannot crowd: the descriptors of this process belong to all of them."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from aiohttp import web


class BoundedServer(web.Server):
    """As `web.Server`; connections beyond `most` at once are cut before they are asked anything."""

    def __init__(self, *arguments: Any, most: int, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._most = most

    def __call__(self) -> Any:
        """The protocol of a new connection."""
        return _Cut() if len(self.connections) >= self._most else super().__call__()


class _Cut(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()
