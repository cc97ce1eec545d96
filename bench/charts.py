"""The longest stall of the event loop while charts are drawn: `python -m bench.charts [--runs 10] [--charts 10]`.

Ten runs go on in one process: each writes events as a busy session does, ends with a result of 1,000 rows and values,
and begins again, while the charting loop draws one chart after the other in processes of its own. The same without
the charting loop is measured first. Printed are both stalls, their ratio, and how many charts were drawn.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from ccdtasks.adapters.painter import Painter
from ccdtasks.adapters.storage import LocalStore
from ccdtasks.app import open_core
from ccdtasks.config import Config, LimitsConfig, PathsConfig
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.records.artifacts import ArtifactDraft
from ccdtasks.core.runs.claims import Claim
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import ArtifactKind, RunStatus
from ccdtasks.engine.charting import ChartingLoop
from ccdtasks.engine.keeping import Keeper
from ccdtasks.engine.watchdog import LagWatchdog

_STARTS = 1000
_SHOT = ArtifactDraft("final.png", ArtifactKind.SCREENSHOT, "image/png", 1000)
_GOOD = Outcome(RunStatus.COMPLETED, final_url="https://a.example/", final_screenshot="final.png", artifacts=(_SHOT,))


async def one_run(core: Core, name: str, price: int) -> None:
    """A run as the engine writes it: twenty batches of events, a result, its end."""
    await core.runs.start(SHELL, name)
    claim = await core.claims.claim_next(core.clock.now(), "bench", 100)
    assert claim is not None
    await core.claims.running(claim)
    for batch in range(20):
        await record(core, claim, batch, {"type": "progress", "text": f"Page {batch}"})
        await asyncio.sleep(0.02)
    rows = [{"name": f"thing {number}", "price": price + number} for number in range(1000)]
    values = {"lowest_price": {"number": price, "unit": "$"}, "options": 1000}
    await core.claims.record(claim, [_line(21, {"type": "result", "summary": "x"})], 21)
    await core.claims.take_result(claim, {"summary": f"Cheapest: {price}", "items": rows, "values": values})
    await core.claims.collecting(claim)
    await core.claims.finish(claim, _GOOD)
    await core.claims.removed(claim)


async def record(core: Core, claim: Claim, batch: int, event: dict[str, object]) -> None:
    await core.claims.record(claim, [_line(batch + 1, event)], batch + 1)


def _line(seq: int, event: dict[str, object]) -> bytes:
    return json.dumps({"seq": seq, **event}).encode()


@asynccontextmanager
async def _charting(core: Core, folder: Path) -> AsyncIterator[None]:
    with ThreadPoolExecutor(2) as threads:
        store = LocalStore(folder / "files")
        loop = ChartingLoop(core, Keeper(core, store, None, threads), Painter(folder / "cache"))
        task = asyncio.create_task(loop.run())
        try:
            yield
        finally:
            await loop.draw_wanted()  # what is left, so that all are counted
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await store.close()


async def busy(core: Core, runs: int, times: int) -> float:
    """The longest stall in milliseconds while `runs` runs go on side by side, `times` after each other."""
    watchdog = LagWatchdog()
    watching = asyncio.create_task(watchdog.run())

    async def again(name: str) -> None:
        for price in range(times):
            await one_run(core, name, 400 - price)

    await asyncio.gather(*(again(f"task-{number}") for number in range(runs)))
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return watchdog.worst_s * 1000


async def main(runs: int, charts: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        async with open_core(
            Config(paths=PathsConfig(data_dir=folder), limits=LimitsConfig(starts_per_minute=_STARTS))
        ) as core:
            for number in range(runs):
                await core.tasks.create(SHELL, TaskDraft(f"task-{number}", "Look"))
            await busy(core, runs, 1)  # what is loaded and compiled once is no stall of a chart
            times = max(1, -(-charts // runs))
            without_ms = await busy(core, runs, times)
            for run_id in await core.charting.wanted(10_000):
                await core.charting.drawn(run_id, None)
            began = time.monotonic()
            async with _charting(core, folder):
                with_ms = await busy(core, runs, times)
            drawn = runs * times
            print(f"longest stall without charts {without_ms:.0f} ms, with charts {with_ms:.0f} ms")
            print(f"ratio {with_ms / max(without_ms, 0.1):.1f}, {drawn} charts in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--charts", type=int, default=10)
    given = parser.parse_args()
    asyncio.run(main(given.runs, given.charts))
