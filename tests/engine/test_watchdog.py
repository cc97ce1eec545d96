"""A loop that is held up is noticed, and shown where."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from ccdtasks.engine.watchdog import LagWatchdog


async def _hold_up(seconds: float) -> LagWatchdog:
    watchdog = LagWatchdog()
    task = asyncio.create_task(watchdog.run())
    await asyncio.sleep(0)
    time.sleep(seconds)  # what nobody may do on a loop
    while not watchdog.worst_s:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return watchdog


async def test_a_short_hold_up_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "ccdtasks.engine.watchdog"):
        watchdog = await _hold_up(0.4)
    assert watchdog.worst_s > 0.2
    assert any("held up" in record.message for record in caplog.records)


async def test_a_stuck_loop_is_shown_with_its_stack(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "ccdtasks.engine.watchdog"):
        await _hold_up(2.0)
    [shown] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "time.sleep(seconds)" in shown.getMessage()
