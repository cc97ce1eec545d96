"""Schedules as people set them: said in words, refused in words, kept in a history."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.calendar.schedulelog import said
from ccdtasks.db.models import ScheduleHistory, UserSettings
from ccdtasks.errors import CcdError, Conflict, Denied, Invalid, NotFound
from ccdtasks.events import TaskChanged
from tests.clock import MoveableClock
from tests.people import ADMIN, ANN, BOB
from tests.stories import make_task


async def actions(core: Core, name: str = "ticket-checker") -> list[str]:
    """What the history has, by name: the clock of the tests stands still."""
    return sorted(row.action for row in await core.schedules.history(ADMIN, name))


async def test_a_schedule_is_kept_and_said_in_words(core: Core) -> None:
    await make_task(core)
    with core.bus.bell(TaskChanged) as bell:
        made = await core.schedules.set(ANN, "ticket-checker", "0 6,18 * * *", "America/Los_Angeles")
        assert bell.is_set()
    assert made.preview is not None
    assert made.preview.words == "At 06:00 and 18:00 every day"
    assert [f"{moment:%d %H:%M}" for moment in made.preview.times] == [
        "18 02:00",
        "18 14:00",
        "19 02:00",
        "19 14:00",
        "20 02:00",
    ]
    task = await core.tasks.find(ANN, "ticket-checker")
    assert (task.schedule_cron, task.schedule_timezone) == ("0 6,18 * * *", "America/Los_Angeles")
    assert task.next_run_at == made.preview.times[0]
    assert [row.task.task_name for row in (await core.tasks.page(ANN, "scheduled")).rows] == ["ticket-checker"]
    (row,) = await core.schedules.history(ANN, "ticket-checker")
    assert (row.action, row.triggered_by, row.user_id) == ("created", "user_command", ANN.user_id)
    assert (row.schedule_before, row.schedule_after) == (None, "0 6,18 * * *")
    assert "task.schedule_created" in [each.action for each in await core.audit.entries("task", task.id)]


async def test_a_change_keeps_timezone_and_values_unless_they_are_given(core: Core) -> None:
    await make_task(core, prompt="Fly from {origin} to {to=HNL}")
    await core.schedules.set(ANN, "ticket-checker", "@daily", "Europe/Berlin", "origin:SFO")
    again = await core.schedules.set(ANN, "ticket-checker", "@hourly", values={"to": "OGG"})
    assert again.task.schedule_timezone == "Europe/Berlin"
    assert again.task.schedule_parameters == {"origin": "SFO", "to": "OGG"}
    assert await actions(core) == ["created", "updated"]


async def test_without_a_timezone_the_users_own_is_taken_then_that_of_the_box(core: Core) -> None:
    await make_task(core, "a")
    assert (await core.schedules.set(ANN, "a", "@daily")).task.schedule_timezone == "UTC"
    async with core.db.write() as session:
        session.add(UserSettings(user_id=ANN.user_id, timezone="Asia/Tokyo"))
    await make_task(core, "b")
    assert (await core.schedules.set(ANN, "b", "@daily")).task.schedule_timezone == "Asia/Tokyo"


async def test_a_schedule_without_values_for_what_is_required_names_it(core: Core) -> None:
    await make_task(core, prompt="Fly from {origin} on {dates} to {to=HNL}")
    with pytest.raises(Invalid) as caught:
        await core.schedules.set(ANN, "ticket-checker", "@daily", values="dates:today")
    assert caught.value.field == "values"
    assert "`origin` would be empty" in caught.value.message
    assert "origin:..." in caught.value.hint
    with pytest.raises(Invalid, match="has no parameter `frm`"):
        await core.schedules.set(ANN, "ticket-checker", "@daily", values="origin:a dates:b frm:c")
    assert (await core.tasks.find(ANN, "ticket-checker")).schedule_cron is None
    assert await actions(core) == []


@pytest.mark.parametrize(
    ("when", "zone", "field"),
    [("61 * * * *", None, "cron"), ("@daily", "Europe/Berln", "timezone"), ("today 9:00", "UTC", "time")],
)
async def test_what_is_wrong_changes_nothing(core: Core, when: str, zone: str | None, field: str) -> None:
    await make_task(core)
    with pytest.raises(Invalid) as caught:
        await core.schedules.set(ANN, "ticket-checker", when, zone)
    assert caught.value.field == field
    with pytest.raises(Invalid):
        await core.schedules.preview(when, zone)
    assert (await core.tasks.find(ANN, "ticket-checker")).next_run_at is None


async def test_only_owners_and_admins_touch_a_schedule(core: Core) -> None:
    await make_task(core)
    await core.schedules.set(ANN, "ticket-checker", "@daily")
    for act in (
        core.schedules.set(BOB, "ticket-checker", "@hourly"),
        core.schedules.remove(BOB, "ticket-checker"),
        core.schedules.pause(BOB, "ticket-checker"),
        core.schedules.resume(BOB, "ticket-checker"),
        core.schedules.history(BOB, "ticket-checker"),
        core.schedules.show(BOB, "ticket-checker"),
    ):
        with pytest.raises(Denied):
            await act
    await core.schedules.pause(ADMIN, "ticket-checker")
    with pytest.raises(NotFound, match="no task named ticket-chekker"):
        await core.schedules.remove(ANN, "ticket-chekker")


async def test_a_schedule_is_removed_and_the_task_stays(core: Core) -> None:
    await make_task(core)
    with pytest.raises(Conflict, match="has no schedule"):
        await core.schedules.remove(ANN, "ticket-checker")
    await core.schedules.set(ANN, "ticket-checker", "@daily")
    task = await core.schedules.remove(ANN, "ticket-checker")
    assert (task.schedule_cron, task.next_run_at, task.schedule_set_at) == (None, None, None)
    assert await actions(core) == ["created", "removed"]
    assert (await core.schedules.show(ANN, "ticket-checker")).preview is None


async def test_a_pause_skips_what_comes_and_makes_nothing_up(core: Core, clock: MoveableClock) -> None:
    await make_task(core)
    await core.schedules.set(ANN, "ticket-checker", "0 * * * *")
    await core.schedules.pause(ANN, "ticket-checker")
    with pytest.raises(Conflict, match="is paused already"):
        await core.schedules.pause(ANN, "ticket-checker")
    clock.advance(hours=3)
    assert await core.firing.fire_due() == 0
    back = await core.schedules.resume(ANN, "ticket-checker")
    assert back.task.next_run_at == datetime(2026, 1, 17, 19, tzinfo=UTC)
    assert await core.firing.fire_due() == 0
    with pytest.raises(Conflict, match="is not paused"):
        await core.schedules.resume(ANN, "ticket-checker")
    assert await actions(core) == ["created", "paused", "resumed"]


async def test_a_new_schedule_of_a_paused_task_waits_for_the_end_of_the_pause(core: Core, clock: MoveableClock) -> None:
    await make_task(core)
    await core.schedules.pause(ANN, "ticket-checker")
    assert (await core.schedules.set(ANN, "ticket-checker", "@hourly")).task.next_run_at is None
    clock.advance(hours=2)
    assert await core.firing.fire_due() == 0
    assert (await core.schedules.resume(ANN, "ticket-checker")).task.next_run_at is not None


async def test_a_time_that_passed_during_the_pause_is_asked_for_again(core: Core, clock: MoveableClock) -> None:
    await make_task(core)
    await core.schedules.set(ANN, "ticket-checker", "in 20m")
    await core.schedules.pause(ANN, "ticket-checker")
    clock.advance(minutes=21)
    with pytest.raises(Conflict, match="passed during the pause"):
        await core.schedules.resume(ANN, "ticket-checker")
    await core.schedules.set(ANN, "ticket-checker", "in 20m")
    await core.schedules.resume(ANN, "ticket-checker")
    clock.advance(minutes=21)
    assert await core.firing.fire_due() == 1


async def test_one_of_many_changes_at_once_holds(core: Core) -> None:
    await make_task(core)
    acts = [core.schedules.set(ANN, "ticket-checker", f"{minute} * * * *") for minute in range(6)]
    acts += [core.schedules.pause(ANN, "ticket-checker") for _ in range(3)]
    done = await asyncio.gather(*acts, return_exceptions=True)
    assert all(isinstance(each, CcdError) for each in done if isinstance(each, BaseException))
    assert sum(isinstance(each, Conflict) for each in done) == 2
    task = await core.tasks.find(ANN, "ticket-checker")
    assert task.paused
    assert task.next_run_at is None
    assert await actions(core) == ["created", "paused", *["updated"] * 5]


async def test_a_deleted_task_fires_no_more(core: Core, clock: MoveableClock) -> None:
    await make_task(core)
    await core.schedules.set(ANN, "ticket-checker", "@hourly")
    gone = await core.tasks.delete(ANN, "ticket-checker")
    clock.advance(hours=2)
    assert await core.firing.fire_due() == 0
    async with core.db.read() as session:
        query = select(ScheduleHistory).where(ScheduleHistory.task_id == gone.id, ScheduleHistory.action == "removed")
        (row,) = (await session.scalars(query)).all()
    assert (row.schedule_before, row.schedule_after, row.user_id) == ("@hourly", None, ANN.user_id)


async def test_the_clock_and_the_values_of_a_schedule_change_without_the_rest(core: Core, clock: MoveableClock) -> None:
    await make_task(core, prompt="Fly from {origin}")
    with pytest.raises(Conflict, match="has no schedule"):
        await core.schedules.set(ANN, "ticket-checker", None, "Asia/Tokyo", "origin:SFO")
    await core.schedules.set(ANN, "ticket-checker", "0 9 * * *", "UTC", "origin:SFO")
    moved = await core.schedules.set(ANN, "ticket-checker", None, "Asia/Tokyo", "origin:LAX")
    assert (moved.task.schedule_cron, moved.task.schedule_timezone) == ("0 9 * * *", "Asia/Tokyo")
    assert moved.task.next_run_at == datetime(2026, 1, 18, 0, tzinfo=UTC)
    assert moved.task.schedule_parameters == {"origin": "LAX"}
    await core.schedules.set(ANN, "ticket-checker", "in 20m")
    assert (await core.schedules.set(ANN, "ticket-checker", None, "UTC")).task.next_run_at == clock.now() + timedelta(
        minutes=20
    )
    clock.advance(minutes=21)
    with pytest.raises(Conflict, match="has come"):
        await core.schedules.set(ANN, "ticket-checker", None, "UTC")
    assert await core.firing.fire_due() == 1


async def test_what_became_of_a_schedule_is_shown_in_words(core: Core, clock: MoveableClock) -> None:
    await make_task(core)
    await core.schedules.set(ANN, "ticket-checker", "@daily", "UTC")
    clock.advance(minutes=1)
    await core.schedules.set(ANN, "ticket-checker", "0 * * * *")
    clock.advance(minutes=29)
    await core.firing.fire_due()
    clock.advance(hours=1)
    await core.firing.fire_due()
    await core.runs.stop(ANN, "ticket-checker")
    clock.advance(hours=3, minutes=31)
    await core.firing.fire_due()
    clock.advance(seconds=1)
    await core.schedules.pause(ANN, "ticket-checker")
    shown = await core.schedules.show(ANN, "ticket-checker", 20)
    said_ = [said(row, shown.task.schedule_timezone) for row in shown.history]
    assert said_[0] == "paused"
    assert set(said_[1:3]) == {"ran 31 m late", "2 times missed, since the box was off"}
    assert said_[3:] == [
        "skipped, since a run still went on",
        "ran",
        "0 * * * * instead of @daily",
        "@daily set",
    ]
    assert shown.preview is not None
    assert [row.action for row in (await core.schedules.show(ANN, "ticket-checker", 1)).history] == ["paused"]
    clock.advance(seconds=1)
    await core.schedules.set(ANN, "ticket-checker", "at 2026-01-18 09:00", "Europe/Berlin")
    (row,) = (await core.schedules.show(ANN, "ticket-checker", 1)).history
    assert said(row, "Europe/Berlin") == "once on 2026-01-18 09:00 CET instead of 0 * * * *"


async def test_a_preview_needs_no_task(core: Core) -> None:
    start = datetime(2026, 3, 28, 12, tzinfo=UTC)
    shown = await core.schedules.preview("30 2 * * *", "europe/berlin", start, 2)
    assert [moment.isoformat() for moment in shown.times] == ["2026-03-29T01:00:00+00:00", "2026-03-30T00:30:00+00:00"]
    assert len((await core.schedules.preview("* * * * *", count=10**6)).times) == 100
    assert shown.times[1] - shown.times[0] < timedelta(hours=24)


async def test_timezones_complete_themselves(core: Core) -> None:
    assert await core.schedules.timezones("los") == ["America/Los_Angeles"]
    assert (await core.schedules.timezones("Los angeles"))[0] == "America/Los_Angeles"
    assert len(await core.schedules.timezones("")) == 25
    assert await core.schedules.timezones("%_'; DROP TABLE") == []
    assert await core.schedules.history(SHELL, (await make_task(core)).task_name) == []
