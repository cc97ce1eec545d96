"""The clock of schedules: it wakes when something is due, when something changes, and by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import select

from ccdtasks.core import Core
from ccdtasks.db.models import TaskRun
from ccdtasks.engine.clockwork import Clockwork
from ccdtasks.events import RunQueued
from tests.clock import MoveableClock
from tests.people import ANN
from tests.stories import make_task


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@asynccontextmanager
async def ticking(core: Core) -> AsyncIterator[None]:
    """The loop of the service."""
    task = asyncio.create_task(Clockwork(core).run())
    yield
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def fired(core: Core, number: int, patience_s: float = 30) -> list[TaskRun]:
    """The runs, once there are so many."""
    with core.bus.bell(RunQueued) as bell:
        async with asyncio.timeout(patience_s):
            while True:
                async with core.db.read() as session:
                    found = list(await session.scalars(select(TaskRun)))
                if len(found) >= number:
                    return found
                await bell.wait()
                bell.clear()


async def test_what_came_due_while_it_was_away_is_fired_at_once(core: Core, clock: MoveableClock) -> None:
    await make_task(core)
    await core.schedules.set(ANN, "ticket-checker", "0 * * * *")
    clock.advance(hours=3)
    async with ticking(core):
        (run,) = await fired(core, 1)
    assert f"{run.scheduled_for:%H:%M}" == "18:00"


async def test_a_new_schedule_is_seen_at_once(core: Core, clock: MoveableClock) -> None:
    await make_task(core)
    async with ticking(core):
        await core.schedules.set(ANN, "ticket-checker", "0 * * * *")
        clock.advance(hours=1)
        await core.schedules.set(ANN, (await make_task(core, "other")).task_name, "@daily")  # any change wakes it
        assert len(await fired(core, 1)) == 1


async def test_a_clock_that_is_set_and_what_another_process_wrote_are_seen_by_themselves(
    core: Core, clock: MoveableClock
) -> None:
    await make_task(core)
    await core.schedules.set(ANN, "ticket-checker", "0 * * * *")
    async with ticking(core):
        clock.advance(hours=1)  # no bell rings
        assert len(await fired(core, 1)) == 1


async def test_it_ends_without_leaving_anything(core: Core, clock: MoveableClock) -> None:
    before = asyncio.all_tasks()
    await make_task(core)
    await core.schedules.set(ANN, "ticket-checker", "0 * * * *")
    async with ticking(core):
        clock.advance(hours=1)
        await fired(core, 1)
    assert asyncio.all_tasks() == before
