"""Histories, figures and charts, as people use them in Discord."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import discord
from sqlalchemy import select

from ccdtasks.core.access import SHELL
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.db.enums import ArtifactKind, Reason, RunStatus
from ccdtasks.db.models import TaskRun
from tests.bot.conftest import World, embed_of


def said(reply: Any) -> str:
    """Title and text of a reply's one embed."""
    embed = embed_of(reply)
    return f"{embed.title}\n{embed.description or ''}"


async def _run(world: World, price: float | None, name: str = "ticket-checker") -> None:
    """A run that finds a price, or fails."""
    await world.alice.slash(world.lobby, "task-start", task=name)
    claim = await world.begin()
    await world.log(
        claim,
        {"type": "step_started", "step": 1, "title": "Opening *shop*.example"},
        {"type": "step_finished", "step": 1, "ok": True, "duration_ms": 3500},
        {"type": "metrics", "pages_loaded": 12, "http_requests": 1247, "load_ms_total": 24_000},
        {"type": "result", "summary": f"Cheapest: ${price}", "values": {"lowest_price": {"number": price, "unit": "$"}}}
        if price is not None
        else {"type": "progress", "text": "Looking"},
    )
    shot = world.stored("final.png", b"png", ArtifactKind.SCREENSHOT, "image/png")
    good = Outcome(
        RunStatus.COMPLETED, final_url="https://shop.example/", final_screenshot="final.png", artifacts=[shot]
    )
    await world.end(claim, good if price is not None else Outcome(RunStatus.FAILED, Reason.BLOCKED))
    await world.core.claims.removed(claim)


async def _pictures(reply: Any) -> list[str]:
    return [file.filename for file in reply.response.attachments]


async def test_the_history_is_paged_by_buttons(world: World) -> None:
    await world.make()
    for price in (5, None, 3):
        await _run(world, price)
    first = await world.alice.slash(world.lobby, "task-history", task="ticket-checker", limit=2)
    lines = said(first).splitlines()
    assert lines[0] == "ticket-checker: history"
    assert lines[1].startswith("✓ · done · <t:")
    assert "· 0 s · Cheapest: $3" in lines[1]
    assert lines[2].startswith("? · refused as a robot")
    assert embed_of(first).footer.text == "3 runs · 67% good"
    older = await world.alice.click(first.response, label="More")
    assert "Cheapest: $5" in said(older)
    assert len(said(older).splitlines()) == 2
    back = await world.alice.click(older.response, label="First page")
    assert said(back) == said(first)
    refused = await world.bob.slash(world.lobby, "task-history", task="ticket-checker")
    assert "Only" in said(refused)
    assert "Cheapest" not in said(refused)


async def test_figures_come_with_a_chart_and_as_a_file(world: World) -> None:
    await world.make("shop-watch")
    for price in (5, None, 3):
        await _run(world, price, "shop-watch")
    reply = await world.alice.slash(world.lobby, "task-metrics", task="shop-watch", timeframe="week")
    shown = said(reply)
    assert shown.startswith("shop-watch: last 7 days\n**67% good**: 2 of 3 completed")
    assert "Usually 0 s; 95 % are done within 0 s." in shown
    assert "Failures: blocked 1" in shown
    assert "1\\. Opening \\*shop\\*.example: 3.5 s on average, 3 times" in shown
    assert "36 pages, 2 s each · 3,741 requests" in shown
    assert await _pictures(reply) == ["chart.png"]
    month = await world.alice.click(reply.response, label="Month")
    assert said(month).startswith("shop-watch: last 30 days")
    assert await _pictures(month) == ["chart.png"]
    file = await world.alice.click(month.response, label="CSV")
    assert await _pictures(file) == ["shop-watch-month.csv"]


async def test_figures_of_all_tasks_are_ones_own(world: World) -> None:
    await world.make()
    await _run(world, 5)
    assert "1 of 1 completed" in said(await world.alice.slash(world.lobby, "task-metrics"))
    assert "No run ended in that time." in said(await world.bob.slash(world.lobby, "task-metrics"))


async def test_a_number_is_drawn_over_time_with_its_threshold(world: World) -> None:
    await world.make(prompt="Find it below {price_threshold=4}")
    for price in (5, 3):
        await _run(world, price)
    reply = await world.alice.slash(world.lobby, "task-chart", task="ticket-checker", value="lowest_price")
    assert said(reply).startswith(
        "ticket-checker: lowest\\_price, last 30 days\nNow **$3**, below price\\_threshold ($4)."
    )
    assert "$5 → $3 (−40 %)" in said(reply)
    assert await _pictures(reply) == ["lowest_price.csv", "chart.png"]
    await world.alice.slash(world.lobby, "task-edit", task="ticket-checker", field="notify", value="lowest_price < 2")
    ruled = await world.alice.slash(world.lobby, "task-chart", task="ticket-checker", value="lowest_price")
    assert "Now **$3**, above $2." in said(ruled)
    wrong = await world.alice.slash(world.lobby, "task-chart", task="ticket-checker", value="hihgest")
    assert "It has lowest_price." in said(wrong)


async def test_a_clean_up_is_shown_first_and_then_done(world: World) -> None:
    await world.make()
    for price in (5, 4, 3):
        await _run(world, price)
    await world.deliver()
    async with world.core.db.write() as session:
        runs = (await session.scalars(select(TaskRun))).all()
        for age, run in enumerate(runs):
            run.created_at -= timedelta(days=age + 1)
        stays = int(runs[0].discord_thread_id or 0)
    threads = [each.id for each in world.channel("ticket-checker").threads]
    question = await world.alice.slash(world.lobby, "task-cleanup", task="ticket-checker", keep_last=1)
    assert "2 runs, 2 files (6 B), 8 lines of log would be deleted." in said(question)
    assert "2 threads would be archived" in said(question)
    answer = await world.alice.click(question.response, label="Clean up")
    assert said(answer).startswith("▶ ticket-checker: being cleaned up")
    while work := await world.core.cleanups.next_work():
        await world.core.cleanups.remove(work)
    for thread in await world.core.cleanups.threads_to_close():
        await world.bot.archive.close_thread(thread)
        await world.core.cleanups.thread_closed(thread)
    found = [await world.bot.fetch_channel(each) for each in threads]
    is_archived = {each.id: each.archived for each in found if isinstance(each, discord.Thread)}
    assert is_archived == {each: each != stays for each in threads}
    assert len(threads) == 3
    assert await world.core.cleanups.threads_to_close() == []
    await world.deliver()
    last = world.channel("ticket-checker").history()[-1].embeds[0]
    assert last.description == "2 runs and 2 files (6 B) were removed. The figures of days and months stay."
    history = await world.alice.slash(world.lobby, "task-history", task="ticket-checker")
    assert len(said(history).splitlines()) == 2
    again = await world.alice.slash(world.lobby, "task-cleanup", task="ticket-checker", keep_last=1)
    assert "nothing to clean up" in said(again)
    neither = await world.alice.slash(world.lobby, "task-cleanup", task="ticket-checker")
    assert "Say how old" in said(neither)
    assert "Such as 90 days, or the latest 100." in said(neither)
    await _run(world, 6)
    one = await world.alice.slash(world.lobby, "task-cleanup", task="ticket-checker", older_than_days=0)
    assert "1 thread would be archived, with what stands in it." in said(one)


async def test_what_is_left_of_a_deleted_task_is_offered_and_asked_about(world: World) -> None:
    await world.make()
    for price in (5, 4):
        await _run(world, price)
    await world.deliver()
    gone = await world.core.tasks.delete(SHELL, "ticket-checker")
    async with world.core.db.write() as session:
        for run in await session.scalars(select(TaskRun)):
            run.created_at -= timedelta(days=1)
    await world.make("ticket-checker-2")
    offered = await world.alice.autocomplete(world.lobby, "task-cleanup", "task", "ticket")
    assert [choice["name"].partition(",")[0] for choice in offered] == ["ticket-checker-2", "ticket-checker"]
    assert offered[1]["value"] == str(gone.id)
    assert await world.bob.autocomplete(world.lobby, "task-cleanup", "task", "ticket") == []
    question = await world.alice.slash(world.lobby, "task-cleanup", task=str(gone.id))
    assert said(question).startswith("✋ Clean up what is left of ticket-checker?\nThis task was deleted ")
    assert "2 runs, 2 files (6 B), 8 lines of log would be deleted." in said(question)
    assert "last good run" not in said(question)
    answer = await world.alice.click(question.response, label="Clean up")
    assert "a message in the channel for notices" in said(answer)
