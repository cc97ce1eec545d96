"""Firing: each time exactly once, whatever crashes, is late, still runs, or is set back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import DatabaseError, OperationalError

from ccdtasks.app import open_core
from ccdtasks.config import Config, ScheduleConfig
from ccdtasks.core import Core
from ccdtasks.core.due.owed import Reckonings, SeenTask, owed
from ccdtasks.db.enums import Reason, RunStatus, Trigger
from ccdtasks.db.models import ScheduleHistory, Task, TaskRun
from ccdtasks.errors import Unavailable
from ccdtasks.events import MessagePending, RunQueued
from tests.clock import MoveableClock
from tests.people import ANN, BOB
from tests.stories import BOOT, all_messages, claim, complete, fail, make_task, told


async def scheduled(core: Core, when: str = "0 * * * *", name: str = "ticket-checker", **config: Any) -> Task:
    """A task with a schedule in UTC."""
    await make_task(core, name, **config)
    return (await core.schedules.set(ANN, name, when, "UTC")).task


async def copies(core: Core, name: str, whens: Sequence[str]) -> None:
    """Copies of a scheduled task, one for each schedule."""
    timings = [await core.schedules.preview(when, "UTC") for when in whens]
    async with core.db.write() as session:
        row = (await session.execute(select(Task.__table__).where(Task.task_name == name))).mappings().one()
        fresh = [
            {
                **row,
                "id": uuid4(),
                "task_name": f"{name}-{at}",
                "schedule_cron": each.timing.text,
                "next_run_at": each.times[0],
            }
            for at, each in enumerate(timings)
        ]
        await (await session.connection()).execute(insert(Task.__table__), fresh)


async def runs(core: Core) -> list[TaskRun]:
    """Every run, oldest first."""
    async with core.db.read() as session:
        return list(await session.scalars(select(TaskRun).order_by(TaskRun.queued_at)))


async def fires(core: Core) -> list[str]:
    """The times that have a run, as hours."""
    return sorted(f"{run.scheduled_for:%d %H:%M}" for run in await runs(core) if run.scheduled_for)


async def history(core: Core, *actions: str) -> list[ScheduleHistory]:
    """Rows of the history with these actions, oldest first."""
    query = select(ScheduleHistory).where(ScheduleHistory.action.in_(actions)).order_by(ScheduleHistory.timestamp)
    async with core.db.read() as session:
        return list(await session.scalars(query))


async def test_a_time_becomes_a_run_with_everything_that_belongs_to_it(core: Core, clock: MoveableClock) -> None:
    await make_task(core, prompt="Fly from {origin} to {to=HNL}")
    await core.schedules.set(ANN, "ticket-checker", "0 * * * *", "UTC", "origin:SFO")
    assert await core.firing.next_due_at() == datetime(2026, 1, 17, 16, tzinfo=UTC)
    clock.advance(minutes=29, seconds=59)
    assert await core.firing.fire_due() == 0
    clock.advance(seconds=1)
    with core.bus.bell(RunQueued) as queued, core.bus.bell(MessagePending) as pending:
        assert await core.firing.fire_due() == 1
        assert queued.is_set()
        assert pending.is_set()
    (run,) = await runs(core)
    assert (run.status, run.trigger, run.owner_user_id) == (RunStatus.QUEUED, Trigger.SCHEDULED, ANN.user_id)
    assert run.parameters == {"origin": "SFO", "to": "HNL"}
    assert run.scheduled_for == clock.now()
    assert (await told(core, run.id)).keys() == {"opening", "card"}
    (row,) = await history(core, "triggered")
    assert (row.scheduled_for, row.triggered_by) == (clock.now(), "scheduler")
    assert row.details == {"run": str(run.id), "late_s": 0}
    assert (await core.tasks.find(ANN, "ticket-checker")).next_run_at == clock.now() + timedelta(hours=1)
    assert await core.firing.fire_due() == 0
    await complete(core, await _running(core))
    assert (await core.runs.load(run.id)).run.status is RunStatus.COMPLETED


async def _running(core: Core) -> Any:
    claimed = await claim(core)
    await core.claims.running(claimed)
    return claimed


async def test_a_time_that_happens_once_leaves_no_schedule(core: Core, clock: MoveableClock) -> None:
    await scheduled(core, "in 20m")
    clock.advance(minutes=20)
    assert await core.firing.fire_due() == 1
    task = await core.tasks.find(ANN, "ticket-checker")
    assert (task.schedule_cron, task.next_run_at) == (None, None)
    (row,) = await history(core, "triggered")
    assert row.schedule_before == "at 2026-01-17T15:50:00Z"
    assert row.schedule_after is None


async def test_many_at_once_are_all_fired_once_though_two_fire(core: Core, clock: MoveableClock) -> None:
    await scheduled(core, "0 16 * * *")
    await copies(core, "ticket-checker", [f"{number % 3} 16 * * *" for number in range(229)])
    clock.advance(minutes=33)
    await asyncio.gather(*(core.firing.fire_due() for _ in range(3)))
    seen = Counter(run.task_id for run in await runs(core))
    assert len(seen) == 230
    assert set(seen.values()) == {1}
    positions = [run.queued_at for run in await runs(core)]
    assert len(set(positions)) == 230


@pytest.mark.parametrize("change", ["pause", "remove", "set"])
@pytest.mark.parametrize("is_changed_first", [True, False])
async def test_a_schedule_that_changes_the_moment_it_is_due_is_fired_before_it_or_not_at_all(
    core: Core, clock: MoveableClock, change: str, *, is_changed_first: bool
) -> None:
    task = await scheduled(core)
    clock.advance(hours=1)

    async def change_it() -> int:
        when = ["30 3 * * *"] if change == "set" else []
        await getattr(core.schedules, change)(ANN, task.task_name, *when)
        return 0

    both = [change_it(), core.firing.fire_due()]
    fired = sum(await asyncio.gather(*(both if is_changed_first else reversed(both))))
    assert await fires(core) == ["17 16:00"] * fired
    assert len(await history(core, "triggered", "missed", "skipped")) == fired
    next_at = datetime(2026, 1, 18, 3, 30, tzinfo=UTC) if change == "set" else None
    assert (await core.tasks.find(ANN, task.task_name)).next_run_at == next_at
    assert await core.firing.fire_due() == 0


async def test_a_pass_that_dies_before_its_commit_leaves_the_time_due(
    core: Core, clock: MoveableClock, database_kind: str
) -> None:
    """Reliability 11."""
    await scheduled(core)
    clock.advance(hours=1)
    if database_kind == "sqlite":
        trap = "CREATE TRIGGER full BEFORE INSERT ON schedule_history BEGIN SELECT RAISE(ABORT, 'broken'); END"
        mend = "DROP TRIGGER full"
    else:
        trap, mend = "ALTER TABLE schedule_history RENAME TO gone", "ALTER TABLE gone RENAME TO schedule_history"
    async with core.db.write() as session:
        await session.execute(text(trap))
    with pytest.raises((DatabaseError, OperationalError, Unavailable)):
        await core.firing.fire_due()
    assert await runs(core) == []
    assert await all_messages(core) == []
    async with core.db.write() as session:
        await session.execute(text(mend))
    assert await core.firing.fire_due() == 1
    assert await fires(core) == ["17 16:00"]


async def test_a_missed_time_is_made_up_for_once_and_the_thread_says_so(core: Core, clock: MoveableClock) -> None:
    """Reliability 9 and 15."""
    await scheduled(core, "0 7 * * *")
    clock.set(datetime(2026, 1, 18, 8, 31, tzinfo=UTC))
    assert await core.firing.fire_due() == 1
    (run,) = await runs(core)
    assert f"{run.scheduled_for:%H:%M}" == "07:00"
    note = (await told(core, run.id))["caught_up"]
    assert note["first_missed"] == "2026-01-18T07:00:00+00:00"
    assert note["ran_at"] == "2026-01-18T08:31:00+00:00"
    assert (await core.tasks.find(ANN, "ticket-checker")).next_run_at == datetime(2026, 1, 19, 7, tzinfo=UTC)


@pytest.mark.parametrize("policy", [{"catch_up": "none"}, {"catch_up_window_s": 3600}])
async def test_a_missed_time_that_is_not_made_up_for_is_told(
    core: Core, clock: MoveableClock, policy: dict[str, Any]
) -> None:
    task = await scheduled(core, "0 7 * * *", **policy)
    clock.set(datetime(2026, 1, 18, 8, 31, tzinfo=UTC))
    assert await core.firing.fire_due() == 1
    assert await runs(core) == []
    (row,) = await history(core, "missed")
    assert f"{row.scheduled_for:%H:%M}" == "07:00"
    (message,) = await all_messages(core)
    assert (message.task_id, message.task_run_id) == (task.id, None)
    assert (message.payload["kind"], message.payload["owner"]) == ("missed", ANN.user_id)
    assert "2026-01-18 07:00 UTC" in message.payload["text"]


async def test_many_missed_times_are_told_one_by_one_and_once(core: Core, clock: MoveableClock) -> None:
    """A box that was off for long comes back with thousands; a clock that is set back has some of them come again."""
    start = clock.now()
    await scheduled(core, "0 16 * * *", catch_up="none")
    await copies(core, "ticket-checker", ["0 16 * * *"] * 130)
    for revision in (1, 2):
        clock.set(datetime(2026, 1, 17, 20, tzinfo=UTC))
        assert await core.firing.fire_due() == 131
        messages = await all_messages(core)
        assert [message.revision for message in messages] == [revision] * 131
        assert len({message.task_id for message in messages}) == 131
        assert len({message.lane for message in messages}) == 131
        clock.set(start)
        async with core.db.write() as session:  # as the watch of schedules does where a clock was set back
            await session.execute(update(Task).values(next_run_at=datetime(2026, 1, 17, 16, tzinfo=UTC)))
    assert await runs(core) == []


def test_tasks_that_share_a_schedule_share_what_it_says_as_long_as_it_holds() -> None:
    start, shared = datetime(2026, 1, 17, 15, tzinfo=UTC), Reckonings()
    task = SeenTask(uuid4(), "t", "u", "*/15 * * * *", "UTC", start, start, {}, [], [], {}, None)
    for minutes in (50, 59, 60, 61, 200, 20, -5):  # what came due meanwhile, and a clock that is set back
        now = start + timedelta(minutes=minutes)
        assert owed(task, now, ScheduleConfig(), shared) == owed(task, now, ScheduleConfig())
    assert len(shared) == 1


async def test_a_rehearsal_leaves_nothing(core: Core, clock: MoveableClock) -> None:
    await core.firing.rehearse()  # of nothing
    task = await scheduled(core)
    await core.firing.rehearse()
    assert await runs(core) == []
    assert await all_messages(core) == []
    assert await history(core, "triggered") == []
    same = await core.tasks.find(ANN, "ticket-checker")
    assert (same.next_run_at, same.schedule_cron) == (task.next_run_at, task.schedule_cron)
    clock.advance(minutes=30)
    assert await core.firing.fire_due() == 1
    assert await fires(core) == ["17 16:00"]


async def test_after_a_day_off_nothing_older_than_the_window_runs(core: Core, clock: MoveableClock) -> None:
    await scheduled(core, "0 7 * * *")
    clock.set(datetime(2026, 1, 18, 19, 0, 1, tzinfo=UTC))
    await core.firing.fire_due()
    assert await fires(core) == []
    assert len(await history(core, "missed")) == 1


async def test_many_missed_times_become_one_run(core: Core, clock: MoveableClock) -> None:
    """Reliability 10."""
    await scheduled(core, "*/10 * * * *")
    clock.advance(days=3, hours=12, minutes=5)
    assert await core.firing.fire_due() == 1
    assert await fires(core) == ["21 03:30"]
    (missed,) = await history(core, "missed")
    assert missed.details is not None
    assert missed.details["count"] == 100  # more are not counted
    assert f"{missed.scheduled_for:%d %H:%M}" == "17 15:40"


async def test_a_firing_that_is_a_minute_late_is_an_ordinary_one(core: Core, clock: MoveableClock) -> None:
    await scheduled(core, "0 16 * * *")
    clock.advance(minutes=31)
    await core.firing.fire_due()
    (run,) = await runs(core)
    assert "caught_up" not in await told(core, run.id)


async def test_a_time_during_a_run_is_skipped_and_its_thread_says_so(core: Core, clock: MoveableClock) -> None:
    await scheduled(core)
    clock.advance(minutes=30)
    await core.firing.fire_due()
    claimed = await _running(core)
    for count in (1, 2):
        clock.advance(hours=1)
        await core.firing.fire_due()
        skipped = (await told(core, claimed.run_id))["skipped"]
        assert skipped["count"] == count
    assert await fires(core) == ["17 16:00"]
    assert [f"{row.scheduled_for:%H:%M}" for row in await history(core, "skipped")] == ["17:00", "18:00"]
    await complete(core, claimed)
    clock.advance(hours=1)
    await core.firing.fire_due()
    assert await fires(core) == ["17 16:00", "17 19:00"]


async def test_times_that_were_missed_just_before_are_told_too(core: Core, clock: MoveableClock) -> None:
    """The latest minute is on time; those before it were not."""
    await scheduled(core, "* * * * *")
    clock.advance(minutes=10, seconds=30)
    await core.firing.fire_due()
    claimed = await _running(core)
    note = (await told(core, claimed.run_id))["caught_up"]
    assert (note["missed"], note["first_missed"]) == (9, "2026-01-17T15:31:00+00:00")
    clock.advance(minutes=5)
    await core.firing.fire_due()
    assert (await told(core, claimed.run_id))["skipped"]["count"] == 5


async def test_a_time_during_a_run_waits_in_line_when_the_task_says_so(core: Core, clock: MoveableClock) -> None:
    await scheduled(core, overlap="queue")
    clock.advance(minutes=30)
    await core.firing.fire_due()
    claimed = await _running(core)
    for _ in range(3):
        clock.advance(hours=1)
        await core.firing.fire_due()
    assert await fires(core) == ["17 16:00", "17 17:00"]  # one waits; the others were skipped
    assert len(await history(core, "skipped")) == 2
    assert await core.claims.claim_next(clock.now(), BOOT, 10) is None  # not beside the first
    await complete(core, claimed)
    await core.claims.removed(claimed)
    second = await claim(core)
    assert second.run_id != claimed.run_id


async def test_a_time_that_happens_once_is_never_skipped(core: Core, clock: MoveableClock) -> None:
    await scheduled(core, "in 20m")
    await core.runs.start(ANN, "ticket-checker")
    await _running(core)
    clock.advance(minutes=20)
    await core.firing.fire_due()
    assert len(await runs(core)) == 2


async def test_a_clock_that_is_set_back_fires_nothing_again(core: Core, clock: MoveableClock) -> None:
    """Reliability 12, by a day and by half a minute."""
    await scheduled(core)
    clock.advance(minutes=30)
    await core.firing.fire_due()
    await complete(core, await _running(core))
    for back in (timedelta(seconds=30), timedelta(days=1)):
        now = clock.now()
        clock.set(now - back)
        await core.firing.fire_due()
        clock.set(now)
        await core.firing.fire_due()
    assert await fires(core) == ["17 16:00"]
    clock.advance(hours=1)
    await core.firing.fire_due()
    assert await fires(core) == ["17 16:00", "17 17:00"]


async def test_a_row_whose_time_has_its_run_already_moves_on(core: Core, clock: MoveableClock) -> None:
    await scheduled(core)
    clock.advance(minutes=30)
    await core.firing.fire_due()
    await complete(core, await _running(core))
    async with core.db.write() as session:
        await session.execute(update(Task).values(next_run_at=clock.now()))
    assert await core.firing.fire_due() == 1
    assert await fires(core) == ["17 16:00"]
    assert await history(core, "skipped") == []
    assert (await core.tasks.find(ANN, "ticket-checker")).next_run_at == clock.now() + timedelta(hours=1)


async def test_a_row_whose_time_is_none_of_the_schedules_fires_nothing(core: Core, clock: MoveableClock) -> None:
    """Reliability 14: the rules of the timezone were others when it was computed."""
    await scheduled(core)
    async with core.db.write() as session:
        await session.execute(update(Task).values(next_run_at=clock.now()))
    await core.firing.fire_due()
    assert await fires(core) == []
    assert (await core.tasks.find(ANN, "ticket-checker")).next_run_at == datetime(2026, 1, 17, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"schedule_timezone": "Mars/Olympus"}, "There is no timezone named Mars/Olympus."),
        ({"schedule_cron": "0 0 31 2 *"}, "never happens"),
        ({"required_parameters": [{"name": "origin", "description": ""}]}, "still needs `origin`"),
    ],
)
async def test_a_schedule_that_cannot_be_followed_any_more_pauses_and_is_told(
    core: Core, clock: MoveableClock, values: dict[str, Any], said: str
) -> None:
    task = await scheduled(core)
    other = await scheduled(core, name="other")
    async with core.db.write() as session:
        await session.execute(update(Task).where(Task.id == task.id).values(**values))
    clock.advance(hours=1)
    assert await core.firing.fire_due() == 2
    assert [run.task_id for run in await runs(core)] == [other.id]
    paused = await core.tasks.find(ANN, "ticket-checker")
    assert paused.paused
    assert said in (paused.paused_reason or "")
    (message,) = [each for each in await all_messages(core) if each.payload.get("kind") == "paused"]
    assert message.payload["owner"] == ANN.user_id
    assert said in message.payload["text"]


async def test_five_failures_in_a_row_pause_the_task(core: Core, clock: MoveableClock) -> None:
    await scheduled(core, retries={"attempts": 1})
    await make_task(core, "digest")
    await core.dependencies.add(ANN, "digest", "ticket-checker")
    for number in range(5):
        assert not (await core.tasks.find(ANN, "ticket-checker")).paused, number
        clock.advance(hours=1)
        await core.firing.fire_due()
        await fail(core, await _running(core), Reason.BLOCKED)
    task = await core.tasks.find(ANN, "ticket-checker")
    assert task.paused
    assert task.next_run_at is None
    (message,) = [each for each in await all_messages(core) if each.payload.get("kind") == "paused"]
    assert "5 scheduled runs in a row failed" in message.payload["text"]
    assert message.payload["owner"] == ANN.user_id
    assert message.payload["stopped"] == ["digest"]
    clock.advance(hours=5)
    assert await core.firing.fire_due() == 0
    await core.schedules.resume(ANN, "ticket-checker")
    assert (await core.tasks.find(ANN, "ticket-checker")).schedule_failures == 0


async def test_what_breaks_the_row_of_failures(core: Core, clock: MoveableClock) -> None:
    await scheduled(core, retries={"attempts": 1})
    for reason in (Reason.BLOCKED, Reason.TIMEOUT, Reason.IMAGE_MISSING, Reason.MODEL_UNAVAILABLE, Reason.BLOCKED):
        clock.advance(hours=1)
        await core.firing.fire_due()
        await fail(core, await _running(core), reason)
    assert (await core.tasks.find(ANN, "ticket-checker")).schedule_failures == 3  # two were not its fault
    await core.runs.start(ANN, "ticket-checker")
    await fail(core, await _running(core), Reason.BLOCKED)  # by hand
    assert (await core.tasks.find(ANN, "ticket-checker")).schedule_failures == 3
    clock.advance(hours=1)
    await core.firing.fire_due()
    await complete(core, await _running(core))
    assert (await core.tasks.find(ANN, "ticket-checker")).schedule_failures == 0


async def test_a_new_schedule_begins_a_new_row_of_failures(core: Core, clock: MoveableClock) -> None:
    await scheduled(core, retries={"attempts": 1})
    for when in ("5 * * * *", "0 * * * *"):
        for _ in range(4):
            clock.advance(hours=1)
            await core.firing.fire_due()
            await fail(core, await _running(core), Reason.BLOCKED)
        task = await core.tasks.find(ANN, "ticket-checker")
        assert (task.schedule_failures, task.paused) == (4, False)
        await core.schedules.set(ANN, "ticket-checker", when)


async def test_attempts_of_one_time_count_as_one_failure(core: Core, clock: MoveableClock) -> None:
    await scheduled(core, "0 7 * * *", retries={"attempts": 3})
    clock.advance(days=1)
    await core.firing.fire_due()
    for _ in range(3):
        await fail(core, await _running(core))
        clock.advance(hours=1)
    assert (await core.tasks.find(ANN, "ticket-checker")).schedule_failures == 1


async def test_the_full_hour_is_staggered_the_same_way_each_time(config: Config, clock: MoveableClock) -> None:
    late = config.model_copy(update={"schedule": ScheduleConfig(jitter_s=300)})
    async with open_core(late, clock) as core:
        for number in range(20):
            await scheduled(core, "0,30 * * * *", f"t{number}")
        seen: list[dict[Any, float]] = []
        for minutes in (30, 30, 30):
            clock.advance(minutes=minutes)
            await core.firing.fire_due()
            fresh = [run for run in await runs(core) if run.scheduled_for == clock.now()]
            seen.append(
                {run.task_id: (run.not_before - clock.now()).total_seconds() if run.not_before else 0 for run in fresh}
            )
            async with core.db.write() as session:
                await session.execute(update(TaskRun).values(completed_at=clock.now(), status=RunStatus.CANCELLED))
        hour, half, next_hour = seen
        assert hour == next_hour
        assert len(set(hour.values())) > 10
        assert all(0 <= wait_s <= 300 for wait_s in hour.values())
        assert set(half.values()) == {0}


@pytest.mark.parametrize("when", ["at 16:00", "0 16 * * *"])
async def test_a_time_that_happens_once_or_comes_late_is_not_put_off(
    config: Config, clock: MoveableClock, when: str
) -> None:
    late = config.model_copy(update={"schedule": ScheduleConfig(jitter_s=300)})
    async with open_core(late, clock) as core:
        for number in range(5):
            await scheduled(core, when, f"t{number}")
        clock.advance(minutes=30 if when.startswith("at") else 40)
        assert await core.firing.fire_due() == 5
        assert [run.not_before for run in await runs(core)] == [None] * 5


async def test_the_full_hour_is_that_of_the_tasks_own_clock(config: Config, clock: MoveableClock) -> None:
    """At 15:30 UTC it is nine in the evening in India."""
    late = config.model_copy(update={"schedule": ScheduleConfig(jitter_s=300)})
    async with open_core(late, clock) as core:
        for number in range(5):
            await make_task(core, f"full-{number}")
            await core.schedules.set(ANN, f"full-{number}", "0 22 * * *", "Asia/Kolkata")
            await make_task(core, f"half-{number}")
            await core.schedules.set(ANN, f"half-{number}", "30 22 * * *", "Asia/Kolkata")
        for are_staggered in (True, False):
            clock.advance(minutes=60 if are_staggered else 30)
            await core.firing.fire_due()
            fresh = [run for run in await runs(core) if run.scheduled_for == clock.now()]
            assert len(fresh) == 5
            assert any(run.not_before for run in fresh) == are_staggered


async def test_owners_take_turns_when_many_are_due_at_once(core: Core, clock: MoveableClock) -> None:
    for name in ("a", "b", "c"):
        await scheduled(core, name=name)
    await make_task(core, "bobs", actor=BOB)
    await core.schedules.set(BOB, "bobs", "0 * * * *", "UTC")
    clock.advance(minutes=30)
    await core.firing.fire_due()
    first, second = await claim(core), await claim(core)
    owners = {(await core.runs.load(each.run_id)).run.owner_user_id for each in (first, second)}
    assert owners == {ANN.user_id, BOB.user_id}
