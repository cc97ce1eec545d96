"""Tasks: made, found, listed, deleted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from ccdtasks.core import Core
from ccdtasks.core.tasks.tasks import ChannelPlace, TaskDraft
from ccdtasks.db.enums import Effect, RunStatus
from ccdtasks.db.models import DiscordChannel
from ccdtasks.errors import CcdError, Conflict, Denied, Invalid, NotFound
from ccdtasks.events import TaskChanged
from tests.clock import MoveableClock
from tests.people import ADMIN, ANN, BOB
from tests.stories import claim, complete, fail, make_task, queue, running

DRAFT = TaskDraft(
    "ticket-checker",
    "Check flights from {origin} to {destination=HNL}",
    description="Flights",
    config={"effect": "acts", "timeout_s": 600},
    parameters={"origin": {"description": "Airport", "pattern": "[A-Z]{3}"}},
)
PLACE = ChannelPlace("100", "ticket-checker", "200", "Ticket Price Monitoring")


async def test_a_task_keeps_what_was_said(core: Core) -> None:
    task = await core.tasks.create(ANN, DRAFT, PLACE)
    found = await core.tasks.find(ANN, "Ticket-Checker ")
    assert found.id == task.id
    assert found.owner_user_id == found.created_by == "1001"
    assert found.task_type == "ticket-checker"
    assert found.required_parameters == [{"name": "origin", "description": "Airport", "pattern": "[A-Z]{3}"}]
    assert found.optional_parameters == [{"name": "destination", "description": "", "default": "HNL"}]
    assert found.config == {"effect": "acts", "timeout_s": 600}
    assert found.effect is Effect.ACTS
    assert (found.discord_channel_id, found.discord_category_id) == ("100", "200")
    assert found.created_at == core.clock.now()
    assert [entry.action for entry in await core.audit.entries("task", task.id)] == ["task.create"]


async def test_a_bell_rings_when_the_task_is_there(core: Core) -> None:
    with core.bus.bell(TaskChanged) as bell:
        await core.tasks.check(ANN, DRAFT)
        assert not bell.is_set()
        await core.tasks.create(ANN, DRAFT)
        assert bell.is_set()


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        (TaskDraft("Bad Name", "x"), "name"),
        (TaskDraft("a", " "), "prompt"),
        (TaskDraft("a", "x {"), "prompt"),
        (TaskDraft("a", "x", config={"nope": 1}), "config"),
        (TaskDraft("a", "x", task_type="No Type"), "type"),
        (TaskDraft("a", "x", description="d" * 1001), "description"),
        (TaskDraft("a", "x", parameters={"origin": {}}), "parameters"),
    ],
)
async def test_a_wrong_draft_leaves_nothing(core: Core, draft: TaskDraft, field: str) -> None:
    for act in (core.tasks.check, core.tasks.create):
        with pytest.raises(Invalid) as caught:
            await act(ANN, draft)
        assert caught.value.field == field
    assert (await core.tasks.page(ADMIN)).rows == []


async def test_names_are_taken_until_the_task_is_deleted(core: Core) -> None:
    await make_task(core)
    for act in (core.tasks.check, core.tasks.create):
        with pytest.raises(Conflict, match="There is a task named ticket-checker already"):
            await act(BOB, TaskDraft("ticket-checker", "x"))
    await core.tasks.delete(ANN, "ticket-checker")
    await make_task(core, actor=BOB)
    assert (await core.tasks.find(BOB, "ticket-checker")).owner_user_id == BOB.user_id


async def test_one_of_many_gets_a_name(core: Core) -> None:
    made = await asyncio.gather(*(make_task(core) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(each, Conflict) for each in made) == 7


async def test_a_name_that_does_not_exist(core: Core) -> None:
    async def refusal(name: str) -> tuple[str, str]:
        with pytest.raises(NotFound) as caught:
            await core.tasks.find(ANN, name)
        return caught.value.message, caught.value.hint

    assert await refusal("x") == ("There is no task named x.", "/task-create makes one")
    await make_task(core)
    await make_task(core, "secret-shopper", actor=BOB)
    assert await refusal("tiket-cheker") == ("There is no task named tiket-cheker.", "did you mean ticket-checker?")
    assert await refusal("secret-shoper") == ("There is no task named secret-shoper.", "/task-list shows what there is")


async def test_tasks_of_others_are_theirs(core: Core) -> None:
    await make_task(core)
    with pytest.raises(Denied, match=r"^Only <@1001> or an admin can see this task.$"):
        await core.tasks.find(BOB, "ticket-checker")
    with pytest.raises(Denied, match="can delete this task"):
        await core.tasks.delete(BOB, "ticket-checker")
    assert (await core.tasks.find(ADMIN, "ticket-checker")).task_name == "ticket-checker"
    assert await core.tasks.names(BOB) == []
    assert (await core.tasks.page(BOB)).rows == []
    assert len((await core.tasks.page(ADMIN)).rows) == 1


async def test_names_for_autocomplete(core: Core) -> None:
    for name in ("news", "daily-news", "100_percent", "1000"):
        await make_task(core, name)
    assert await core.tasks.names(ANN, "news") == ["news", "daily-news"]
    assert await core.tasks.names(ANN, "NEW") == ["news", "daily-news"]
    assert await core.tasks.names(ANN, "100_") == ["100_percent"]  # _ is no wildcard
    assert await core.tasks.names(ANN, "%") == []
    assert len(await core.tasks.names(ANN, "", limit=3)) == 3


async def test_a_long_list_is_walked_page_by_page(core: Core) -> None:
    names = [f"task-{number:02}" for number in range(12)]
    for name in reversed(names):
        await make_task(core, name)
    seen: list[str] = []
    after = None
    while True:
        page = await core.tasks.page(ANN, after=after, limit=5)
        seen += [row.task.task_name for row in page.rows]
        if (after := page.next_after) is None:
            break
    assert seen == names


async def test_filters_and_figures(core: Core) -> None:
    await complete(core, await running(core, "good"))
    await fail(core, await running(core, "bad", retries={"attempts": 1}))
    await running(core, "both")
    await core.runs.start(ANN, "both")
    await queue(core, "busy")
    await make_task(core, "idle")
    rows = {row.task.task_name: row for row in (await core.tasks.page(ANN)).rows}
    assert rows["good"].success_rate == 1.0
    assert rows["bad"].success_rate == 0.0
    assert rows["idle"].success_rate is None
    assert rows["busy"].last_status is RunStatus.QUEUED
    assert rows["busy"].active == 1
    assert (rows["both"].last_status, rows["both"].active) == (RunStatus.RUNNING, 2), "the later one only waits"

    async def names(filter: Any) -> list[str]:
        return [row.task.task_name for row in (await core.tasks.page(ANN, filter)).rows]

    assert await names("active") == ["both", "busy"]
    assert await names("failed") == ["bad"]
    assert await names("paused") == await names("scheduled") == []
    with pytest.raises(Invalid, match="There is no filter `broken`"):
        await names("broken")


async def test_a_running_task_is_not_deleted(core: Core, clock: MoveableClock) -> None:
    await queue(core)
    with pytest.raises(Conflict, match="ticket-checker is running right now"):
        await core.tasks.delete(ANN, "ticket-checker")
    await complete(core, await _up(core))
    deleted = await core.tasks.delete(ANN, "ticket-checker")
    assert deleted.deleted_at == clock.now()
    with pytest.raises(NotFound):
        await core.tasks.find(ANN, "ticket-checker")
    assert (await core.tasks.load(deleted.id)).task_name == "ticket-checker"


async def _up(core: Core) -> Any:
    claimed = await claim(core)
    await core.claims.running(claimed)
    return claimed


async def test_the_projection_notes_where_it_put_a_task(core: Core) -> None:
    task = await make_task(core)
    await core.tasks.set_place(task.id, PLACE)
    await core.tasks.set_place(task.id, ChannelPlace("101", "ticket-checker-2", "200", "Ticket Price Monitoring"))
    assert (await core.tasks.find(ANN, "ticket-checker")).discord_channel_id == "101"
    async with core.db.read() as session:
        channels = {row.channel_id: row.channel_type for row in await session.scalars(select(DiscordChannel))}
    assert channels == {"100": "task", "101": "task", "200": "task-category"}


async def test_every_refusal_is_a_sentence(core: Core) -> None:
    for name in ("", "x" * 500, "\x00", "a\nb"):
        with pytest.raises(CcdError) as caught:
            await core.tasks.find(ANN, name)
        assert caught.value.message.endswith(".")
        assert "\x00" not in caught.value.message
