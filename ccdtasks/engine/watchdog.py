"""Watches that the event loop is never held up: a late loop is a late answer in Discord and a frozen desktop."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback

from ccdtasks.counters import Lag

_log = logging.getLogger(__name__)

_BEAT_S = 0.1
_WARN_S = 0.1
_DUMP_S = 1.0
_SAMPLE_S = 0.25
_STACK_LINES = 25


class LagWatchdog:
    """Warns when the loop was late by 100 ms, and shows what holds it up while it is stuck for a second.

    `worst_s` is the longest delay seen so far.
    """

    def __init__(self, lag: Lag | None = None) -> None:
        self.worst_s = 0.0
        self._lag = lag or Lag()
        self._beat_at = time.monotonic()
        self._over = threading.Event()
        self._loop_thread = 0

    async def run(self) -> None:
        """Beats until cancelled."""
        self._loop_thread = threading.get_ident()
        sampler = threading.Thread(target=self._sample, name="lag-watchdog", daemon=True)
        self._beat_at = time.monotonic()
        sampler.start()
        try:
            while True:
                await asyncio.sleep(_BEAT_S)
                self._beat()
        finally:
            self._over.set()

    def _beat(self) -> None:
        now = time.monotonic()
        late_s = now - self._beat_at - _BEAT_S
        self._beat_at = now
        self.worst_s = max(self.worst_s, late_s)
        self._lag.observe(late_s)
        if late_s > _WARN_S:
            _log.warning("the event loop was held up for %.0f ms", late_s * 1000)

    def _sample(self) -> None:
        """Runs in a thread of its own: when the loop is stuck, nothing on the loop can say where."""
        shown_for = 0.0
        while not self._over.wait(_SAMPLE_S):
            beat_at = self._beat_at
            if time.monotonic() - beat_at < _DUMP_S or shown_for == beat_at:
                continue
            shown_for = beat_at
            frame = sys._current_frames().get(self._loop_thread)
            if frame is not None:
                stack = "".join(traceback.format_stack(frame)[-_STACK_LINES:])
                _log.error("the event loop is stuck here:\n%s", stack)
