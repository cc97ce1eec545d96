"""What handlers find in their application: `request.app[CORE]`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

from aiohttp import web

from ccdtasks.core import Core
from ccdtasks.db.models import Artifact


class Files(Protocol):
    """What we need of the keeper of artifacts."""

    def path_of(self, artifact: Artifact) -> Path | None:
        """Where it lies on this machine; None when it lies in a remote store."""
        ...

    async def bytes_of(self, artifact: Artifact, max_bytes: int) -> bytes:
        """The whole file. Raises LimitReached, NotFound or Unavailable."""
        ...

    async def link_of(self, artifact: Artifact, ttl_s: int) -> str | None:
        """A link of the remote store itself that downloads it; None when it lies on this machine."""
        ...


Check = Callable[[], Awaitable[None]]
"""Raises a CcdError, or times out, while the part is not there."""

CORE = web.AppKey("core", Core)
FILES = web.AppKey("files", Files)
CHECKS = web.AppKey("checks", Mapping[str, Check])
