"""Copies of tasks: nothing is missing in them, nothing of them runs unasked, and a bad file makes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccdtasks.core import Core
from ccdtasks.core.tasks.definitions import Copied
from ccdtasks.errors import Conflict, Denied, Invalid, NotFound
from tests.clock import MoveableClock
from tests.people import ANN, BOB
from tests.stories import make_task, queue

FLIGHT = "Fly from {origin} to {to=HNL}"


async def source(core: Core) -> None:
    """A task that uses everything."""
    await make_task(core, "scrape")
    await make_task(core, "flights", FLIGHT, timeout_s=600, effect="acts", allowed_domains=["kayak.com"])
    changes = {
        "description": "Cheap flights",
        "notify_on_complete": "no",
        "retries": {"attempts": 2},
        "parameters": {"origin": {"description": "airport", "pattern": "[A-Z]{3}"}},
        "values": "origin:SFO",
    }
    await core.tasks.edit(ANN, "flights", changes)
    await core.schedules.set(ANN, "flights", "0 9 * * 1-5", "Europe/Berlin")
    await core.dependencies.add(ANN, "flights", "scrape", required=False, mode="any", values="to:@scrape/output_file")


async def clone(core: Core, name: str = "copy") -> Copied:
    return await core.definitions.make(ANN, await core.definitions.clone(ANN, "flights", name))


async def brought(core: Core, document: dict[str, Any], name: str | None = None) -> Copied:
    return await core.definitions.make(ANN, await core.definitions.read(ANN, json.dumps(document), name))


async def test_a_clone_has_everything_but_runs_and_rests(core: Core) -> None:
    await source(core)
    await queue(core, "scrape")
    copied = await clone(core)
    old, new = await core.tasks.find(ANN, "flights"), await core.tasks.find(ANN, "copy")
    for column in (
        "template_prompt",
        "task_type",
        "description",
        "config",
        "effect",
        "required_parameters",
        "optional_parameters",
        "schedule_parameters",
        "schedule_cron",
        "schedule_timezone",
        "notify_on_complete",
        "notify_on_error",
    ):
        assert getattr(new, column) == getattr(old, column), column
    assert (copied.task.id, new.paused, new.next_run_at, new.run_count) == (new.id, True, None, 0)
    assert (await core.dependencies.tree(ANN, "copy")).edges == []
    assert [row.action for row in await core.schedules.history(ANN, "copy")] == ["created"]
    resumed = await core.schedules.resume(ANN, "copy")
    assert resumed.task.next_run_at is not None
    with pytest.raises(Conflict, match="There is a task named copy already"):
        await clone(core)
    with pytest.raises(Denied, match="can copy this task"):
        await core.definitions.clone(BOB, "flights", "mine")
    with pytest.raises(Invalid, match="small letters"):
        await clone(core, "My Copy")


async def test_an_exported_task_comes_back_as_it_was(core: Core) -> None:
    await source(core)
    document = await core.definitions.export(ANN, "flights")
    await core.tasks.delete(ANN, "flights")
    copied = await brought(core, document)
    assert copied.task.paused
    again = await core.definitions.export(ANN, "flights")
    assert again == document
    assert document["schedule"] == {"when": "0 9 * * 1-5", "timezone": "Europe/Berlin"}
    assert document["depends_on"] == [{"task": "scrape", "required": False, "values": {"to": "@scrape/output_file"}}]
    with pytest.raises(Conflict, match="already"):
        await brought(core, document)
    assert (await brought(core, document, "other")).task.task_name == "other"


async def test_a_task_without_a_schedule_does_not_rest(core: Core) -> None:
    await make_task(core, "flights")
    copied = await clone(core)
    assert not copied.task.paused
    assert await queue(core, "copy")


async def test_a_time_that_has_passed_is_left_out(core: Core, clock: MoveableClock) -> None:
    await make_task(core, "flights")
    await core.schedules.set(ANN, "flights", "in 2h", "Asia/Tokyo")
    document = await core.definitions.export(ANN, "flights")
    assert document["schedule"] == {"when": "at 2026-01-18 02:30", "timezone": "Asia/Tokyo"}
    coming = await brought(core, document, "coming")
    assert (await core.tasks.find(ANN, "coming")).schedule_cron == "at 2026-01-17T17:30:00Z"
    assert not coming.has_passed
    clock.advance(hours=2)
    late = await brought(core, document, "late")
    assert late.has_passed
    assert (late.task.paused, late.task.schedule_cron) == (False, None)


GOOD: dict[str, Any] = {"ccdtasks_task": 1, "name": "flights", "prompt": FLIGHT}


async def test_a_number_of_thousands_of_digits_is_refused_in_words(core: Core) -> None:
    with pytest.raises(Invalid) as caught:
        await core.definitions.read(ANN, '{"ccdtasks_task": ' + "9" * 5000 + "}")
    assert caught.value.message == "A number in it is too long."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ccdtasks_task": 2}, "A newer ccdtasks exported this task."),
        ({"name": ""}, "The file has no `name`."),
        ({"prompt": None}, "The file has no `prompt`."),
        ({"promt": "x"}, "A task's file has no `promt`."),
        ({"name": 5}, "`name` must be text."),
        ({"name": "../etc"}, "A task's name has small letters, digits, - and _ only."),
        ({"prompt": "Fly {"}, "The brace at position 5 of the prompt is never closed."),
        ({"type": "No Type"}, "A task type has small letters, digits and -, at most 50."),
        ({"config": {"timeot_s": 5}}, "There is no setting `timeot_s`; did you mean `timeout_s`?"),
        ({"config": {"timeout_s": 5}}, "`timeout_s` must be at least 30."),
        ({"parameters": {"frm": {}}}, "The prompt has no placeholder {frm}."),
        ({"parameters": {"origin": "x"}}, "`parameters` must be a table of tables, one for each parameter."),
        ({"values": {"origin": 5}}, "`values.origin` must be text."),
        ({"values": {"frm": "x"}}, "There is no field `values.frm`."),
        ({"notify_on_error": "no"}, "`notify_on_error` must be true or false."),
        ({"schedule": {"wen": "@daily"}}, "A task's file has no `schedule.wen`."),
        ({"schedule": {"when": "61 * * * *"}}, "Minute 61 is not between 0 and 59."),
        ({"schedule": {"when": "@daily", "timezone": "Berlin"}}, None),
        ({"schedule": {"when": "@daily"}}, None),
        ({"depends_on": ["scrape"]}, "`depends_on` must be a list of tables."),
        ({"depends_on": [{"task": "scrape"}]}, None),
        ({"depends_on": [{"task": "nothing"}], "values": {"origin": "x"}}, "There is no task named nothing."),
    ],
)
async def test_a_wrong_file_is_named_and_makes_nothing(core: Core, change: dict[str, Any], message: str | None) -> None:
    await make_task(core, "scrape")
    with pytest.raises((Invalid, NotFound)) as caught:
        await core.definitions.read(ANN, json.dumps({**GOOD, **change}))
    assert message is None or caught.value.message == message
    assert await core.tasks.names(ANN) == ["scrape"]


async def test_what_is_no_file_of_ours(core: Core) -> None:
    for text, words in (
        ("{}", "not a task that ccdtasks exported"),
        ("{", "Line 1"),
        ("[1]", "one object"),
        ("", "Line 1"),
    ):
        with pytest.raises(Invalid, match=words):
            await core.definitions.read(ANN, text)
    await brought(core, GOOD)
    assert (await core.tasks.find(ANN, "flights")).template_prompt == FLIGHT


async def test_a_task_of_somebody_else_is_not_linked_to(core: Core) -> None:
    await make_task(core, "scrape", actor=BOB)
    with pytest.raises(Denied):
        await brought(core, {**GOOD, "values": {"origin": "x"}, "depends_on": [{"task": "scrape"}]})
    assert await core.tasks.names(ANN) == []
