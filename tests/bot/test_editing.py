"""Changes of a task in Discord: by field, in a form, as JSON; and what becomes of mistakes."""

from __future__ import annotations

import json
from typing import Any

from ccdtasks.core.access import SHELL
from ccdtasks.core.tasks.settingsjson import settings
from ccdtasks.db.models import Task
from tests.bot.conftest import World, embed_of

PROMPT = "Fly from {origin} to {to=HNL}"
NAME = "ticket-checker"


def said(reply: Any) -> str:
    """Title and text of a reply's one embed."""
    embed = embed_of(reply)
    return f"{embed.title}\n{embed.description or ''}"


async def edit(world: World, **options: Any) -> Any:
    return await world.alice.slash(world.lobby, "task-edit", task=NAME, **options)


async def task(world: World) -> Task:
    return await world.core.tasks.find(SHELL, NAME)


async def config_form(world: World) -> tuple[Any, dict[str, Any]]:
    """The open form with the settings, and what is in it."""
    form = await world.alice.slash(world.lobby, "task-config", task=NAME, action="edit")
    return form, json.loads(form.modal["components"][0]["component"]["value"])


async def test_the_command_of_the_handbook(world: World) -> None:
    await world.make()
    reply = await edit(world, field="timeout", value="3600")
    assert reply.ephemeral
    assert said(reply) == (
        "✓ ticket-checker: changed\n**timeout**: 30 m (default) → 1 h\n\nRuns that begin from now on have it."
    )
    assert (await task(world)).config == {"timeout_s": 3600}
    assert "**timeout**: 1 h → 30 m (default)" in said(await edit(world, field="timeout", value="default"))
    assert "It was so already." in said(await edit(world, field="timeout", value="default"))


async def test_without_a_field_it_shows_what_can_be_changed_and_todays_values(world: World) -> None:
    await world.make(prompt=PROMPT)
    await edit(world, field="notify_on_error", value="no")
    shown = said(await edit(world))
    assert "`/task-edit ticket-checker timeout 3600`" in shown
    assert "**timeout** 30 m (default) · how long a run may take" in shown
    assert "**notify\\_on\\_error** no · call you when a run failed for good" in shown
    assert "**description** none" in shown
    assert "**locale** en-US (default)" in shown
    assert "Which field" in said(await edit(world, value="3600"))


async def test_without_a_value_a_form_has_todays(world: World) -> None:
    await world.make(prompt=PROMPT)
    form = await edit(world, field="prompt")
    assert form.modal["title"] == "Change ticket-checker"
    assert form.modal["components"][0]["component"]["value"] == PROMPT
    reply = said(await world.alice.submit_modal(form, {"value": "Sail from {origin} on {day=Monday}"}))
    assert "**prompt** is new; it asks for `origin` and `day`" in reply
    assert (await task(world)).template_prompt == "Sail from {origin} on {day=Monday}"
    channel: Any = world.bot.get_channel(world.channel(NAME).id)
    assert channel.topic == "Sail from {origin} on {day=Monday}"


async def test_values_are_kept_for_the_schedule(world: World) -> None:
    await world.make(prompt=PROMPT)
    assert "**values.origin**: none → San Francisco" in said(await edit(world, field="origin", value="San Francisco"))
    scheduled = said(await world.alice.slash(world.lobby, "task-schedule", task=NAME, when="@daily"))
    assert "• origin: San Francisco" in scheduled
    form = await edit(world, field="values")
    assert form.modal["components"][0]["component"]["value"] == 'origin:"San Francisco"'
    assert "**values.to**: HNL (default) → OGG" in said(
        await world.alice.submit_modal(form, {"value": "origin:SFO to:OGG"})
    )
    form = await edit(world, field="values")
    assert "**values.to**: OGG → HNL (default)" in said(await world.alice.submit_modal(form, {"value": "origin:SFO"}))
    assert (await task(world)).schedule_parameters == {"origin": "SFO"}


async def test_what_cannot_be_taken_is_said_and_what_was_typed_is_kept(world: World) -> None:
    await world.make()
    assert "did you mean `timeout`?" in said(await edit(world, field="timout", value="5")).lower()
    refused = said(await edit(world, field="timeout", value="5"))
    assert refused.splitlines()[1] == "`timeout` must be at least 30."  # the field is named once
    form = await edit(world, field="timeout")
    failed = await world.alice.submit_modal(form, {"value": "soon"})
    refusal, again = failed.responses if hasattr(failed, "responses") else (failed.response, failed.followups[-1])
    assert "is no length of time" in (refusal.embeds[0].description or "")
    form = await world.alice.click(again, label="Back to what I typed")
    assert form.modal["components"][0]["component"]["value"] == "soon"
    assert "30 m (default) → 1 h 30 m" in said(await world.alice.submit_modal(form, {"value": "1h 30m"}))


async def test_only_the_owner_may(world: World) -> None:
    await world.make()
    for command, options in (("task-edit", {"field": "timeout", "value": "60"}), ("task-config", {})):
        reply = await world.bob.slash(world.lobby, command, task=NAME, **options)
        assert "Only <@" in said(reply)
    assert await world.bob.autocomplete(world.lobby, "task-edit", "field", "saved", task=NAME) == []


async def test_fields_and_their_words_complete_themselves(world: World) -> None:
    await world.make(prompt=PROMPT)
    offered = await world.alice.autocomplete(world.lobby, "task-edit", "field", "", task=NAME)
    assert len(offered) == 25
    assert [choice["value"] for choice in offered[:3]] == ["prompt", "description", "timeout"]
    offered = await world.alice.autocomplete(world.lobby, "task-edit", "field", "values.", task=NAME)
    assert [choice["value"] for choice in offered] == ["values.origin", "values.to"]
    offered = await world.alice.autocomplete(world.lobby, "task-edit", "value", "", task=NAME, field="effect")
    assert [choice["value"] for choice in offered] == ["reads", "acts"]
    assert await world.alice.autocomplete(world.lobby, "task-edit", "value", "3", task=NAME, field="timeout") == []


async def test_all_settings_as_json(world: World) -> None:
    await world.make(prompt=PROMPT)
    await edit(world, field="timeout", value="3600")
    shown = said(await world.alice.slash(world.lobby, "task-config", task=NAME))
    written = shown.split("```json\n")[1].split("\n```")[0]
    assert json.loads(written) == settings(await task(world))
    assert json.loads(written)["timeout_s"] == 3600
    assert "`/task-config ticket-checker edit`" in shown


async def test_long_settings_come_as_a_file_and_do_not_fit_a_form(world: World) -> None:
    await world.make(prompt=PROMPT)
    domains = ", ".join(f"shop-number-{number}-of-many-shops.example" for number in range(100))
    await edit(world, field="allowed_domains", value=domains)
    shown = await world.alice.slash(world.lobby, "task-config", task=NAME)
    (file,) = shown.response.attachments
    assert file.filename == "ticket-checker.settings.json"
    refused = said(await world.alice.slash(world.lobby, "task-config", task=NAME, action="edit"))
    assert "longer than the 4,000 characters" in refused
    assert "ccdtasks task edit ticket-checker" in refused


async def test_settings_are_changed_in_the_form_and_what_others_changed_meanwhile_stays(world: World) -> None:
    await world.make(prompt=PROMPT)
    form, document = await config_form(world)
    await edit(world, field="budget", value="2")
    document["timeout_s"], document["retries"]["attempts"] = 3600, 5
    document["parameters"]["origin"] = {"description": "Airport", "choices": ["SFO", "LAX"]}
    document["values"]["origin"] = "LAX"
    reply = said(await world.alice.submit_modal(form, {"value": json.dumps(document)}))
    assert "**timeout**: 30 m (default) → 1 h" in reply
    assert "**retries.attempts**: 3 (default) → 5" in reply
    assert "**parameters.origin** is new" in reply
    found = await task(world)
    assert found.config == {"timeout_s": 3600, "budget_usd": "2", "retries": {"attempts": 5}}
    assert found.required_parameters == [{"name": "origin", "description": "Airport", "choices": ["SFO", "LAX"]}]
    form, document = await config_form(world)
    del document["timeout_s"]
    document["retries"] = None
    document["values"] = {}
    await world.alice.submit_modal(form, {"value": json.dumps(document)})
    found = await task(world)
    assert (found.config, found.schedule_parameters) == ({"budget_usd": "2"}, {})


async def test_a_mistake_in_the_json_is_named_by_line_or_key(world: World) -> None:
    await world.make(prompt=PROMPT)
    for written, words in (
        ('{\n  "timeout_s": 60\n  "model": null\n}', "Line 3, sign 3: a comma or a closing bracket is missing here."),
        ("{60}", "Line 1, sign 2: a name in double quotes should stand here."),
        ('{"timeout_s": 60,}', "Line 1, sign 1"),  # at the comma or behind it: Python's releases differ
        ("{“timeout_s”: 60}", "Use straight quotes, not typographic ones."),
        ('{"timeout_s": }', "Line 1, sign 15: a value should stand here"),
        ("[]", "It must be one object, in curly brackets."),
        ('{"timeout_s": 60, "timeout_s": 61}', "`timeout_s` is there twice."),
        ('{"timeout_s": NaN}', "`NaN` is no number that JSON knows."),
        ('{"timeot_s": 60}', "There is no field `timeot_s`.\n\nDid you mean `timeout_s`?"),
        ('{"retries": {"atempts": 60}}', "Did you mean `retries.attempts`?"),
        ('{"retries": 5}', "`retries` must be a table, in curly brackets."),
        ('{"timeout_s": 5}', "`timeout` must be at least 30."),
        ('{"parameters": {"frm": {}}}', "The prompt has no placeholder {frm}."),
        ('{"parameters": {"origin": {"choises": []}}}', "`origin` has no property `choises`."),
        ("[" * 3000, "nested too deeply"),
    ):
        form, _document = await config_form(world)
        failed = await world.alice.submit_modal(form, {"value": written})
        assert words in (failed.response.embeds[0].description or ""), written
    assert (await task(world)).config == {}
