"""Ten demonstration runs started at once against one alone: `python -m bench.ten_runs [--runs 10]`.

Each run is the demonstration's: the real container, Chromium and CLI, the scripted model, the shop. Printed are the
time of the one alone, of the fastest and the slowest of the ten, how many completed, and how many events were lost on
the way from the sessions' logs to the database.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import shutil
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

from ccdtasks.app import open_core
from ccdtasks.config import ClaudeConfig, Config, EgressConfig, LimitsConfig, PathsConfig, PodmanConfig
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.runs.runs import RunView
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import RunStatus
from ccdtasks.demo.messages_api import MessagesApi
from ccdtasks.demo.scripted import reply_to
from ccdtasks.demo.shop import Shop, served
from ccdtasks.engine.assembly import open_parts
from ccdtasks.engine.cleaning import Cleaner
from ccdtasks.engine.dispatcher import Dispatcher
from ccdtasks.engine.watchdog import LagWatchdog
from tests.doubles.podman import SESSION_IMAGE, podman_service

PROMPT = "Find the cheapest {product} in the shop at {shop} and report lowest_price"


@dataclass
class Counting:
    """A cleaner that counts the lines of each session's log before it is thrown away."""

    cleaner: Cleaner
    runs: Path
    lines: dict[str, int] = field(default_factory=dict)

    async def remove(self, container_name: str, folder_name: str) -> bool:
        log = self.runs / folder_name / "guest/events.jsonl"
        if log.exists():
            self.lines[folder_name] = sum(1 for line in log.read_bytes().splitlines() if json.loads(line)["seq"])
        return await self.cleaner.remove(container_name, folder_name)

    async def remove_folder(self, name: str) -> bool:
        return await self.cleaner.remove_folder(name)


async def run_all(core: Core, shop: str, count: int, prefix: str) -> tuple[list[RunView], list[float]]:
    """Starts `count` runs at once; their last states, and the seconds that each took."""
    began = time.monotonic()
    ids: list[UUID] = []
    for number in range(count):
        settings = {"timeout_s": 900, "retries": {"attempts": 1}}
        await core.tasks.create(SHELL, TaskDraft(f"{prefix}-{number}", PROMPT, config=settings))
        values = {"product": "headphones", "shop": shop}
        ids.append((await core.runs.start(SHELL, f"{prefix}-{number}", values)).run.id)

    async def ended(run_id: UUID) -> tuple[RunView, float]:
        while (view := await core.runs.load(run_id)).run.completed_at is None:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        took = time.monotonic() - began
        while view.session is None or view.session.removed_at is None:
            await asyncio.sleep(0.1)
            view = await core.runs.load(run_id)
        return view, took

    done = await asyncio.gather(*map(ended, ids))
    return [view for view, _ in done], [took for _, took in done]


async def lost_events(core: Core, views: list[RunView], lines: dict[str, int]) -> int:
    """Lines of the sessions' logs that are not in the database."""
    lost = 0
    for view in views:
        assert view.session is not None
        lost += lines.get(view.session.folder, 0) - view.session.events_seq
        rows = [row for row in await core.runs.events(SHELL, view.run.id, limit=1000) if row.seq > 0]
        lost += view.session.events_seq - len(rows)
    return lost


async def main(count: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="ccdb-"))
    key = f"sk-ant-demo-{secrets.token_hex(8)}"
    try:
        with podman_service(folder / "p.sock") as socket:
            async with served(Shop().app()) as shop_port, served(MessagesApi(key, reply_to).app()) as model_port:
                config = Config(
                    claude=ClaudeConfig(api_key=key, base_url=f"http://127.0.0.1:{model_port}"),
                    egress=EgressConfig(allow_private=(f"127.0.0.1:{shop_port}",)),
                    podman=PodmanConfig(socket=f"unix://{socket}", image=SESSION_IMAGE),
                    paths=PathsConfig(data_dir=folder / "d"),
                    limits=LimitsConfig(starts_per_minute=10_000, max_sessions=count),
                )
                config.paths.data_dir.mkdir()
                await measure(config, f"http://127.0.0.1:{shop_port}/", count)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def measure(config: Config, shop: str, count: int) -> None:
    async with open_core(config) as core, open_parts(core) as parts:
        counting = Counting(parts.cleaner, parts.folders.root)
        watchdog = LagWatchdog()
        loops = [
            asyncio.create_task(Dispatcher(replace(parts, cleaner=counting)).run()),  # type: ignore[arg-type]
            asyncio.create_task(watchdog.run()),
        ]
        await run_all(core, shop, 1, "warm")
        alone, [alone_s] = await run_all(core, shop, 1, "alone")
        views, times = await run_all(core, shop, count, "together")
        completed = sum(view.run.status is RunStatus.COMPLETED for view in views)
        lost = await lost_events(core, [*alone, *views], counting.lines)
        events = sum(counting.lines.values())
        fastest_s, slowest_s, lag_ms = min(times), max(times), watchdog.worst_s * 1000
        print(
            f"one alone: {alone_s:.1f} s; {count} at once: {fastest_s:.1f} to {slowest_s:.1f} s; {os.cpu_count()} cores"
        )
        print(f"slowest of {count} against one alone: {slowest_s / alone_s:.1f} times")
        print(
            f"completed: {completed} of {count}; events lost: {lost} of {events}; longest loop delay: {lag_ms:.0f} ms"
        )
        for view in views:
            if view.run.status is not RunStatus.COMPLETED:
                print(f"not completed: {view.run.reason}: {view.run.error_message}")
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    asyncio.run(main(parser.parse_args().runs))
