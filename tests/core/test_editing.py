"""Changes of a task: by friendly names, wholly or not at all, and never so that a schedule lacks a value."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ccdtasks.core import Core
from ccdtasks.core.definition.fields import SETTINGS, default_of, fields_of, find_field, shown, typed, value_of
from ccdtasks.core.definition.taskconfig import read_config
from ccdtasks.db.enums import Effect
from ccdtasks.db.models import Task
from ccdtasks.errors import CcdError, Conflict, Denied, Invalid, NotFound
from ccdtasks.events import TaskChanged
from tests.people import ADMIN, ANN, BOB
from tests.stories import make_task, queue

NAME = "ticket-checker"
FLIGHT = "Fly from {origin} to {to=HNL}"


async def edit(core: Core, **changes: Any) -> Task:
    return (await core.tasks.edit(ANN, NAME, {name.replace("__", "."): value for name, value in changes.items()})).task


async def row(core: Core) -> Task:
    return await core.tasks.find(ANN, NAME)


@pytest.mark.parametrize(
    ("field", "value", "setting", "kept"),
    [
        ("timeout", "3600", "timeout_s", 3600),
        ("timeout_s", "1h 30m", "timeout_s", 5400),
        ("Timeout", 120, "timeout_s", 120),
        ("human timeout", "2 hours", "human_timeout_s", 7200),
        ("budget", "$2.50", "budget_usd", "2.50"),
        ("budget-per-day", "1,000", "budget_usd_per_day", "1000"),
        ("model", "claude-opus-4-5", "model", "claude-opus-4-5"),
        ("max_turns", "40", "max_turns", 40),
        ("start_url", "https://shop.example/", "start_url", "https://shop.example/"),
        ("allowed_domains", "Shop.example, *.kayak.com", "allowed_domains", ["shop.example", "kayak.com"]),
        ("notify", "Change", "notify", "change"),
        ("overlap", "queue", "overlap", "queue"),
        ("catch_up", "none", "catch_up", "none"),
        ("catch_up_window", "2d", "catch_up_window_s", 172_800),
        ("retries", "5", "retries", {"attempts": 5}),
        ("retries", {"attempts": 5, "backoff_s": 9}, "retries", {"attempts": 5, "backoff_s": 9}),
        ("backoff", "2m", "retries", {"backoff_s": 120}),
        ("width", "1920", "display", {"width": 1920}),
        ("locale", "de-DE", "locale", "de-DE"),
    ],
)
async def test_each_setting_by_the_name_and_in_the_form_that_people_type(
    core: Core, field: str, value: Any, setting: str, kept: Any
) -> None:
    await make_task(core)
    edited = await core.tasks.edit(ANN, NAME, {field: value})
    assert (await row(core)).config == {setting: kept}
    assert edited.changes
    undone = await core.tasks.edit(ANN, NAME, {field: "default" if isinstance(value, str) else None})
    if isinstance(value, str) or field != "retries":
        assert undone.task.config == {}


async def test_every_setting_is_a_field_with_a_meaning_that_fits_discords_list(core: Core) -> None:
    task = await make_task(core, prompt=FLIGHT)
    names = ["origin", "to"]
    assert {each.path[0] for each in SETTINGS} == set(type(read_config({})).model_fields)
    for each in fields_of(names):
        assert each.meaning, each.name
        assert len(f"{each.name}: {each.meaning}") <= 100, each.name
        assert find_field(names, each.name, NAME) == each
        default = default_of(task, each, core.config)
        assert isinstance(shown(each, default), str)


async def test_what_is_shown_can_be_typed_again(core: Core) -> None:
    await make_task(core, prompt=FLIGHT)
    changes = {
        "timeout": 5415,
        "budget": "0.25",
        "allowed_domains": "a.example b.example",
        "notify_on_error": "no",
        "values": 'origin:"San Francisco" to:x',
        "description": "Cheap flights",
        "effect": "acts",
    }
    task = (await core.tasks.edit(ANN, NAME, changes)).task
    again = {each.name: typed(each, value_of(task, each)) for each in fields_of(["origin", "to"])}
    assert again["timeout"] == "5415"
    assert (await core.tasks.edit(ANN, NAME, again)).changes == []


async def test_a_change_says_what_it_changed_and_rings_and_is_noted(core: Core) -> None:
    task = await make_task(core)
    with core.bus.bell(TaskChanged) as bell:
        edited = await core.tasks.edit(ANN, NAME, {"timeout": "3600", "notify_on_complete": "off", "effect": "acts"})
        assert bell.is_set()
    assert [(each.field, each.before, each.after) for each in edited.changes] == [
        ("timeout", "", "1 h"),
        ("notify_on_complete", "yes", "no"),
        ("effect", "", "acts"),
    ]
    found = await row(core)
    assert (found.effect, found.notify_on_complete, found.notify_on_error) == (Effect.ACTS, False, True)
    (entry,) = [each for each in await core.audit.entries("task", task.id) if each.action == "task.edit"]
    assert entry.actor_id == ANN.user_id
    assert entry.details == {"timeout": ["", "1 h"], "notify_on_complete": ["yes", "no"], "effect": ["", "acts"]}
    assert (await core.tasks.edit(ANN, NAME, {"timeout_s": 3600})).changes == []
    assert len(await core.audit.entries("task", task.id)) == 2
    assert (await edit(core, effect="reads")).effect is Effect.READS


@pytest.mark.parametrize(
    ("field", "value", "message", "hint"),
    [
        ("tiemout", "5", "There is no field `tiemout`.", "did you mean `timeout`?"),
        ("qqqqq", "5", "There is no field `qqqqq`.", "/task-edit ticket-checker shows what can be changed"),
        ("schedule", "@daily", "`schedule` is no field of its own.", "/task-schedule ticket-checker sets when it runs"),
        ("timeout", "5", "`timeout` must be at least 30.", "how long a run may take; 3600, or 1h 30m"),
        ("timeout", "soon", "`soon` is no length of time.", "write seconds, or a length like 1h 30m"),
        ("notify_on_error", "maybe", "`notify_on_error` must be yes or no.", "call you when a run failed for good"),
        ("effect", "buys", "`effect` must be one of 'reads' or 'acts'.", None),
        ("budget", "much", "`budget` must be a number.", None),
        ("retries", "many", "`retries.attempts` must be a whole number.", None),
        ("start_url", "file:///etc/passwd", "`start_url` must be an http or https address.", None),
        ("prompt", "", "The task needs a prompt: what should be done, in plain words.", None),
        ("prompt", "Fly {", "The brace at position 5 of the prompt is never closed.", None),
        ("description", "x" * 1001, "The description is longer than 1,000 characters.", None),
        ("values", "origin:x", "There is no field `values.origin`.", None),
    ],
)
async def test_what_cannot_be_taken_changes_nothing(
    core: Core, field: str, value: str, message: str, hint: str | None
) -> None:
    await make_task(core)
    before = await row(core)
    with pytest.raises(Invalid) as caught:
        await core.tasks.edit(ANN, NAME, {"description": "new", "max_turns": "7", field: value})
    assert caught.value.message == message
    assert hint is None or caught.value.hint == hint
    after = await row(core)
    assert (after.config, after.description, after.template_prompt) == (
        before.config,
        before.description,
        before.template_prompt,
    )


async def test_only_the_owner_and_admins_may(core: Core) -> None:
    await make_task(core)
    with pytest.raises(Denied, match="can change this task"):
        await core.tasks.edit(BOB, NAME, {"timeout": "3600"})
    with pytest.raises(NotFound):
        await core.tasks.edit(ANN, "other", {"timeout": "3600"})
    assert (await core.tasks.edit(ADMIN, NAME, {"timeout": "3600"})).changes


async def test_the_parameters_follow_the_prompt(core: Core) -> None:
    await make_task(core, prompt=FLIGHT)
    hints = {"origin": {"description": "airport", "pattern": "[A-Z]{3}"}, "to": {"default": "OGG"}}
    await edit(core, parameters=hints)
    task = await edit(core, prompt="Fly on {day} from {origin} to {to=HNL}")
    assert task.required_parameters == [
        {"name": "day", "description": ""},
        {"name": "origin", "description": "airport", "pattern": "[A-Z]{3}"},
    ]
    assert task.optional_parameters == [{"name": "to", "description": "", "default": "OGG"}]
    task = await edit(core, prompt="Fly from {origin} to {to=LIH}")
    assert task.optional_parameters[0]["default"] == "LIH"
    task = await edit(core, prompt="Fly from {origin} to {to}")
    assert [each["name"] for each in task.required_parameters] == ["origin", "to"]
    with pytest.raises(Invalid, match="has no property `choises`"):
        await edit(core, parameters={"origin": {"choises": ["SFO"]}})
    with pytest.raises(Invalid, match="The prompt has no placeholder"):
        await edit(core, parameters={"frm": {}})


async def test_a_schedule_never_lacks_a_value(core: Core) -> None:
    await make_task(core, prompt=FLIGHT)
    await core.schedules.set(ANN, NAME, "@daily", values="origin:SFO")
    with pytest.raises(Invalid) as caught:
        await edit(core, prompt="Fly from {origin} on {dates}")
    assert caught.value.message == ("A scheduled run of ticket-checker has nobody to ask, and `dates` would be empty.")
    assert "{dates=...}" in caught.value.hint
    assert (await row(core)).template_prompt == FLIGHT
    with pytest.raises(Invalid, match="`origin` would be empty"):
        await edit(core, values__origin=None)
    with pytest.raises(Invalid, match="`origin` would be empty"):
        await edit(core, values="")
    task = await edit(core, prompt="Fly from {origin} on {dates}", dates="Feb 15-22")
    assert task.schedule_parameters == {"origin": "SFO", "dates": "Feb 15-22"}
    task = await edit(core, prompt="Fly on {dates}")
    assert task.schedule_parameters == {"dates": "Feb 15-22"}


async def test_saved_values_are_kept_before_there_is_a_schedule(core: Core) -> None:
    await make_task(core, prompt=FLIGHT)
    with pytest.raises(Invalid):
        await core.schedules.set(ANN, NAME, "@daily")
    edited = await core.tasks.edit(ANN, NAME, {"origin": "SFO"})
    assert [(each.field, each.after) for each in edited.changes] == [("values.origin", "SFO")]
    assert (await core.schedules.set(ANN, NAME, "@daily")).task.schedule_parameters == {"origin": "SFO"}
    assert (await edit(core, values="to:OGG")).schedule_parameters == {"origin": "SFO", "to": "OGG"}
    assert (await edit(core, values__to="")).schedule_parameters == {"origin": "SFO"}


async def test_a_value_that_the_parameter_does_not_take_is_refused(core: Core) -> None:
    await make_task(core, prompt=FLIGHT)
    await edit(core, parameters={"origin": {"choices": ["SFO", "LAX"]}})
    with pytest.raises(Invalid, match="must be one of `SFO`, `LAX`"):
        await edit(core, origin="JFK")
    await edit(core, origin="SFO")
    with pytest.raises(Invalid, match="must be one of `LAX`"):
        await edit(core, parameters={"origin": {"choices": ["LAX"]}})


async def test_a_task_that_another_starts_never_lacks_a_value(core: Core) -> None:
    await make_task(core, "scrape")
    await make_task(core, prompt="Read {file}")
    await core.dependencies.add(ANN, NAME, "scrape", values="file:@scrape/output_file")
    with pytest.raises(Invalid, match="that another task starts has nobody to ask, and `topic` would be empty"):
        await edit(core, prompt="Read {file} about {topic}")
    task = await edit(core, prompt="Read {file} about {topic=news}")
    assert [each["name"] for each in task.optional_parameters] == ["topic"]


async def test_a_run_in_line_never_lacks_a_value(core: Core) -> None:
    await make_task(core)
    await queue(core)
    with pytest.raises(Conflict) as caught:
        await edit(core, prompt=FLIGHT)
    assert caught.value.message == "A run of ticket-checker that waits in line has no value for `origin`."
    assert caught.value.hint == "let it begin first, or stop it: /task-stop ticket-checker"
    assert (await edit(core, prompt="Fly to {to=HNL}")).template_prompt == "Fly to {to=HNL}"


async def test_what_is_unset_is_as_in_a_new_task(core: Core) -> None:
    await make_task(core)
    switches = ("notify_on_complete", "notify_on_error", "pushover_enabled")
    await core.tasks.edit(ANN, NAME, {**dict.fromkeys(switches, "no"), "description": "x", "effect": "acts"})
    unset = (await core.tasks.edit(ANN, NAME, dict.fromkeys((*switches, "description", "effect")))).task
    fresh = await make_task(core, "fresh")
    for column in (*switches, "description", "effect", "config"):
        assert getattr(unset, column) == getattr(fresh, column), column


async def test_a_name_that_is_given_twice(core: Core) -> None:
    await make_task(core)
    with pytest.raises(Invalid, match="`timeout` is given twice"):
        await core.tasks.edit(ANN, NAME, {"timeout": "60", "timeout_s": "90"})


async def test_changes_at_the_same_time_lose_nothing(core: Core) -> None:
    await make_task(core, prompt=FLIGHT)
    names = ["timeout", "budget", "max_turns", "locale", "description", "values.origin", "values.to", "retries"]
    values = ["3600", "1", "9", "de-DE", "new", "SFO", "OGG", "4"]
    edits = (core.tasks.edit(ANN, NAME, {name: value}) for name, value in zip(names, values, strict=True))
    assert all(len(each.changes) == 1 for each in await asyncio.gather(*edits))
    found = await row(core)
    assert found.config == {
        "timeout_s": 3600,
        "budget_usd": "1",
        "max_turns": 9,
        "locale": "de-DE",
        "retries": {"attempts": 4},
    }
    assert found.description == "new"
    assert found.schedule_parameters == {"origin": "SFO", "to": "OGG"}


async def test_a_schedule_and_a_prompt_that_contradict_each_other_cannot_both_be_had(core: Core) -> None:
    await make_task(core, prompt="Fly")
    both = await asyncio.gather(
        core.schedules.set(ANN, NAME, "@daily"),
        core.tasks.edit(ANN, NAME, {"prompt": "Fly to {where}"}),
        return_exceptions=True,
    )
    assert [isinstance(each, CcdError) for each in both].count(True) == 1
