"""What the report page of a very long run costs: time, bytes, and how long it stops the event loop.

python -m bench.report [events]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ccdtasks.adapters.storage import LocalStore
from ccdtasks.app import open_core
from ccdtasks.config import Config, LimitsConfig, PathsConfig, ServerConfig
from ccdtasks.engine.keeping import Keeper
from ccdtasks.web import open_web
from tests.clock import MoveableClock
from tests.web import runs
from tests.web.conftest import Site, visitor

ROWS, EVENTS, TIMES = 10_000, 100_000, 7
LOOKS = {
    "as it opens": "",
    "sorted, row 5,000 on": "&table0=1d-5000",
    "end of the log": "&end=1",
    "problems in the log": "&kind=problems",
    "one word in the log": "&words=99997",
}


async def _measure(events: int, folder: Path) -> None:
    config = Config(
        paths=PathsConfig(data_dir=folder),
        server=ServerConfig(port=0),
        limits=LimitsConfig(starts_per_minute=1000),
    )
    with ThreadPoolExecutor(2) as threads:
        async with open_core(config, MoveableClock()) as core:
            keeper = Keeper(core, LocalStore(folder / "artifacts"), None, threads)
            async with open_web(core, keeper, {}) as port, visitor() as browser:
                site = Site(f"http://127.0.0.1:{port}", core, keeper, browser)
                address = site.url + core.links.run_path(await runs.long_run(site, rows=ROWS, events=events))
                print(f"{ROWS:,} rows, {events:,} lines of log; wanted: below 1,000 kB, stalls below 50 ms")
                for name, query in LOOKS.items():
                    await _look(site, name, address + query)


async def _look(site: Site, name: str, address: str) -> None:
    stalls_s: list[float] = []
    beating = asyncio.create_task(_beat(stalls_s))
    took_s, size = [], 0
    for _ in range(TIMES):
        begun = time.perf_counter()
        async with site.browser.get(address) as answer:
            size = len(await answer.read())
        took_s.append(time.perf_counter() - begun)
    beating.cancel()
    middle_ms, stall_ms = sorted(took_s)[TIMES // 2] * 1000, max(stalls_s) * 1000
    print(f"{name:22} {middle_ms:6.0f} ms  {size / 1000:5.0f} kB  longest stall {stall_ms:4.0f} ms")


async def _beat(stalls_s: list[float]) -> None:
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(0.002)
        stalls_s.append(time.perf_counter() - begun - 0.002)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ccd") as folder:
        asyncio.run(_measure(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS, Path(folder)))


if __name__ == "__main__":
    main()
