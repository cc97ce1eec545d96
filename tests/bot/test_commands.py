"""The six commands as people use them, and what they answer to mistakes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bot.conftest import GUILD, World, embed_of

PROMPT = "Check flights from {origin} to {destination} on {dates}. Alert below {price_threshold=500}."


def said(reply: Any) -> str:
    """Title and text of a reply's one embed."""
    embed = embed_of(reply)
    return f"{embed.title}\n{embed.description or ''}"


async def test_a_task_is_made_with_its_channel_in_the_category_of_its_type(world: World) -> None:
    reply = await world.alice.slash(world.lobby, "task-create", name="ticket-checker", prompt=PROMPT)
    assert reply.ephemeral
    assert "✓ ticket-checker: ready" in said(reply)
    assert "It needs `origin`, `destination` and `dates`; `price_threshold` is 500 unless you say otherwise." in said(
        reply
    )
    channel = world.bot.get_channel(world.channel("ticket-checker").id)
    assert channel.category.name == "Ticket Price Monitoring"
    assert "flights" in channel.topic
    assert f"<#{channel.id}>" in said(reply)
    assert "`/task-schedule ticket-checker` lets it run by itself." in said(reply)


async def test_the_51st_channel_of_a_type_goes_to_a_second_category(world: World) -> None:
    category = world.guild.create_category("Web Monitoring")
    for number in range(50):
        world.guild.create_text_channel(f"old-{number}", category=category)
    await world.make("newest", "Watch a page", type="web-monitor")
    assert world.bot.get_channel(world.channel("newest").id).category.name == "Web Monitoring 2"
    await world.make("next", "Watch a page", type="web-monitor")
    assert world.bot.get_channel(world.channel("next").id).category.name == "Web Monitoring 2"


@pytest.mark.parametrize(
    ("name", "prompt", "words"),
    [
        ("Ticket Checker", "x", "try ticket-checker"),
        ("ok", "say {unclosed", "never closed"),
        ("ok", "say {a b}", "write {a_b}"),
        ("taken", "again", "There is a task named taken already"),
    ],
)
async def test_a_wrong_task_is_refused_in_one_sentence_and_leaves_nothing(
    world: World, name: str, prompt: str, words: str
) -> None:
    await world.make("taken")
    before = set(world.guild.channels)
    reply = await world.alice.slash(world.lobby, "task-create", name=name, prompt=prompt)
    assert words.lower() in said(reply).lower()
    assert set(world.guild.channels) == before
    names = await world.core.tasks.names(_shell(), "")
    assert names == ["taken"]


async def test_a_channel_that_cannot_be_made_leaves_no_task(world: World) -> None:
    world.env.inject_error("POST", f"/guilds/{GUILD}/channels", status=403, code=50013)
    reply = await world.alice.slash(world.lobby, "task-create", name="x-ray", prompt="look")
    assert "Discord does not let the bot make a channel" in said(reply)
    assert await world.core.tasks.names(_shell(), "") == []


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, 30013, "This server has 500 channels, the most that Discord allows.\n\nDelete or archive some first."),
        (503, 0, "Discord has trouble right now."),
        (429, 0, "Discord wants us to wait before we make a channel."),
        (401, 0, "Discord refuses the bot's token."),
        (400, 50035, "Discord does not take this"),
    ],
)
async def test_whatever_discord_refuses_is_said_in_words_and_leaves_no_task(
    world: World, status: int, code: int, words: str
) -> None:
    world.env.inject_error("POST", f"/guilds/{GUILD}/channels", status=status, code=code)
    reply = await world.alice.slash(world.lobby, "task-create", name="x-ray", prompt="look")
    assert words in said(reply)
    assert await world.core.tasks.names(_shell(), "") == []


async def test_a_channel_from_before_is_taken_up_again(world: World) -> None:
    category = world.guild.create_category("Web Monitoring")
    old = world.guild.create_text_channel("x-ray", category=category)
    await world.make("x-ray", "Watch it", type="web-monitor")
    assert (await world.core.tasks.find(_shell(), "x-ray")).discord_channel_id == str(old.id)


async def test_a_task_that_cannot_be_inserted_leaves_no_channel(world: World) -> None:
    world.expects_bugs = True
    async with world.core.db.write() as session:
        from sqlalchemy import text

        await session.execute(text("CREATE TRIGGER full BEFORE INSERT ON tasks BEGIN SELECT RAISE(ABORT, 'full'); END"))
    reply = await world.alice.slash(world.lobby, "task-create", name="x-ray", prompt="look")
    assert "Something broke here" in said(reply)
    assert "full" not in said(reply)
    assert "x-ray" not in world.guild.channels


async def test_a_run_starts_with_typed_values(world: World) -> None:
    await world.make(prompt=PROMPT)
    reply = await world.alice.slash(
        world.lobby, "task-start", task="ticket-checker", values='origin:SFO destination:HNL dates:"Feb 15-22"'
    )
    assert "• dates: Feb 15-22" in said(reply)
    assert "• price\\_threshold: 500" in said(reply)
    (run,) = (await world.core.runs.page(_shell())).rows
    assert run.run.parameters == {"origin": "SFO", "destination": "HNL", "dates": "Feb 15-22", "price_threshold": "500"}
    assert str(run.run.id) in said(reply)


async def test_a_form_asks_for_missing_values(world: World) -> None:
    await world.make(prompt=PROMPT)
    shown = await world.alice.slash(world.lobby, "task-start", task="ticket-checker", values="origin:SFO")
    assert shown.modal is not None
    assert shown.modal["title"] == "Start ticket-checker"
    reply = await world.alice.submit_modal(shown, {"destination": "HNL", "dates": "next week"})
    assert "on its way" in said(reply)
    (run,) = (await world.core.runs.page(_shell())).rows
    assert run.run.parameters["destination"] == "HNL"
    assert run.run.parameters["origin"] == "SFO"


async def test_a_form_with_more_than_five_values_takes_a_line_each(world: World) -> None:
    await world.make("many", " ".join(f"{{p{n}}}" for n in range(8)))
    shown = await world.alice.slash(world.lobby, "task-start", task="many", values="p0:zero")
    assert shown.modal is not None
    lines = "\n".join(f"p{n}: value {n}: x" for n in range(1, 8))
    reply = await world.alice.submit_modal(shown, {"lines": lines})
    assert "on its way" in said(reply)
    (run,) = (await world.core.runs.page(_shell())).rows
    assert run.run.parameters["p7"] == "value 7: x"


async def test_a_form_that_is_still_incomplete_says_what_is_missing(world: World) -> None:
    await world.make("many", " ".join(f"{{p{n}}}" for n in range(8)))
    shown = await world.alice.slash(world.lobby, "task-start", task="many")
    reply = await world.alice.submit_modal(shown, {"lines": "p0: a\np1:"})
    assert "This task still needs `p1`" in said(reply)
    reply = await world.alice.submit_modal(
        await world.alice.slash(world.lobby, "task-start", task="many"), {"lines": "no colon here"}
    )
    assert "has no name in front" in said(reply)


@pytest.mark.parametrize(
    ("task", "values", "words"),
    [
        ("ticket-chekcer", "", "did you mean ticket-checker?"),
        ("ticket-checker", "wat:x", "has no parameter `wat`"),
        ("ticket-checker", "SFO", "is not name:value"),
        ("ticket-checker", 'what:"open', "never closed"),
        ("ticket-checker", "what:a what:b", "given twice"),
        ("@everyone", "", "There is no task named"),
    ],
)
async def test_a_wrong_start_is_refused_in_one_sentence(world: World, task: str, values: str, words: str) -> None:
    await world.make()
    reply = await world.alice.slash(world.lobby, "task-start", task=task, **({"values": values} if values else {}))
    assert words.lower() in said(reply).lower()
    assert reply.ephemeral
    assert (await world.core.runs.page(_shell())).rows == []


async def test_names_complete_themselves_for_their_owner_only(world: World) -> None:
    for name in ("alpha", "alpine", "my-alp"):
        await world.make(name)
    offered = await world.alice.autocomplete(world.lobby, "task-start", "task", "alp")
    assert [choice["value"] for choice in offered] == ["alpha", "alpine", "my-alp"]
    assert await world.bob.autocomplete(world.lobby, "task-start", "task", "alp") == []


async def test_completion_survives_many_and_odd_names(world: World) -> None:
    for number in range(30):
        await world.make(f"task-{number:02}-{'x' * 90}")
    offered = await world.alice.autocomplete(world.lobby, "task-start", "task", "%" * 200)
    assert offered == []
    assert len(await world.alice.autocomplete(world.lobby, "task-start", "task", "TASK")) == 25


async def test_a_waiting_run_is_stopped_at_once_and_a_going_one_in_good_order(world: World) -> None:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    assert "Stopped." in said(await world.alice.slash(world.lobby, "task-stop", task="ticket-checker"))
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    reply = await world.alice.slash(world.lobby, "task-stop", task=str(claim.run_id)[:8])
    assert "It stops in good order and keeps what it found." in said(reply)
    assert (await world.core.claims.look(claim)).force is False
    reply = await world.alice.slash(world.lobby, "task-stop", task="ticket-checker", force=True)
    assert "It ends now." in said(reply)
    assert (await world.core.claims.look(claim)).force is True


async def test_stopping_what_does_not_run_says_so(world: World) -> None:
    await world.make()
    assert "is not running" in said(await world.alice.slash(world.lobby, "task-stop", task="ticket-checker"))
    assert "Not found" in said(await world.alice.slash(world.lobby, "task-stop", task="nothing"))


async def test_somebody_elses_run_is_refused_by_name_and_pings_nobody(world: World) -> None:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    for name, options in (
        ("task-stop", {"task": str(claim.run_id)}),
        ("task-logs", {"session": str(claim.run_id)}),
        ("task-start", {"task": "ticket-checker"}),
        ("task-status", {"task": "ticket-checker"}),
    ):
        reply = await world.bob.slash(world.lobby, name, **options)
        assert f"Only <@{world.alice.id}> or an admin can" in said(reply)
        assert reply.response.message.mentions == []


async def test_the_list_shows_state_schedule_and_rate_and_turns_pages(world: World) -> None:
    assert "You have no tasks yet" in said(await world.alice.slash(world.lobby, "task-list"))
    for number in range(12):
        await world.make(f"task-{number:02}")
    await world.alice.slash(world.lobby, "task-start", task="task-03")
    reply = await world.alice.slash(world.lobby, "task-list")
    assert said(reply).count("\n") == 10
    assert "◌ **task-03** · waiting" in said(reply)
    assert "◌ **task-00** · never run" in said(reply)
    second = await world.alice.click(reply.response, label="More")
    assert "task-11" in said(second)
    assert "task-03" not in said(second)
    first = await world.alice.click(second.response, label="First page")
    assert "task-03" in said(first)
    active = await world.alice.slash(world.lobby, "task-list", filter="active")
    assert "task-03" in said(active)
    assert "task-04" not in said(active)
    assert "You have no tasks yet" in said(await world.bob.slash(world.lobby, "task-list"))


async def test_status_of_one_task_and_of_everything(world: World) -> None:
    await world.make(prompt="Find {what}")
    assert "Nothing is running" in said(await world.alice.slash(world.lobby, "task-status"))
    assert "It has never run." in said(await world.alice.slash(world.lobby, "task-status", task="ticket-checker"))
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker", values="what:shoes")
    assert "◌ **ticket-checker** · waiting · 1st in line" in said(await world.alice.slash(world.lobby, "task-status"))
    assert "ticket-checker: waiting" in said(
        await world.alice.slash(world.lobby, "task-status", task="ticket-checker")
    ), "nothing runs yet"
    assert "◌ **ticket-checker** · waiting" in said(await world.alice.slash(world.lobby, "task-list"))
    claim = await world.begin()
    await world.log(claim, {"type": "progress", "text": "Searching *shoes*"})
    one = said(await world.alice.slash(world.lobby, "task-status", task="ticket-checker"))
    assert "ticket-checker: running" in one
    assert "Needs `what`" in one
    assert "▶ · running" in one
    assert "Searching \\*shoes\\*" in one


async def test_the_log_comes_as_a_file_with_its_last_lines_to_read(world: World) -> None:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    await world.log(
        claim,
        {"type": "step_started", "step": 1, "title": "Opening shop.example", "tool": "browser_navigate"},
        {"type": "page_loaded", "url": "https://shop.example", "title": "``` @everyone", "load_ms": 12, "status": 200},
        {"type": "step_finished", "step": 1, "ok": False, "duration_ms": 812, "error": "no such page"},
    )
    reply = await world.alice.slash(world.lobby, "task-logs", session=claim.run_id.hex[:6])
    (attachment,) = reply.response.attachments
    assert attachment.filename == f"run-{str(claim.run_id)[:8]}.log"
    text = (await attachment.read()).decode()
    assert "1. Opening shop.example [browser_navigate]" in text
    assert "FAILED no such page" in text
    assert "ˋˋˋ" in said(reply)
    assert said(reply).count("```") == 2
    offered = await world.alice.autocomplete(world.lobby, "task-logs", "session", "ticket")
    assert [choice["value"] for choice in offered] == [str(claim.run_id)]


async def test_a_log_of_nothing_and_of_nobody(world: World) -> None:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    assert "Nothing was logged yet" in said(
        await world.alice.slash(world.lobby, "task-logs", session=str(claim.run_id))
    )
    assert "There is no run" in said(await world.alice.slash(world.lobby, "task-logs", session="ffff0000"))
    assert "There is no run" in said(await world.alice.slash(world.lobby, "task-logs", session="; DROP TABLE"))


async def test_every_interaction_is_logged_with_its_outcome(world: World) -> None:
    await world.make()
    await world.bob.slash(world.lobby, "task-status", task="ticket-checker")
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker", values="what:hat")
    seen = [(each.name, each.outcome, each.user_id) for each in reversed(await world.core.interactions.recent())]
    assert seen == [
        ("task-create", "ok", str(world.alice.id)),
        ("task-status", "denied", str(world.bob.id)),
        ("task-start", "ok", str(world.alice.id)),
    ]


async def test_values_complete_themselves_while_they_are_typed(world: World) -> None:
    await world.make(prompt="From {origin} to {to=HNL} on {dates=next week}")
    await world.core.tasks.edit(
        _shell(), "ticket-checker", {"parameters": {"origin": {"choices": ["SFO", "San Jose"]}}}
    )

    async def offered(typed: str, command: str = "task-start") -> list[str]:
        found = await world.alice.autocomplete(world.lobby, command, "values", typed, task="ticket-checker")
        return [choice["value"] for choice in found]

    assert await offered("") == ["origin:", "to:HNL", 'dates:"next week"']
    assert await offered("origin:s") == ["origin:SFO", 'origin:"San Jose"']
    assert await offered('origin:"San Jose" ') == ['origin:"San Jose" to:HNL', 'origin:"San Jose" dates:"next week"']
    assert await offered("origin:SFO d", "task-schedule") == ['origin:SFO dates:"next week"']
    assert await offered('dates:"next w') == ['dates:"next week"']
    assert await offered("nothing like it") == []
    assert await world.bob.autocomplete(world.lobby, "task-start", "values", "", task="ticket-checker") == []


async def test_a_mistake_of_ours_shows_an_incident_and_no_detail(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.make()
    world.expects_bugs = True
    async with world.core.db.write() as session:
        from sqlalchemy import text

        await session.execute(text("ALTER TABLE task_runs RENAME TO elsewhere"))
    reply = await world.alice.slash(world.lobby, "task-status")
    incident = said(reply).split("`")[1]
    assert incident in caplog.text
    assert "task_runs" not in said(reply)


def _shell() -> Any:
    from ccdtasks.core.access import SHELL

    return SHELL
