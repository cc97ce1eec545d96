"""Schedules in Discord: set, shown, paused; and the news of times that came late or not at all."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from ccdtasks.bot import cards
from ccdtasks.db.models import Task
from tests.bot.conftest import World, embed_of

PROMPT = "Check flights from {origin} to {to=HNL}"


def said(reply: Any) -> str:
    """Title and text of a reply's one embed."""
    embed = embed_of(reply)
    return f"{embed.title}\n{embed.description or ''}"


async def schedule(world: World, when: str = "0 6,18 * * *", **options: Any) -> str:
    """Alice schedules her task."""
    return said(await world.alice.slash(world.lobby, "task-schedule", task="ticket-checker", when=when, **options))


async def make_due(world: World, ago: timedelta) -> datetime:
    """The task's next time came `ago`; gives it."""
    at = (datetime.now(UTC) - ago).replace(second=0, microsecond=0)
    async with world.core.db.write() as session:
        cron = f"{at.minute} {at.hour} * * *"
        await session.execute(
            update(Task).values(next_run_at=at, schedule_cron=cron, schedule_set_at=at - timedelta(hours=1))
        )
    return at


def texts(channel: Any) -> list[str]:
    """Title and text of each message with an embed, oldest first."""
    return [f"{each.embeds[0].title}\n{each.embeds[0].description}" for each in channel.history() if each.embeds]


async def test_a_schedule_is_said_back_in_words_with_its_next_times(world: World) -> None:
    await world.make(prompt=PROMPT)
    reply = await schedule(world, timezone="America/Los_Angeles", values="origin:SFO")
    assert "✓ ticket-checker: scheduled" in reply
    assert "At 06:00 and 18:00 every day, America/Los\\_Angeles time." in reply
    assert len(re.findall(r"• 20\d\d-\d\d-\d\d (06|18):00 P[SD]T, <t:\d+:R>", reply)) == 5
    assert "• origin: SFO" in reply
    listed = said(await world.alice.slash(world.lobby, "task-list"))
    assert re.search(r"`0 6,18 \* \* \*` next <t:\d+:R>", listed)
    status = said(await world.alice.slash(world.lobby, "task-status", task="ticket-checker"))
    assert "At 06:00 and 18:00 every day, America/Los\\_Angeles time." in status
    assert re.search(r"Next run <t:\d+:R>, <t:\d+:f>", status)


async def test_a_task_alone_shows_its_schedule_and_what_became_of_it(world: World) -> None:
    await world.make()
    nothing = said(await world.alice.slash(world.lobby, "task-schedule", task="ticket-checker"))
    assert "It has no schedule" in nothing
    lacks = await world.alice.slash(world.lobby, "task-schedule", task="ticket-checker", timezone="Europe/Berlin")
    assert "has no schedule" in said(lacks)
    await schedule(
        world, '"0 6,18 * * *"', timezone="America/Los_Angeles"
    )  # in quotation marks, as one types a command
    await schedule(world, "0 9 13 * 5", timezone="UTC")
    await make_due(world, timedelta(seconds=30))
    await world.core.firing.fire_due()
    shown = said(await world.alice.slash(world.lobby, "task-schedule", task="ticket-checker"))
    assert shown.startswith("✓ ticket-checker: its schedule")
    assert len(re.findall(r"• 20\d\d-\d\d-\d\d", shown)) == 5
    assert re.search(r"\*\*Lately\*\*\n• <t:\d+:f>: ran\n", shown)
    assert f"0 9 13 \\* 5 instead of 0 6,18 \\* \\* \\*, by <@{world.alice.id}>" in shown
    moved = said(await world.alice.slash(world.lobby, "task-schedule", task="ticket-checker", timezone="Asia/Tokyo"))
    assert "Asia/Tokyo time." in moved
    assert "Only <@" in said(await world.bob.slash(world.lobby, "task-schedule", task="ticket-checker"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"when": "61 * * * *"}, "Minute 61 is not between 0 and 59."),
        ({"when": "0 0 * * Mundy"}, "There is no such weekday: `Mundy`."),
        ({"when": "0 0 31 2 *"}, "never happens"),
        ({"when": "@daily", "timezone": "Berlin"}, "Did you mean Europe/Berlin?"),
        ({"when": "@daily", "timezone": "PST"}, "Did you mean America/Los_Angeles?"),
        ({"when": "at 2020-01-01 9:00"}, "has passed"),
        ({"when": "@everyone"}, "There is no shorthand"),
        ({"when": "@daily", "values": "wat:x"}, "has no parameter `wat`"),
    ],
)
async def test_what_is_wrong_is_said_in_one_sentence(world: World, options: dict[str, str], words: str) -> None:
    await world.make()
    assert words in await schedule(world, **options)
    assert (
        await world.core.tasks.load((await world.core.tasks.find(_shell(), "ticket-checker")).id)
    ).schedule_cron is None


async def test_a_schedule_that_lacks_a_value_says_which_and_how_to_give_it(world: World) -> None:
    await world.make(prompt=PROMPT)
    reply = await schedule(world)
    assert "`origin` would be empty" in reply
    assert "origin:..." in reply


async def test_timezones_and_tasks_complete_themselves(world: World) -> None:
    await world.make()
    offered = await world.alice.autocomplete(world.lobby, "task-schedule", "timezone", "los an")
    assert [choice["value"] for choice in offered] == ["America/Los_Angeles"]
    letters = await world.alice.autocomplete(world.lobby, "task-schedule", "timezone", "pst")
    assert letters[0]["value"] == "America/Los_Angeles"
    assert len(await world.alice.autocomplete(world.lobby, "task-schedule", "timezone", "")) == 25
    assert await world.bob.autocomplete(world.lobby, "task-pause", "task", "ticket") == []


async def test_pause_resume_and_remove(world: World) -> None:
    await world.make()
    await schedule(world)
    assert "■ ticket-checker: paused" in said(await world.alice.slash(world.lobby, "task-pause", task="ticket-checker"))
    assert "· paused" in said(await world.alice.slash(world.lobby, "task-list"))
    assert "Paused." in said(await world.alice.slash(world.lobby, "task-status", task="ticket-checker"))
    assert "is paused already" in said(await world.alice.slash(world.lobby, "task-pause", task="ticket-checker"))
    resumed = said(await world.alice.slash(world.lobby, "task-resume", task="ticket-checker"))
    assert "✓ ticket-checker: goes on" in resumed
    assert resumed.count("• ") == 5
    removed = said(await world.alice.slash(world.lobby, "task-schedule-remove", task="ticket-checker"))
    assert "no schedule any more" in removed
    assert "has no schedule" in said(
        await world.alice.slash(world.lobby, "task-schedule-remove", task="ticket-checker")
    )
    for command in ("task-pause", "task-resume", "task-schedule-remove"):
        assert "Only <@" in said(await world.bob.slash(world.lobby, command, task="ticket-checker"))


async def test_a_pause_that_breaks_a_chain_asks_first(world: World) -> None:
    await world.make()
    await world.make("digest")
    await world.alice.slash(world.lobby, "task-depends-on", task="digest", depends_on="ticket-checker")
    asked = await world.alice.slash(world.lobby, "task-pause", task="ticket-checker")
    assert "**digest** runs after it" in said(asked)
    assert not (await world.core.tasks.find(_shell(), "ticket-checker")).paused
    assert "paused" in said(await world.alice.click(asked.response, label="Pause"))
    assert (await world.core.tasks.find(_shell(), "ticket-checker")).paused


async def test_a_run_that_is_made_up_for_says_so_in_its_thread(world: World) -> None:
    await world.make()
    await schedule(world)
    at = await make_due(world, timedelta(minutes=91))
    await world.core.firing.fire_due()
    await world.deliver()
    (opening,) = texts(world.channel("ticket-checker"))
    assert "Started by the schedule" in opening
    found = texts(world.thread("ticket-checker"))
    assert any(f"The box was off at <t:{int(at.timestamp())}:t>. Ran once now, at <t:" in each for each in found)


async def test_a_skipped_time_is_one_message_in_the_thread_of_the_run_that_goes_on(world: World) -> None:
    await world.make()
    await schedule(world)
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    await world.begin()
    for minutes in (30, 20):
        await make_due(world, timedelta(minutes=minutes))
        await world.core.firing.fire_due()
        await world.deliver()
    skipped = [each for each in texts(world.thread("ticket-checker")) if "skipped" in each]
    assert len(skipped) == 1
    assert "2 runs were skipped, since this one still goes on" in skipped[0]


async def test_what_is_not_made_up_for_and_what_is_paused_is_told_in_the_tasks_channel(world: World) -> None:
    await world.make()
    await schedule(world)
    async with world.core.db.write() as session:
        await session.execute(update(Task).values(config={"catch_up": "none"}))
    await make_due(world, timedelta(minutes=91))
    await world.core.firing.fire_due()
    await world.deliver()  # messages that belong to no run wait for nothing, not even for each other
    async with world.core.db.write() as session:
        await session.execute(update(Task).values(required_parameters=[{"name": "origin", "description": ""}]))
    await make_due(world, timedelta(minutes=1))
    await world.core.firing.fire_due()
    await world.deliver()
    missed, paused = texts(world.channel("ticket-checker"))
    assert "■ ticket-checker: missed" in missed
    assert "That run is not made up for." in missed
    assert "needs `origin`" in paused or "needs \\`origin\\`" in paused
    assert "/task-resume ticket-checker" in paused
    last = world.channel("ticket-checker").history()[-1]
    assert [each.id for each in last.mentions] == [world.alice.id]


@pytest.mark.parametrize(
    ("missed", "said"),
    [
        (0, "The box was off at <t:1768654800:f>. That run is not made up for."),
        (3, "The box was off: 4 times from <t:1768651200:f> to <t:1768654800:f> were missed. None of them is made up"),
        (100, "The box was off: more than 99 times from <t:1768651200:f> to <t:1768654800:f> were missed."),
    ],
)
def test_times_that_are_not_made_up_for_are_one_message_with_their_number(missed: int, said: str) -> None:
    times = {"scheduled_for": "2026-01-17T13:00:00+00:00", "first_missed": "2026-01-17T12:00:00+00:00"}
    card = cards.schedule.news({"kind": "missed", "task": "ticket-checker", "missed": missed, **times})
    assert said in card.body


def test_a_schedule_that_does_not_run_at_all_is_one_message_with_the_number_of_times() -> None:
    times = {"since": "2026-01-17T12:00:00+00:00", "scheduled_for": "2026-01-17T13:00:00+00:00", "count": 3}
    card = cards.schedule.news({"kind": "not_fired", "task": "ticket-checker", "owner": "7", **times})
    assert "It should have run 3 times from <t:1768651200:f> to <t:1768654800:f> and has not." in card.body
    assert card.ping == "7"


async def test_a_time_that_nobody_fired_is_told_to_the_box_and_to_the_owner(world: World) -> None:
    news = world.guild.create_text_channel("news")
    await world.make()
    await schedule(world)
    await make_due(world, timedelta(minutes=5))
    assert await world.core.deadman.check() == 0
    assert await world.core.deadman.check() == 1
    await world.deliver()
    assert "✋ ticket-checker: did not run" in texts(news)[0]
    assert news.history()[0].mentions == []
    (own,) = world.channel("ticket-checker").history()
    assert [each.id for each in own.mentions] == [world.alice.id]


def _shell() -> Any:
    from ccdtasks.core.access import SHELL

    return SHELL


def test_a_task_that_is_paused_for_its_failures_names_what_stands_still_with_it() -> None:
    news = {"kind": "paused", "task": "scrape", "owner": "1", "reason": "It failed.", "stopped": ["analyze", "digest"]}
    assert "Nothing starts what runs after it meanwhile: analyze and digest." in cards.schedule.news(news).body
    assert "meanwhile" not in cards.schedule.news({**news, "stopped": []}).body
