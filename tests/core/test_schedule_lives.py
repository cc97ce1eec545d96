"""Random lives of schedules: clocks that jump, restarts, changes, long runs. No time is lost, none is doubled."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select, update

from ccdtasks.app import open_core
from ccdtasks.config import Config, PathsConfig
from ccdtasks.core import Core, build_core
from ccdtasks.core.calendar.timezones import find_zone
from ccdtasks.core.calendar.timing import stored_timing
from ccdtasks.db.models import ScheduleHistory, Task, TaskRun
from ccdtasks.errors import Conflict
from tests.clock import MoveableClock
from tests.people import ANN
from tests.stories import make_task

NAMES = ("hourly", "nightly", "lined-up")
WHENS = ("0 * * * *", "30 2 * * *", "*/20 * * * *", "0 9 * * 1-5", "in 90m", "tomorrow 2:30")
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "UTC")
JUMPS = st.sampled_from([-86_400, -3600, -30, 30, 3600, 86_400, 7 * 86_400])


class Schedules(RuleBasedStateMachine):
    """What people, clocks and crashes do, and at each step what must be true."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="ccd-schedules-"))
        shutil.copy(self.template, self.folder / "ccdtasks.db")
        self.clock = MoveableClock(datetime.fromisoformat("2026-03-27T20:00:00+00:00"))  # before a night of changes
        self.opened = open_core(Config(paths=PathsConfig(data_dir=self.folder)), self.clock)
        self.core: Core = self.do(self.opened.__aenter__())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.do(self.opened.__aexit__(None, None, None))
        self.loop.close()
        shutil.rmtree(self.folder)

    @initialize()
    def make_tasks(self) -> None:
        for name in NAMES:
            self.do(make_task(self.core, name, **({"overlap": "queue"} if name == "lined-up" else {})))

    @rule(name=st.sampled_from(NAMES), when=st.sampled_from(WHENS), zone=st.sampled_from(ZONES))
    def schedule(self, name: str, when: str, zone: str) -> None:
        self.do(self.core.schedules.set(ANN, name, when, zone))

    @rule(name=st.sampled_from(NAMES), act=st.sampled_from(["pause", "resume", "remove"]))
    def change(self, name: str, act: str) -> None:
        with suppress(Conflict):
            self.do(getattr(self.core.schedules, act)(ANN, name))

    @rule(minutes=st.integers(1, 200))
    def wait(self, minutes: int) -> None:
        """Time passes in small steps while the service runs."""
        for _ in range(minutes // 10 + 1):
            self.clock.advance(minutes=10)
            self.do(self.core.firing.fire_due())

    @rule(seconds=JUMPS)
    def jump(self, seconds: int) -> None:
        """Somebody sets the clock."""
        self.clock.set(self.clock.now() + timedelta(seconds=seconds))

    @rule(hours=st.integers(1, 60))
    def be_off(self, hours: int) -> None:
        """The box is off, and a new process starts."""
        self.clock.advance(hours=hours)
        self.core = build_core(self.core.db, self.core.bus, self.clock, self.core.config)

    @rule(name=st.sampled_from(NAMES), days=st.sampled_from([None, 400, 1]))
    def lose_the_next_time(self, name: str, days: int | None) -> None:
        """A mistake of ours that we do not know of yet."""
        wrong = self.clock.now() + timedelta(days=days) if days else None

        async def spoil() -> None:
            async with self.core.db.write() as session:
                here = (Task.task_name == name, Task.schedule_cron.is_not(None), Task.paused.is_(False))
                await session.execute(update(Task).where(*here).values(next_run_at=wrong))

        self.do(spoil())

    @rule()
    def end_all_runs(self) -> None:
        async def end() -> None:
            for row in (await self.core.runs.page(ANN, limit=200)).rows:
                with suppress(Conflict):
                    await self.core.runs.stop(ANN, str(row.run.id))

        self.do(end())

    @rule()
    def fire_twice_at_once(self) -> None:
        async def fire() -> None:
            await asyncio.gather(self.core.firing.fire_due(), self.core.firing.fire_due())

        self.do(fire())

    @rule()
    def settle(self) -> None:
        """What the service does within some minutes: it fires, is watched, and fires what the watch found."""
        for _ in range(3):
            self.do(self.core.firing.fire_due())
            self.do(self.core.deadman.check())
        self.do(self.core.firing.fire_due())
        self.do(self.check_settled())

    @invariant()
    def nothing_is_doubled(self) -> None:
        if hasattr(self, "core"):
            self.do(self.check())

    async def check(self) -> None:
        async with self.core.db.read() as session:
            runs = (await session.scalars(select(TaskRun))).all()
            rows = (await session.scalars(select(ScheduleHistory))).all()
        fires = Counter((run.task_id, run.scheduled_for) for run in runs)
        assert all(number == 1 for number in fires.values())
        triggered = Counter((row.task_id, row.scheduled_for) for row in rows if row.action == "triggered")
        assert triggered == fires  # a run and its row in the history, never one without the other

    async def check_settled(self) -> None:
        """Each schedule stands at its very next time that has no run, and the latest that came is accounted for."""
        now = self.clock.now()
        async with self.core.db.read() as session:
            tasks = (await session.scalars(select(Task))).all()
            runs = {(run.task_id, run.scheduled_for) for run in await session.scalars(select(TaskRun))}
            told = {(row.task_id, row.scheduled_for) for row in await session.scalars(select(ScheduleHistory))}
        for task in tasks:
            if task.schedule_cron is None or task.paused:
                assert task.next_run_at is None
                continue
            timing = stored_timing(task.schedule_cron, find_zone(task.schedule_timezone))
            following = timing.next_after(now)
            while following and (task.id, following) in runs:
                following = timing.next_after(following)
            assert task.next_run_at == following, task.schedule_cron
            assert task.schedule_set_at is not None
            last = timing.last_until(now - timedelta(minutes=3), task.schedule_set_at)
            assert last is None or (task.id, last) in runs | told


@pytest.mark.slow
def test_random_lives_of_schedules(sqlite_template: Path) -> None:
    Schedules.template = sqlite_template
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    run_state_machine_as_test(
        Schedules,
        settings=settings(max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=checks),
    )
