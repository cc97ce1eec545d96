"""What a page costs after a long history: `python -m bench.million [--sizes 10000 100000 1000000] [--folder FOLDER]`.

Databases of 10,000, 100,000 and 1,000,000 runs with five events each are made once and kept in FOLDER
(~/.cache/ccdtasks/bench; about 6 GB). A day has 900 runs of 200 tasks of 20 owners, one of which has a fifth of all, so
that more runs mean a longer history. Then each command's call of the core and its card are timed, for tasks and owners
by lot: p50, p99, and how p50 grows from the smallest database to the largest.

- wanted: p99 at most 300 ms with 1,000,000 runs, and p50 that does not grow
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import sqlite3
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select, text

from ccdtasks.app import open_core
from ccdtasks.bot import cards
from ccdtasks.config import Config, DatabaseConfig, PathsConfig
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL, Actor
from ccdtasks.core.figures.metrics import Timeframe
from ccdtasks.core.tasks.tasks import TaskFilter
from ccdtasks.db.bulk import Insert, write_rows
from ccdtasks.db.enums import Reason, RunStatus, Trigger
from ccdtasks.db.models import Base, RunEvent, Session, Task, TaskRun

WANTED_P99_MS = 300.0
FOLDER = Path("~/.cache/ccdtasks/bench").expanduser()
SIZES = (10_000, 100_000, 1_000_000)
_TASKS, _OWNERS, _A_DAY = 200, 20, 900
_BATCH = 10_000
_SAMPLES = 300
_NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
_STEPS = ("Opening shop.example", "Reading the page", "Clicking Next", "Typing into Search", "Taking a screenshot")


# -- the databases


def path_of(folder: Path, size: int) -> Path:
    """Named by the schema too, so that a changed one is made anew."""
    schema = sorted((table.name, sorted(column.name for column in table.c)) for table in Base.metadata.tables.values())
    return folder / f"runs-{size}-{hashlib.sha256(repr(schema).encode()).hexdigest()[:8]}" / "ccdtasks.db"


def config_of(path: Path) -> Config:
    """That of an instance over one of them."""
    return Config(database=DatabaseConfig(url=f"sqlite:///{path}"), paths=PathsConfig(data_dir=path.parent))


async def make(path: Path, size: int) -> None:
    """Makes a database of `size` runs, unless it is there."""
    whole = path.with_suffix(".whole")
    if whole.exists():
        return
    for rest in path.parent.glob("ccdtasks.db*"):
        rest.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    began, lot = time.monotonic(), random.Random(size)
    async with open_core(config_of(path)) as core:
        async with core.db.write() as session:
            await session.execute(text("PRAGMA cache_size=-1500000"))
            session.add_all(tasks := [_task(number) for number in range(_TASKS)])
        for first in range(0, size, _BATCH):
            runs, sessions, events = _batch(lot, tasks, first, min(_BATCH, size - first), size)
            async with core.db.write() as session:
                for model, rows in ((TaskRun, runs), (Session, sessions), (RunEvent, events)):
                    await write_rows(session, Insert(model, rows))
        made_s = time.monotonic() - began
        while await core.metrics.catch_up():
            pass
        counted_s = time.monotonic() - began - made_s
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    whole.touch()
    gigabytes = path.stat().st_size / 1e9
    print(f"made {size:,} runs in {made_s:.0f} s, counted in {counted_s:.0f} s, {gigabytes:.2f} GB", flush=True)


def _task(number: int) -> Task:
    return Task(
        id=uuid4(),
        task_name=f"task-{number:03}",
        task_type="price-monitor",
        template_prompt="Find the cheapest flight from {origin} to {destination}, and say when it changes. " * 3,
        required_parameters=[{"name": "origin"}, {"name": "destination"}],
        optional_parameters=[{"name": "price_threshold", "default": "400"}],
        schedule_cron=f"{number % 60} 7 * * *",
        owner_user_id=_owner(number),
        created_by=_owner(number),
        run_count=5000,
        success_count=4600,
        failure_count=400,
        avg_duration_seconds=158,
        discord_channel_id="1456074443980800027",
    )


def _owner(number: int) -> str:
    return str(1_400_000_000_000_000_000 + number % _OWNERS)


def _batch(lot: random.Random, tasks: list[Task], first: int, count: int, size: int) -> tuple[list[Any], ...]:
    runs: list[dict[str, Any]] = []
    sessions: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for number in range(first, first + count):
        task = tasks[0] if lot.random() < 0.2 else lot.choice(tasks)
        at = _NOW - timedelta(days=(size - number) / _A_DAY)
        run_id, session_id = UUID(int=lot.getrandbits(128)), UUID(int=lot.getrandbits(128))
        runs.append(_run(lot, task, run_id, at))
        sessions.append(_session(task, run_id, session_id, at))
        events += _events(lot, run_id, session_id, at)
    return runs, sessions, events


def _run(lot: random.Random, task: Task, run_id: UUID, at: datetime) -> dict[str, Any]:
    seconds, is_good = int(lot.lognormvariate(5, 0.7)) + 5, lot.random() < 0.92
    price = lot.randint(200, 600)
    items = [{"airline": f"Airline {row}", "price": price + row, "from": "SFO", "to": "HNL"} for row in range(12)]
    values = {"lowest_price": {"number": price, "unit": "$"}, "options": {"number": 12, "unit": None}}
    result = {
        "summary": f"Cheapest: ${price}",
        "items": items,
        "tables": {},
        "values": values,
        "alerts": [],
        "files": [],
    }
    steps = [
        {"step": step, "duration_ms": lot.randint(100, 9000), "ok": True, "title": lot.choice(_STEPS)}
        for step in range(1, 9)
    ]
    tokens = {"input": 12_000, "output": 2_400, "cache_read": 90_000, "cache_write": 8_000}
    return {
        "id": run_id,
        "task_id": task.id,
        "owner_user_id": task.owner_user_id,
        "started_by": "system",
        "status": RunStatus.COMPLETED if is_good else RunStatus.FAILED,
        "reason": None if is_good else lot.choice((Reason.TIMEOUT, Reason.BLOCKED, Reason.AGENT_ERROR)),
        "trigger": Trigger.SCHEDULED,
        "parameters": {"origin": "SFO", "destination": "HNL", "price_threshold": "400"},
        "created_at": at,
        "queued_at": at,
        "started_at": at + timedelta(seconds=3),
        "completed_at": at + timedelta(seconds=3 + seconds),
        "scheduled_for": at,
        "duration_seconds": seconds,
        "compute_time_seconds": seconds,
        "discord_thread_id": str(run_id.int % 10**19),
        "result_summary": f"Cheapest: ${price} (United), ${lot.randint(1, 90)} less than yesterday. " * 2
        if is_good
        else None,
        "result_data": result if is_good else None,
        "error_message": None if is_good else "kayak.com did not answer within 60 s.",
        "final_url": "https://www.kayak.com/flights/SFO-HNL/2026-12-24/2027-01-03?sort=price_a",
        "final_title": "SFO to HNL, 24 Dec to 3 Jan: cheap flights",
        "step_timings": steps,
        "tokens_used": {**tokens, "by_model": {"claude-sonnet-5": {**tokens, "requests": 9}}},
        "cost_usd": Decimal(lot.randint(20, 400)) / 1000,
        "api_calls_made": 9,
        "pages_loaded": lot.randint(3, 30),
        "page_load_ms": lot.randint(3000, 60_000),
        "http_requests_made": lot.randint(100, 900),
        "data_transferred_bytes": lot.randint(10**6, 10**7),
    }


def _session(task: Task, run_id: UUID, session_id: UUID, at: datetime) -> dict[str, Any]:
    return {
        "id": session_id,
        "run_id": run_id,
        "task_id": task.id,
        "attempt": 1,
        "epoch": 1,
        "container_name": f"ccd-{session_id.hex[:24]}",
        "folder": session_id.hex[:12],
        "claude_session_id": session_id,
        "created_at": at,
        "started_at": at,
        "ended_at": at,
        "removed_at": at,
    }


def _events(lot: random.Random, run_id: UUID, session_id: UUID, at: datetime) -> Iterator[dict[str, Any]]:
    for seq in range(1, 6):
        kind = ("step_started", "page_loaded", "step_finished", "metrics", "progress")[seq - 1]
        said = {"step": seq, "title": lot.choice(_STEPS), "text": "Comparing what 47 flights cost on four pages. " * 3}
        moment = at + timedelta(seconds=3 * seq, microseconds=seq)
        yield {"session_id": session_id, "seq": seq, "run_id": run_id, "at": moment, "type": kind, "data": said}


# -- the commands


class Commands:
    """Each command as Discord uses it: what the core finds, and the card that shows it."""

    def __init__(self, core: Core, tasks: list[Task], lot: random.Random) -> None:
        self._core = core
        self._tasks = tasks
        self._lot = lot
        self._old: dict[str, str] = {}

    def all(self) -> dict[str, Callable[[], Awaitable[object]]]:
        """By the name under which they are printed."""
        frames: tuple[Timeframe, ...] = ("day", "week", "month", "all")
        filters: tuple[TaskFilter, ...] = ("all", "active", "paused", "failed", "scheduled")
        return {
            "/task-history, any task": lambda: self._history(self._any()),
            "/task-history, the busy task": lambda: self._history(self._tasks[0]),
            "/task-history, its oldest runs": self._oldest,
            "/task-status, an owner": lambda: self._status(None, self._owner()),
            "/task-status, an admin": lambda: self._status(None, SHELL),
            "/task-status, the busy task": lambda: self._status(self._tasks[0].task_name, SHELL),
            **{f"/task-list {each}, an admin": lambda each=each: self._list(each, SHELL) for each in filters},
            "/task-list all, an owner": lambda: self._list("all", self._owner()),
            **{f"/task-metrics {each}, the busy task": lambda each=each: self._metrics(0, each) for each in frames},
            **{f"/task-metrics {each}, all tasks": lambda each=each: self._metrics(None, each) for each in frames},
            "/task-chart all, the busy task": self._chart,
            "/metrics for Prometheus": self._core.vitals.read,
            "completion of a value's name": lambda: self._core.metrics.value_names(SHELL, "task-000", "low"),
        }

    def _any(self) -> Task:
        return self._lot.choice(self._tasks)

    def _owner(self) -> Actor:
        return Actor(self._any().owner_user_id, "discord")

    async def _history(self, task: Task, after: str | None = None) -> None:
        found = await self._core.runs.page(SHELL, task.task_name, after=after, limit=cards.metrics.HISTORY)
        cards.metrics.history(task, found, limit=10, is_first=after is None).embed()

    async def _oldest(self) -> None:
        if not self._old:
            task_id, order = self._tasks[0].id, TaskRun.created_at
            async with self._core.db.read() as session:
                oldest = await session.scalars(
                    select(TaskRun.id).where(TaskRun.task_id == task_id).order_by(order).offset(30).limit(1)
                )
                self._old["after"] = str(oldest.one())
        await self._history(self._tasks[0], self._old["after"])

    async def _status(self, task: str | None, actor: Actor) -> None:
        cards.task.status(await self._core.runs.status(actor, task)).embed()

    async def _list(self, filter: TaskFilter, actor: Actor) -> None:
        found = await self._core.tasks.page(actor, filter, None, cards.task.PAGE)
        cards.task.page(filter, found, is_first=True).embed()

    async def _metrics(self, task: int | None, timeframe: Timeframe) -> None:
        name = None if task is None else self._tasks[task].task_name
        found = await self._core.metrics.of(SHELL, name, timeframe)
        cards.metrics.report(found).embed()
        cards.metrics.report_chart(found)

    async def _chart(self) -> None:
        found = await self._core.metrics.series(SHELL, "task-000", "lowest_price", "all")
        cards.metrics.series(found, "all").embed()
        cards.metrics.series_chart(found, "all")


class _Then:
    """The clock of the databases, so that today has runs whenever this is measured."""

    def now(self) -> datetime:
        return _NOW

    def monotonic_s(self) -> float:
        return time.monotonic()


async def measure(path: Path) -> dict[str, list[float]]:
    """Command -> milliseconds of each call, the commands in turn so that none has the cache to itself."""
    async with open_core(config_of(path), _Then()) as core:
        async with core.db.read() as session:
            tasks = list(await session.scalars(select(Task).order_by(Task.task_name)))
        commands = Commands(core, tasks, random.Random(1)).all()
        for command in commands.values():
            await command()
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(_SAMPLES):
            for name, command in commands.items():
                began = time.perf_counter()
                await command()
                taken[name].append((time.perf_counter() - began) * 1000)
    return taken


def _p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


async def main(sizes: list[int], folder: Path) -> None:
    """Makes what is not there, measures, prints."""
    found = {}
    for size in sizes:
        path = path_of(folder, size)
        await make(path, size)
        found[size] = await measure(path)
    print(f"{'p50 / p99 in ms':36}" + "".join(f"{size:>17,}" for size in sizes) + f"{'growth':>9}")
    worst = 0.0
    for name in found[sizes[0]]:
        shown = [(statistics.median(found[size][name]), _p99(found[size][name])) for size in sizes]
        worst = max(worst, shown[-1][1])
        print(
            f"{name:36}"
            + "".join(f"{p50:9.1f} /{p99:6.1f}" for p50, p99 in shown)
            + f"{shown[-1][0] / shown[0][0]:9.2f}"
        )
    print(f"worst p99 with {sizes[-1]:,} runs: {worst:.0f} ms; wanted: at most {WANTED_P99_MS:.0f} ms, growth near 1")
    print(json.dumps({"worst_p99_ms": round(worst, 1)}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--folder", type=Path, default=FOLDER)
    given = parser.parse_args()
    asyncio.run(main(given.sizes, given.folder))
