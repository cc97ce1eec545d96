"""The queue and another try, as people use them in Discord."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import discord

from ccdtasks.core.access import SHELL
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.facts import USAGE_LIMIT
from ccdtasks.db.enums import ArtifactKind, Reason, RunStatus
from tests.bot.conftest import World, embed_of


def said(reply: Any) -> str:
    """Title and text of a reply's one embed."""
    embed = embed_of(reply)
    return f"{embed.title}\n{embed.description or ''}"


async def _fail(world: World, reason: Reason = Reason.BLOCKED, **facts: Any) -> str:
    await world.deliver()
    claim = await world.begin()
    await world.log(claim, {"type": "progress", "text": "Looking"})
    await world.end(claim, Outcome(RunStatus.FAILED, reason, **facts))
    await world.core.claims.removed(claim)
    await world.deliver()
    return str(claim.run_id)


async def _start(world: World, name: str = "ticket-checker", **values: Any) -> Any:
    return await world.alice.slash(world.lobby, "task-start", task=name, **values)


async def test_the_queue_shows_who_waits_for_what(world: World) -> None:
    await world.make()
    await world.bob.slash(world.lobby, "task-create", name="bobs", prompt="Look")
    for _ in range(2):
        await _start(world)
    await world.bob.slash(world.lobby, "task-start", task="bobs")
    shown = said(await world.alice.slash(world.lobby, "task-queue"))
    assert shown.startswith("Queue: 3 runs wait\n")
    lines = shown.splitlines()[1:]
    assert lines[0].startswith(f"1st **ticket-checker** of <@{world.alice.id}> · waits since <t:")
    assert lines[1].startswith(f"2nd a run of <@{world.bob.id}> · waits since <t:")  # Bob's turn; his task is his own
    assert "for a free session" in lines[1]
    assert "Queue: empty" not in shown


async def test_an_empty_queue_and_the_rights_of_others(world: World) -> None:
    assert "No run waits." in said(await world.bob.slash(world.lobby, "task-queue"))
    await world.make()
    await _start(world)
    (row,) = (await world.core.queue.page(SHELL)).rows
    reply = await world.bob.slash(world.lobby, "task-queue", move=str(row.run.id))
    assert "Only an admin can change the order of the queue." in said(reply)
    page = await world.alice.slash(world.lobby, "task-queue")
    assert page.response.components == []


async def test_an_admin_puts_a_run_first_and_clears_the_rest(world: World) -> None:
    admins = world.guild.create_role("admins", permissions=discord.Permissions(administrator=True))
    admin = world.guild.add_member(world.env.create_user("root"), roles=[admins])
    await world.make()
    for _ in range(3):
        await _start(world)
    last = (await world.core.queue.page(SHELL)).rows[2].run
    reply = await admin.slash(world.lobby, "task-queue", move=str(last.id)[:8])
    assert "✓ ticket-checker: 1st in line" in said(reply)
    assert (await world.core.queue.page(SHELL)).rows[0].run.id == last.id
    page = await admin.slash(world.lobby, "task-queue")
    question = await admin.click(page.response, label="Clear")
    assert "It cancels all 3 runs that wait" in said(question)
    assert (await world.core.queue.page(SHELL)).total == 3
    answer = await admin.click(question.response, label="Clear")
    assert "3 runs were cancelled." in said(answer)
    assert (await world.core.queue.page(SHELL)).total == 0


async def test_a_hold_is_seen_in_the_queue_the_status_and_the_card(world: World) -> None:
    await world.make()
    await _start(world)
    await world.deliver()
    until = world.core.clock.now() + timedelta(hours=1)
    async with world.core.db.write() as session:
        await world.core.facts.hold(session, USAGE_LIMIT, "Claude's usage limit is reached.", until=until)
    words = f"Claude's usage limit is reached until <t:{int(until.timestamp())}:t>; all runs wait."
    assert words in said(await world.alice.slash(world.lobby, "task-queue"))
    assert words in said(await world.alice.slash(world.lobby, "task-status"))
    assert words in said(await world.alice.slash(world.lobby, "task-status", task="ticket-checker"))
    assert await world.core.queue.tell_places() == 1
    await world.deliver()
    card = world.thread("ticket-checker").history()[0]
    assert words in (card.embeds[0].description or "")


async def test_the_card_keeps_up_with_the_line(world: World) -> None:
    await world.make()
    for _ in range(3):
        await _start(world)
    await world.deliver()
    cards = [thread.history()[0] for thread in world.channel("ticket-checker").threads]
    assert [card.embeds[0].description for card in cards if "3rd" in (card.embeds[0].description or "")] == [
        "Waiting for a free session, 3rd in line."
    ]
    await world.begin()
    await world.core.queue.tell_places()
    await world.deliver()
    cards = [thread.history()[0] for thread in world.channel("ticket-checker").threads]
    assert "Waiting for a free session, 2nd in line." in [card.embeds[0].description for card in cards]


async def test_a_failed_run_is_tried_again_with_another_value(world: World) -> None:
    await world.make(prompt="From {origin} to {to}")
    await _start(world, values="origin:SFO to:HNL")
    run = await _fail(world)
    reply = await world.alice.slash(world.lobby, "task-retry", session=run[:8], values="origin:LAX")
    assert "▶ ticket-checker: trying again" in said(reply)
    assert f"Follow it in <#{world.thread('ticket-checker').id}>" in said(reply)
    assert "• origin: LAX\n• to: HNL" in said(reply)
    (retry, _) = (await world.core.runs.page(SHELL)).rows
    assert retry.run.parameters == {"origin": "LAX", "to": "HNL"}
    await world.deliver()
    assert len(world.channel("ticket-checker").threads) == 1
    reply = await world.alice.slash(world.lobby, "task-retry", session=run)
    assert "ticket-checker is being tried again already." in said(reply)


async def test_failed_runs_complete_themselves(world: World) -> None:
    await world.make()
    await _start(world)
    run = await _fail(world)
    await _start(world)
    choices = await world.alice.autocomplete(world.lobby, "task-retry", "session", "tick")
    assert [choice["value"] for choice in choices] == [run]


async def test_a_task_that_acts_is_asked_about_first(world: World) -> None:
    await world.make("buys", "Buy it")
    task = await world.core.tasks.find(SHELL, "buys")
    async with world.core.db.write() as session:
        row = await session.get_one(type(task), task.id)
        row.effect = "acts"
    await _start(world, "buys")
    run = await _fail(world, Reason.AGENT_ERROR)
    told = world.thread("buys").history()[-1].embeds[0].description
    assert "It buys, posts or submits, so it is not tried again by itself." in told
    question = await world.alice.slash(world.lobby, "task-retry", session=run)
    assert "buys buys, posts or submits, and this run had begun" in said(question)
    assert len((await world.core.runs.page(SHELL)).rows) == 1
    answer = await world.alice.click(question.response, label="Try again")
    assert "▶ buys: trying again" in said(answer)


async def test_the_failure_is_told_with_what_helps(world: World) -> None:
    """Why, the last page, the last step, how often, what may help; the picture and the report beside it."""
    await world.make()
    for _ in range(2):
        await _start(world)
        await world.deliver()
        claim = await world.begin()
        await world.log(
            claim,
            {"type": "step_started", "step": 1, "tool": "t", "title": "Opening kayak.com"},
            {"type": "step_finished", "step": 1, "ok": False, "duration_ms": 60_000, "error": "net::ERR_TIMED_OUT"},
        )
        files = [
            world.stored("failure-report.md", b"# report", ArtifactKind.LOG, "text/markdown"),
            world.stored("final.png", b"png", ArtifactKind.SCREENSHOT, "image/png"),
            world.stored("agent.log", b"log", ArtifactKind.LOG, "text/plain"),
        ]
        await world.end(
            claim,
            Outcome(
                RunStatus.FAILED,
                Reason.BLOCKED,
                "kayak.com refused the visit as a robot.",
                final_url="https://www.kayak.com/flights",
                final_title="Are you *human*?",
                final_screenshot="final.png",
                artifacts=files,
            ),
        )
        await world.core.claims.removed(claim)
        await world.deliver()
    message = world.thread("ticket-checker").history()[-1]
    body = message.embeds[0].description or ""
    assert body.splitlines()[0] == "kayak.com refused the visit as a robot."
    assert "Last page: “Are you \\*human\\*?” https://www.kayak.com/flights" in body
    assert "Last step: Opening kayak.com, failed after 1 m: net::ERR\\_TIMED\\_OUT" in body
    assert (
        "This happened in 2 of the last 2 runs (refused as a robot on kayak.com); wait some hours before the next try"
        in body
    )
    assert sorted(each.filename for each in message.attachments) == ["failure-report.md", "final.png"]


async def test_a_budget_is_warned_of_in_the_thread(world: World) -> None:
    await world.make()
    task = await world.core.tasks.find(SHELL, "ticket-checker")
    async with world.core.db.write() as session:
        row = await session.get_one(type(task), task.id)
        row.config = {"budget_usd_per_day": "2"}
    await _start(world)
    await world.deliver()
    claim = await world.begin()
    await world.core.claims.meter(claim, {}, Decimal("1.7"))
    await world.deliver()
    texts = [message.embeds[0].description for message in world.thread("ticket-checker").history() if message.embeds]
    assert "Today's budget of this task is 85 % used: $1.70 of $2.00." in texts
    await world.core.claims.meter(claim, {}, Decimal("2.1"))
    await world.deliver()
    texts = [message.embeds[0].description for message in world.thread("ticket-checker").history() if message.embeds]
    assert any("is used up ($2.10 spent). Runs start again <t:" in (each or "") for each in texts)
    assert "Today's budget of this task of $2.00 is used up" in said(await _start(world))
