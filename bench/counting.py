"""How fast an upgrade brings older runs into the sums: `python -m bench.counting [--runs 100000] [--folder FOLDER]`.

A database of `bench.million` is copied and made to look as before there were sums. Then the service's own loop adds the
runs, a piece at a time, while somebody else writes a row every 50 ms. Printed are runs per second, how late the event
loop was at worst, and how long the other writer waited.

- wanted: 3,000 runs/s, the loop late by 50 ms at most
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sqlite3
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from bench.million import FOLDER, config_of, make, path_of
from ccdtasks.adapters.storage import LocalStore
from ccdtasks.app import open_core
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.engine.bookkeeping import Bookkeeping
from ccdtasks.engine.keeping import Keeper

_BEAT_S = 0.005
_WRITE_EVERY_S = 0.05


async def main(runs: int, folder: Path) -> None:
    """Copies, counts, prints."""
    source = path_of(folder, runs)
    await make(source, runs)
    with tempfile.TemporaryDirectory(dir=folder) as place, ThreadPoolExecutor(1) as threads:
        path = Path(place) / "ccdtasks.db"
        shutil.copy(source, path)
        _forget(path)
        async with open_core(config_of(path)) as core:
            keeper = Keeper(core, LocalStore(Path(place) / "store"), None, threads)
            found = await _measure(core, Bookkeeping(core, keeper), runs)
    print(json.dumps(found))


def _forget(path: Path) -> None:
    """As an upgrade finds it: no sums, no numbers, no run counted."""
    connection = sqlite3.connect(path)
    connection.executescript("DELETE FROM metric_rollups; DELETE FROM run_values")
    connection.execute("UPDATE task_runs SET counted_at = NULL")
    connection.commit()
    connection.close()


async def _measure(core: Core, bookkeeping: Bookkeeping, runs: int) -> dict[str, float]:
    late: list[float] = []
    waited: list[float] = []
    others = [asyncio.create_task(_beat(late)), asyncio.create_task(_write(core, waited))]
    began, loop = time.monotonic(), asyncio.create_task(bookkeeping.run())
    while (await core.metrics.of(SHELL, None, "all")).is_counting:  # noqa: ASYNC110  nothing rings when it is done
        await asyncio.sleep(0.2)
    took_s = time.monotonic() - began
    for task in (loop, *others):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    total = (await core.metrics.of(SHELL, None, "all")).total.runs
    return {
        "runs": total,
        "took_s": round(took_s, 1),
        "runs_per_s": round(runs / took_s),
        "loop_late_ms": round(max(late) * 1000),
        "loop_late_p99_ms": round(sorted(late)[int(len(late) * 0.99)] * 1000),
        "writer_waited_p50_ms": round(sorted(waited)[len(waited) // 2] * 1000),
        "writer_waited_p99_ms": round(sorted(waited)[int(len(waited) * 0.99)] * 1000),
    }


async def _beat(late: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(_BEAT_S)
        late.append(time.perf_counter() - began - _BEAT_S)


async def _write(core: Core, waited: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await core.facts.set("bench", str(len(waited)))
        waited.append(time.perf_counter() - began)
        await asyncio.sleep(_WRITE_EVERY_S)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    given = parser.parse_args()
    asyncio.run(main(given.runs, given.folder))
