"""The dead man's switch: what should have happened and did not is told once, and mended where that is possible."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from ccdtasks.core import Core, build_core
from ccdtasks.db.enums import Reason
from ccdtasks.db.models import Task
from ccdtasks.errors import Invalid
from tests.clock import MoveableClock
from tests.core.test_firing import copies, fires, history, runs, scheduled
from tests.people import ANN
from tests.stories import all_messages, claim, fail


async def put(core: Core, **values: Any) -> None:
    """Breaks the row of every task so."""
    async with core.db.write() as session:
        await session.execute(update(Task).values(**values))


async def alerts(core: Core) -> list[tuple[str, bool, str | None]]:
    """Kind, whether it stands in the task's channel, and whom it calls."""
    found = [each for each in await all_messages(core) if each.key.startswith("late:")]
    return sorted((each.payload["kind"], each.task_id is not None, each.payload["owner"]) for each in found)


async def stop_all(core: Core) -> None:
    """Nothing goes on any more."""
    for run in await runs(core):
        if run.completed_at is None:
            await core.runs.stop(ANN, str(run.id))


def restarted(core: Core) -> Core:
    """The same database under a new process, which remembers nothing."""
    return build_core(core.db, core.bus, core.clock, core.config)


async def test_all_is_well(core: Core, clock: MoveableClock) -> None:
    await scheduled(core)
    await scheduled(core, "30 2 * * *", "daily")
    await scheduled(core, "in 40m", "once")
    for _ in range(40):
        clock.advance(minutes=7)
        await core.firing.fire_due()
        assert await core.deadman.check() == 0
        await stop_all(core)
    assert await alerts(core) == []
    assert await history(core, "repaired", "late") == []


async def test_times_that_were_skipped_or_missed_are_accounted_for(core: Core, clock: MoveableClock) -> None:
    await scheduled(core)
    await scheduled(core, "0 16 * * *", "not-made-up", catch_up="none")
    clock.advance(minutes=35)
    await core.firing.fire_due()  # one runs and does not end, the other was missed
    await core.claims.running(await claim(core))
    for _ in range(3):
        assert await core.deadman.check() == 0
        clock.advance(minutes=12)
    clock.set(datetime(2026, 1, 17, 17, 0, 5, tzinfo=UTC))
    await core.firing.fire_due()
    clock.advance(minutes=5)
    assert len(await history(core, "skipped", "missed")) == 2
    for _ in range(3):
        assert await core.deadman.check() == 0
    assert await alerts(core) == []


async def test_what_came_during_a_pause_is_not_expected_afterwards(core: Core, clock: MoveableClock) -> None:
    await scheduled(core)
    await core.schedules.pause(ANN, "ticket-checker")
    clock.advance(hours=3)
    await core.schedules.resume(ANN, "ticket-checker")
    for _ in range(3):
        clock.advance(minutes=1)
        assert await core.deadman.check() == 0
    assert await alerts(core) == []


async def test_a_schedule_that_was_changed_since_the_last_look_is_looked_at_anew(
    core: Core, clock: MoveableClock
) -> None:
    await scheduled(core)
    assert await core.deadman.check() == 0
    for when, zone in (("45 * * * *", "UTC"), ("0 9 * * *", "UTC"), ("0 9 * * *", "Asia/Tokyo")):
        clock.advance(seconds=1)
        changed = await core.schedules.set(ANN, "ticket-checker", when, zone)
        assert await core.deadman.check() == 0
        assert (await core.tasks.find(ANN, "ticket-checker")).next_run_at == changed.task.next_run_at
    assert await history(core, "repaired", "late") == []


async def test_a_run_that_was_put_off_is_not_late_before_its_time(core: Core, clock: MoveableClock) -> None:
    await scheduled(core, "0 16 * * *")
    clock.advance(minutes=30)
    await core.firing.fire_due()
    assert await core.claims.requeue(await claim(core), clock.now() + timedelta(hours=5), Reason.MODEL_UNAVAILABLE)
    clock.advance(hours=5, minutes=59)
    assert await core.deadman.check() == 0
    clock.advance(minutes=2)
    assert await core.deadman.check() == 1


async def test_a_time_that_nobody_fired_is_told_once_to_both(core: Core, clock: MoveableClock) -> None:
    await scheduled(core)
    clock.advance(minutes=31)
    assert await core.deadman.check() == 0  # just due: nobody is late yet
    clock.advance(minutes=4)
    assert await core.deadman.check() == 0  # perhaps the whole machine slept
    assert await core.deadman.check() == 1
    assert await alerts(core) == [("not_fired", False, None), ("not_fired", True, ANN.user_id)]
    for _ in range(3):
        clock.advance(minutes=5)
        assert await core.deadman.check() == 0
        assert await restarted(core).deadman.check() == 0
    assert len(await alerts(core)) == 2
    clock.advance(hours=1)
    await core.deadman.check()
    assert await core.deadman.check() == 1
    clock.advance(hours=1)
    await restarted(core).deadman.check()
    again = restarted(core).deadman
    await again.check()
    assert await again.check() == 1
    assert len(await alerts(core)) == 2  # as long as nothing runs it is one message, with the number of times
    (box, own) = [each.payload for each in await all_messages(core) if each.key.startswith("late:")]
    assert (own["count"], own["since"], own["scheduled_for"]) == (
        3,
        "2026-01-17T16:00:00+00:00",
        "2026-01-17T18:00:00+00:00",
    )
    assert box["count"] == 3
    assert await core.firing.fire_due() == 1
    await stop_all(core)
    clock.advance(hours=1)
    await core.deadman.check()
    assert await core.deadman.check() == 1
    assert len(await alerts(core)) == 4  # it ran meanwhile


async def test_a_next_time_beyond_its_turn_is_brought_back_before_it_is_missed(
    core: Core, clock: MoveableClock
) -> None:
    """Reliability 12 and 14: a clock that was set back, rules of a timezone that changed."""
    await scheduled(core)
    right = (await core.tasks.find(ANN, "ticket-checker")).next_run_at
    for wrong in (timedelta(days=365), timedelta(minutes=30), timedelta(minutes=-10)):
        await put(core, next_run_at=right + wrong)
        assert await core.deadman.check() == 1
        assert (await core.tasks.find(ANN, "ticket-checker")).next_run_at == right
    assert await alerts(core) == []
    assert len(await history(core, "repaired")) == 3


async def test_a_next_time_that_let_one_pass_is_told_and_the_time_is_made_up_for(
    core: Core, clock: MoveableClock
) -> None:
    await scheduled(core)
    await put(core, next_run_at=clock.now() + timedelta(days=300))
    clock.advance(minutes=40)
    await core.deadman.check()
    assert await core.deadman.check() == 1
    assert await core.firing.fire_due() == 1
    assert await fires(core) == ["17 16:00"]
    assert (await alerts(core))[0][0] == "not_fired"


async def test_a_lost_next_time_is_set_again_and_told(core: Core, clock: MoveableClock) -> None:
    await scheduled(core)
    await put(core, next_run_at=None)
    assert await core.deadman.check() == 1
    assert (await core.tasks.find(ANN, "ticket-checker")).next_run_at == datetime(2026, 1, 17, 16, tzinfo=UTC)
    assert [kind for kind, _, _ in await alerts(core)] == ["lost", "lost"]
    assert await core.deadman.check() == 0
    await put(core, next_run_at=None)
    clock.advance(minutes=45)
    await restarted(core).deadman.check()
    await core.firing.fire_due()
    assert await fires(core) == ["17 16:00"]


async def test_a_schedule_that_cannot_be_read_is_handed_to_the_pass_that_pauses_it(core: Core) -> None:
    await scheduled(core)
    await put(core, next_run_at=None, schedule_cron="61 * * * *")
    assert await core.deadman.check() == 1
    await core.firing.fire_due()
    assert (await core.tasks.find(ANN, "ticket-checker")).paused


async def test_a_timezone_that_is_gone_stops_neither_the_watch_nor_the_others(core: Core, clock: MoveableClock) -> None:
    await scheduled(core)
    await put(core, next_run_at=None, schedule_timezone="Mars/Olympus")
    await scheduled(core, name="other")
    assert await core.deadman.check() == 1
    clock.advance(minutes=31)
    assert await core.firing.fire_due() == 2
    assert await fires(core) == ["17 16:00"]
    task = await core.tasks.find(ANN, "ticket-checker")
    assert "There is no timezone named Mars/Olympus." in (task.paused_reason or "")
    with pytest.raises(Invalid, match="There is no timezone named Mars/Olympus"):
        await core.schedules.resume(ANN, "ticket-checker")
    await core.schedules.set(ANN, "ticket-checker", "@hourly", "Europe/Berlin")
    assert (await core.schedules.resume(ANN, "ticket-checker")).task.next_run_at is not None


async def test_after_a_wrong_future_the_present_is_caught_up_with(core: Core, clock: MoveableClock) -> None:
    """Reliability 12: the clock stood a day ahead, and everything of that day was fired."""
    await scheduled(core, "0 7 * * *")
    clock.advance(days=3)
    await core.firing.fire_due()
    assert await fires(core) == ["20 07:00"]
    clock.set(datetime(2026, 1, 17, 15, 31, tzinfo=UTC))
    await core.deadman.check()
    for _ in range(4 * 24):
        clock.advance(hours=1)
        await core.firing.fire_due()
        await stop_all(core)
    assert await fires(core) == ["18 07:00", "19 07:00", "20 07:00", "21 07:00"]


async def test_a_clock_that_is_set_back_before_a_time_that_has_its_run_changes_nothing(
    core: Core, clock: MoveableClock
) -> None:
    await scheduled(core)
    clock.advance(minutes=31)
    await core.firing.fire_due()
    clock.set(datetime(2026, 1, 17, 15, 40, tzinfo=UTC))
    for _ in range(3):
        assert await core.deadman.check() == 0
    assert (await core.tasks.find(ANN, "ticket-checker")).next_run_at == datetime(2026, 1, 17, 17, tzinfo=UTC)


@pytest.mark.parametrize("state", ["paused", "removed", "deleted"])
async def test_nothing_is_expected_of_what_rests(core: Core, clock: MoveableClock, state: str) -> None:
    await scheduled(core)
    await core.deadman.check()
    act = {"paused": core.schedules.pause, "removed": core.schedules.remove, "deleted": core.tasks.delete}[state]
    await act(ANN, "ticket-checker")
    clock.advance(hours=3)
    assert await core.deadman.check() == 0
    assert await core.deadman.check() == 0


async def test_a_run_that_does_not_start_or_end_is_told_once(core: Core, clock: MoveableClock) -> None:
    await scheduled(core, "0 16 * * *", timeout_s=600, human_timeout_s=600)
    await scheduled(core, "0 16 * * *", "waits")
    clock.advance(minutes=30)
    await core.firing.fire_due()
    claimed = await claim(core)
    await core.claims.running(claimed)
    clock.advance(minutes=55)
    assert await core.deadman.check() == 0
    clock.advance(minutes=6)
    assert await core.deadman.check() == 2
    assert {kind for kind, _, _ in await alerts(core)} == {"not_started", "not_ended"}
    assert await core.deadman.check() == 0


async def test_a_further_attempt_that_does_not_start_or_end_is_told_too(core: Core, clock: MoveableClock) -> None:
    await scheduled(core, "0 16 * * *", timeout_s=600, human_timeout_s=600, retries={"attempts": 3})
    clock.advance(minutes=30)
    await core.firing.fire_due()
    for kind in ("not_started", "not_ended"):
        first = await claim(core)
        await core.claims.running(first)
        await fail(core, first)
        await core.claims.removed(first)
        clock.advance(minutes=59)
        assert await core.deadman.check() == 0
        if kind == "not_started":
            clock.advance(hours=1)
        else:
            await core.claims.running(await claim(core))
            clock.advance(minutes=31)
        assert await core.deadman.check() == 1
        assert await core.deadman.check() == 0
        assert await restarted(core).deadman.check() == 0
        assert kind in {told for told, _, _ in await alerts(core)}
    assert len(await alerts(core)) == 4
    assert {row.scheduled_for for row in await history(core, "late")} == {datetime(2026, 1, 17, 16, tzinfo=UTC)}


async def test_a_run_that_started_late_and_does_not_end_is_told_of_both(core: Core, clock: MoveableClock) -> None:
    await scheduled(core, "0 16 * * *", timeout_s=600, human_timeout_s=600)
    clock.advance(minutes=30)
    await core.firing.fire_due()
    clock.advance(minutes=61)
    assert await core.deadman.check() == 1
    await core.claims.running(await claim(core))
    clock.advance(minutes=31)
    assert await core.deadman.check() == 1
    assert [kind for kind, _, _ in await alerts(core)] == ["not_ended", "not_ended", "not_started", "not_started"]


async def test_thousands_of_schedules_are_looked_at_in_pages(core: Core, clock: MoveableClock) -> None:
    await scheduled(core)
    await copies(core, "ticket-checker", [f"{number % 60} * * * *" for number in range(219)])
    assert await core.deadman.check() == 0
    await put(core, next_run_at=clock.now() + timedelta(days=365))
    assert await core.deadman.check() == 220
    clock.advance(hours=1)
    assert await core.firing.fire_due() == 220
    assert await core.deadman.check() == 0
