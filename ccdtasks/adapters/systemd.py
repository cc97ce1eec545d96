"""Tells systemd how the service is (sd_notify): ready, alive, stopping. Without systemd it says nothing."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

_MORE_S = 60


class ServiceManager:
    """The notification socket of a `Type=notify` unit."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        watchdog_us = environ.get("WATCHDOG_USEC", "")
        self._watchdog_s = int(watchdog_us) / 1e6 if watchdog_us.isdecimal() else None

    @asynccontextmanager
    async def starting(self) -> AsyncIterator[None]:
        """Meanwhile the time limit of a start does not count: a large database is copied before it is changed."""
        asking = asyncio.create_task(self._ask_for_time(), name="start-goes-on")
        try:
            yield
        finally:
            asking.cancel()
            await asyncio.wait([asking])

    async def _ask_for_time(self) -> None:
        while True:
            self._send(f"EXTEND_TIMEOUT_USEC={_MORE_S * 1_000_000}")
            await asyncio.sleep(_MORE_S / 4)

    def ready(self) -> None:
        """The service does its work from now on."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The service ends by itself."""
        self._send("STOPPING=1")

    async def run(self) -> None:
        """Says "alive" twice per watchdog time, until cancelled: a stuck event loop says nothing and is restarted."""
        while True:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / 2 if self._watchdog_s else 3600)

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as connection:
            try:
                connection.sendto(message.encode(), self._address)
            except OSError:  # systemd will find out by its own time limit
                return
