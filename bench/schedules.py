"""What 10,000 schedules cost: `python -m bench.schedules [--rounds 3] [--most 10000] [--skip-apscheduler]`.

Each measurement is a process of its own over a database that was filled before, on SQLite and on a PostgreSQL of our
own (fsync off there), in interleaved rounds; medians are printed.

- start: `serve` without Podman and Discord until it is ready and has looked at every schedule once
- memory: resident afterwards, the schedule watchdog's memory of its sums included, against none
- delay: from the second at which tasks are due to the commit of their queued run
- missed: a box that was off for three days comes back, and every task tells what it missed
- stall: the longest time that one callback held the event loop while that happened, in time of the processor, so that
  whatever else the machine does is not counted, and by the clock

Side by side: APScheduler 3.11 with its own SQLAlchemyJobStore on SQLite, whose delay is that until its job is called,
with nothing durable about a run.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.memory import resident_mb

WANTED = {"start_s": 0.2, "p50_ms": 20.0, "p99_ms": 1000.0, "stall_ms": 50.0}
_LEAD_S = 3.0


# -- one measurement, in its own process


class Held:
    """How long each callback held the loop. `worst_cpu_ms` and `worst_ms` are of those since `reset`."""

    def __init__(self) -> None:
        self.worst_cpu_ms = self.worst_ms = 0.0
        run = asyncio.Handle._run

        def timed(handle: asyncio.Handle) -> None:
            began, began_cpu = time.perf_counter(), time.thread_time()
            run(handle)
            self.worst_cpu_ms = max(self.worst_cpu_ms, (time.thread_time() - began_cpu) * 1000)
            self.worst_ms = max(self.worst_ms, (time.perf_counter() - began) * 1000)

        asyncio.Handle._run = timed  # type: ignore[method-assign]

    def reset(self) -> None:
        """Begins anew, and does what the service does once it is ready: what was loaded until now stays for ever."""
        gc.freeze()
        self.worst_cpu_ms = self.worst_ms = 0.0


def _config(url: str, folder: str) -> Any:
    from ccdtasks.config import Config, DatabaseConfig, LogConfig, PathsConfig, PodmanConfig, ServerConfig

    return Config(
        database=DatabaseConfig(url=url),
        paths=PathsConfig(data_dir=Path(folder)),
        podman=PodmanConfig(socket=f"unix://{folder}/none.sock"),
        server=ServerConfig(port=0),
        log=LogConfig(level="error"),
    )


async def measure_start(url: str, folder: str) -> dict[str, float]:
    """Seconds until the service is ready and has looked at all schedules, and its memory then."""
    from ccdtasks.app import serve
    from ccdtasks.core.due.deadman import DeadMan
    from ccdtasks.core.due.firing import Firing
    from ccdtasks.engine import clockwork

    stop, ready, looked, watched = (asyncio.Event() for _ in range(4))
    clockwork._CHECK_AFTER_S = 0.0
    held = Held()
    next_due_at, check = Firing.next_due_at, DeadMan.check

    async def seen(self: Firing) -> datetime | None:
        at = await next_due_at(self)
        looked.set()
        return at

    async def checked(self: DeadMan) -> int:
        await ready.wait()
        await looked.wait()
        found = await check(self)
        watched.set()
        return found

    Firing.next_due_at, DeadMan.check = seen, checked  # type: ignore[method-assign]
    began = time.perf_counter()
    service = asyncio.create_task(serve(_config(url, folder), stop=stop, on_ready=ready.set))
    await ready.wait()
    await looked.wait()
    took_s = time.perf_counter() - began
    held.reset()
    await watched.wait()
    measured = {
        "start_s": took_s,
        "check_s": time.perf_counter() - began - took_s,
        "check_stall_ms": held.worst_cpu_ms,
        "resident_mb": resident_mb(os.getpid()),
    }
    stop.set()
    await service
    return measured


async def measure_delay(url: str, folder: str, due: int) -> dict[str, float]:
    """Delays of tasks that are due in the same second while the clock of schedules runs."""
    from sqlalchemy import bindparam, func, select, text, update

    from ccdtasks.app import open_core
    from ccdtasks.core.due.firing import Firing
    from ccdtasks.db.models import Task, TaskRun
    from ccdtasks.engine.clockwork import Clockwork

    delays_ms: list[float] = []
    fire, held, clock = Firing._fire, Held(), AlmostNine()

    async def timed(self: Firing, reckonings: Any) -> int:
        moved = await fire(self, reckonings)
        delays_ms.extend([clock.since_nine_s() * 1000] * moved)
        return moved

    Firing._fire = timed  # type: ignore[method-assign]
    async with open_core(_config(url, folder), clock) as core:
        async with core.db.write() as session:
            query = select(Task.id, Task.schedule_cron, Task.next_run_at).order_by(Task.task_name).limit(due)
            before = [dict(zip(("task", "cron", "at"), row, strict=True)) for row in await session.execute(query)]
            chosen = Task.id.in_([row["task"] for row in before])
            await session.execute(update(Task).where(chosen).values(schedule_cron="0 9 * * *", next_run_at=clock.nine))
        clockwork = asyncio.create_task(Clockwork(core).run())
        await asyncio.sleep(-clock.since_nine_s() - 0.3)
        held.reset()
        async with asyncio.timeout(120):
            while len(delays_ms) < due:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        stalls = held.worst_cpu_ms, held.worst_ms
        clockwork.cancel()
        await asyncio.gather(clockwork, return_exceptions=True)
        async with core.db.write() as session:  # as it was, for the next round
            assert await session.scalar(select(func.count()).select_from(TaskRun)) == due
            for table in ("discord_messages", "schedule_history", "task_runs"):
                await session.execute(text(f"DELETE FROM {table}"))  # noqa: S608
            restored = {"schedule_cron": bindparam("cron"), "next_run_at": bindparam("at")}
            await (await session.connection()).execute(
                update(Task).where(Task.id == bindparam("task")).values(restored), before
            )
    return {**_quantiles(delays_ms), "stall_ms": stalls[0], "stall_wall_ms": stalls[1]}


async def measure_missed(url: str, folder: str, tasks: int) -> dict[str, float]:
    """A box comes back after three days: every hourly time of every task was missed, which is told."""
    from sqlalchemy import bindparam, func, select, text, update

    from ccdtasks.app import open_core
    from ccdtasks.db.models import DiscordMessage, Task

    held, back = Held(), datetime.now(UTC) - timedelta(days=3)
    async with open_core(_config(url, folder)) as core:
        async with core.db.write() as session:
            columns = (Task.id, Task.schedule_cron, Task.next_run_at, Task.config)
            query = select(*columns).order_by(Task.task_name).limit(tasks)
            names = ("task", "cron", "at", "settings")
            before = [dict(zip(names, row, strict=True)) for row in await session.execute(query)]
            change = update(Task).where(Task.id == bindparam("task"))
            change = change.values({name: bindparam(as_) for name, as_ in zip(_CHANGED, names[1:], strict=True)})
            connection = await session.connection()
            minutes = [(back.minute + 5 + number % 50) % 60 for number in range(tasks)]  # none of them just now
            off = [
                {
                    "task": row["task"],
                    "cron": f"{minute} * * * *",
                    "at": back.replace(minute=minute, second=0, microsecond=0),
                    "settings": {"catch_up": "none"},
                }
                for minute, row in zip(minutes, before, strict=True)
            ]
            await connection.execute(change, off)
        held.reset()
        began = time.perf_counter()
        assert await core.firing.fire_due() == tasks
        took_s = time.perf_counter() - began
        stalls = held.worst_cpu_ms, held.worst_ms
        async with core.db.write() as session:  # as it was, for the next round
            assert await session.scalar(select(func.count()).select_from(DiscordMessage)) == tasks
            for table in ("discord_messages", "schedule_history"):
                await session.execute(text(f"DELETE FROM {table}"))  # noqa: S608
            await (await session.connection()).execute(change, before)
    return {"took_s": took_s, "ms_each": took_s * 1000 / tasks, "stall_ms": stalls[0], "stall_wall_ms": stalls[1]}


_CHANGED = ("schedule_cron", "next_run_at", "config")


class AlmostNine:
    """A clock that is set so that it will be 9 in three seconds."""

    def __init__(self) -> None:
        now = datetime.now(UTC)
        self.nine = now.replace(hour=9, minute=0, second=0, microsecond=0)
        self._off_by = self.nine - timedelta(seconds=_LEAD_S) - now

    def now(self) -> datetime:
        return datetime.now(UTC) + self._off_by

    def monotonic_s(self) -> float:
        return time.monotonic()

    def since_nine_s(self) -> float:
        return (self.now() - self.nine).total_seconds()


def _quantiles(delays_ms: list[float]) -> dict[str, float]:
    delays_ms.sort()
    return {
        "p50_ms": statistics.median(delays_ms),
        "p99_ms": delays_ms[min(len(delays_ms) - 1, len(delays_ms) * 99 // 100)],
    }


async def measure_apscheduler(folder: str, due: int) -> dict[str, float]:
    """The same of APScheduler's own store: jobs that lie in SQLite already, `due` of them due at once."""
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
    from apscheduler.schedulers.asyncio import AsyncIOScheduler
    from sqlalchemy import create_engine, select, update

    from bench.schedules import CALLED_AT  # the job's own module, which this process runs under another name

    url, held = f"sqlite:///{folder}/jobs.db", Held()
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=_LEAD_S)
    store, engine = SQLAlchemyJobStore(url), create_engine(url)
    with engine.begin() as connection:  # the time is in the row and, once more, in the pickled job
        query = select(store.jobs_t.c.id, store.jobs_t.c.job_state).order_by(store.jobs_t.c.id).limit(due)
        for job_id, state in connection.execute(query).all():
            job = pickle.dumps({**pickle.loads(state), "next_run_time": at})  # noqa: S301  our own
            row = store.jobs_t.c.id == job_id
            connection.execute(update(store.jobs_t).where(row).values(next_run_time=at.timestamp(), job_state=job))
    scheduler = AsyncIOScheduler(jobstores={"default": store}, timezone=UTC)
    began = time.perf_counter()
    scheduler.start()
    started_s = time.perf_counter() - began
    await asyncio.sleep((at - datetime.now(UTC)).total_seconds() - 0.3)
    held.reset()
    async with asyncio.timeout(120):
        while len(CALLED_AT) < due:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    stalls = held.worst_cpu_ms, held.worst_ms
    scheduler.shutdown(wait=False)
    delays_ms = [(called - at.timestamp()) * 1000 for called in CALLED_AT]
    return {"start_s": started_s, **_quantiles(delays_ms), "stall_ms": stalls[0], "stall_wall_ms": stalls[1]}


CALLED_AT: list[float] = []


async def called() -> None:
    """The job of the comparison."""
    CALLED_AT.append(time.time())


# -- filling


async def fill(url: str, folder: str, tasks: int) -> None:
    """A migrated database with that many scheduled tasks, none due today."""
    from sqlalchemy import insert

    from ccdtasks.app import open_core
    from ccdtasks.core.access import SHELL
    from ccdtasks.core.tasks.tasks import TaskDraft
    from ccdtasks.db.models import Task

    async with open_core(_config(url, folder)) as core:
        if not tasks:
            return
        model = await core.tasks.create(SHELL, TaskDraft("t", "Check prices"))
        await core.schedules.set(SHELL, "t", "0 9 1 * *")
        model = await core.tasks.load(model.id)
        same = {column.key: getattr(model, column.key) for column in Task.__mapper__.column_attrs}
        rows = [
            {**same, "id": uuid4(), "task_name": f"t{number:05}", "schedule_cron": f"{number % 60} {number % 24} 1 * *"}
            for number in range(1, tasks)
        ]
        async with core.db.write() as session:
            await session.execute(insert(Task), rows)
        await core.deadman.check()  # puts every next time right
        await core.deadman.check()


def fill_apscheduler(folder: str, jobs: int) -> None:
    """As many jobs in APScheduler's own store, in one transaction since each alone takes milliseconds."""
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
    from apscheduler.schedulers.background import BackgroundScheduler
    from apscheduler.triggers.cron import CronTrigger

    store = SQLAlchemyJobStore(f"sqlite:///{folder}/jobs.db")
    scheduler = BackgroundScheduler(jobstores={"default": store}, timezone=UTC)
    scheduler.start(paused=True)
    trigger = CronTrigger.from_crontab("0 9 1 * *", timezone=UTC)
    model = scheduler.add_job("bench.schedules:called", trigger, id="j00000", misfire_grace_time=None)
    state, at = model.__getstate__(), model.next_run_time.timestamp()
    ids = [f"j{number:05}" for number in range(1, jobs)]
    rows = [{"id": each, "next_run_time": at, "job_state": pickle.dumps({**state, "id": each})} for each in ids]
    with store.engine.begin() as connection:
        connection.execute(store.jobs_t.insert(), rows)
    scheduler.shutdown()


# -- all of it


def child(*words: str) -> dict[str, float]:
    """One measurement in a fresh process."""
    command = [sys.executable, "-m", "bench.schedules", "--child", *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def databases(sizes: Sequence[int]) -> Iterator[dict[tuple[str, int], tuple[str, str]]]:
    """(kind, tasks) -> (URL, data folder), filled."""
    from tests.postgres import postgres_binaries, postgres_server

    found: dict[tuple[str, int], tuple[str, str]] = {}
    with ExitStack() as stack:
        root = stack.enter_context(tempfile.TemporaryDirectory(prefix="ccdbench-"))
        binaries = postgres_binaries()
        server = stack.enter_context(postgres_server(binaries)) if binaries else None
        for size in sizes:
            folder = f"{root}/s{size}"
            found["sqlite", size] = f"sqlite+aiosqlite:///{folder}/ccdtasks.db", folder
            if server:
                createdb = ["createdb", "-h", str(server), "-U", "ccd", f"bench{size}"]
                subprocess.run(createdb, check=True)
                found["postgres", size] = f"postgresql://ccd@/bench{size}?host={server}", f"{root}/p{size}"
        for (_, size), (url, folder) in found.items():
            Path(folder).mkdir()
            asyncio.run(fill(url, folder, size))
        yield found


def main(rounds: int, most: int, *, with_apscheduler: bool) -> None:
    """Measures and prints."""
    sizes = [size for size in (0, 100, 1000, 10_000) if size <= most]
    starts, delays, missed = defaultdict(list), defaultdict(list), defaultdict(list)
    with databases(sizes) as found, tempfile.TemporaryDirectory(prefix="ccdbench-") as jobs:
        if with_apscheduler:
            fill_apscheduler(jobs, most)
        for _ in range(rounds):
            for (kind, size), (url, folder) in found.items():
                starts[kind, size].append(child("start", url, folder))
                if size:
                    missed[kind, size].append(child("missed", url, folder, str(size)))
                for due in (each for each in (100, 1000) if each <= size):
                    delays[kind, size, due].append(child("delay", url, folder, str(due)))
            for due in (100, 1000) if with_apscheduler else ():
                delays["apscheduler", most, due].append(child("apscheduler", jobs, str(due)))
    _print_starts(starts, most)
    _print_delays(delays)
    _print_missed(missed)
    print(f"medians of {rounds} interleaved rounds; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


def _median(measured: Sequence[dict[str, float]], name: str) -> float:
    return statistics.median(each[name] for each in measured)


def _print_starts(starts: dict[Any, Any], most: int) -> None:
    heads = (("start s", 9), ("more s", 8), ("RSS MB", 8), ("KB/task", 9), ("check s", 9), ("stall ms", 10))
    print(f"{'database':12}{'tasks':>7}" + "".join(f"{head:>{width}}" for head, width in heads))
    for (kind, size), measured in sorted(starts.items()):
        none = starts[kind, 0]
        start_s, resident = _median(measured, "start_s"), _median(measured, "resident_mb")
        more_s, more_mb = start_s - _median(none, "start_s"), resident - _median(none, "resident_mb")
        per_task_kb = f"{more_mb * 1000 / size:9.2f}" if size else f"{'':9}"
        check = f"{_median(measured, 'check_s'):9.2f}{_median(measured, 'check_stall_ms'):10.1f}"
        print(f"{kind:12}{size:>7}{start_s:9.2f}{more_s:8.2f}{resident:8.0f}{per_task_kb}{check}")
    print(f"wanted: at most {WANTED['start_s']} s more with {most} than with none")


def _print_delays(delays: dict[Any, Any]) -> None:
    columns = (("p50_ms", "p50 ms", 9), ("p99_ms", "p99 ms", 9), ("stall_ms", "stall ms", 10))
    columns += (("stall_wall_ms", "by clock", 10),)
    print(f"{'database':12}{'tasks':>7}{'due':>6}" + "".join(f"{head:>{width}}" for _, head, width in columns))
    for (kind, size, due), measured in sorted(delays.items()):
        figures = "".join(f"{_median(measured, name):{width}.1f}" for name, _, width in columns)
        print(f"{kind:12}{size:>7}{due:>6}{figures}")
    print(f"wanted: p50 below {WANTED['p50_ms']:.0f} ms with 100 due at once, p99 below {WANTED['p99_ms']:.0f} ms with")
    print(f"1,000, no stall above {WANTED['stall_ms']:.0f} ms")


def _print_missed(missed: dict[Any, Any]) -> None:
    print(f"{'database':12}{'missed':>7}{'told s':>9}{'ms each':>9}{'stall ms':>10}")
    for (kind, size), measured in sorted(missed.items()):
        took = f"{_median(measured, 'took_s'):9.2f}{_median(measured, 'ms_each'):9.2f}"
        print(f"{kind:12}{size:>7}{took}{_median(measured, 'stall_ms'):10.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=10_000)
    parser.add_argument("--skip-apscheduler", action="store_true")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        what, *rest = given.child
        work = {
            "start": measure_start,
            "delay": measure_delay,
            "missed": measure_missed,
            "apscheduler": measure_apscheduler,
        }[what]
        arguments = [int(word) if word.isdigit() else word for word in rest]
        print(json.dumps(asyncio.run(work(*arguments))))  # type: ignore[operator]
    else:
        main(given.rounds, given.most, with_apscheduler=not given.skip_apscheduler)
