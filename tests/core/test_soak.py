"""A long life: many runs from start to end leave no memory, descriptor, thread or task behind."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from ccdtasks.core import Core
from ccdtasks.db.enums import ArtifactState
from tests.clock import MoveableClock
from tests.invariants import check_rows
from tests.people import ANN
from tests.stories import FINAL_PNG, RESULT, claim, completed, lines, make_task

RUNS = int(os.environ.get("CCDTEST_SOAK") or (100 if os.environ.get("CCDTEST_COMPLETE") else 30))
"""CCDTEST_SOAK=10000 is the long life of the list of cases; it takes minutes."""


def _resident_kib() -> int:
    fields = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return next(int(field[1]) for field in fields if field[0] == "VmRSS:")


def _held() -> tuple[int, int, int]:
    """Descriptors, threads, tasks."""
    return len(os.listdir("/proc/self/fd")), threading.active_count(), len(asyncio.all_tasks())


async def _live(core: Core, clock: MoveableClock, runs: int) -> None:
    for _ in range(runs):
        await core.runs.start(ANN, "chore")
        claimed = await claim(core)
        await core.claims.created(claimed, "c" * 64)
        await core.claims.running(claimed)
        file = replace(FINAL_PNG, state=ArtifactState.STORED, location=f"{claimed.run_id}/final.png")
        await core.claims.record(claimed, lines({"type": "result", **RESULT}), 100)
        await core.claims.collecting(claimed)
        await core.claims.finish(claimed, completed(artifacts=[file]))
        await core.claims.removed(claimed)
        clock.advance(seconds=60)


@pytest.mark.slow
async def test_nothing_grows(core: Core, clock: MoveableClock) -> None:
    await make_task(core, "chore")
    await _live(core, clock, 30)
    gc.collect()
    held, resident_kib = _held(), _resident_kib()
    await _live(core, clock, RUNS)
    gc.collect()
    assert _held() == held
    assert _resident_kib() - resident_kib < 10_000
    await check_rows(core.db, core.config.limits)
