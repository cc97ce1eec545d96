"""What the outbox tells, as it arrives in Discord: channel, thread, live card, result; and what was deleted by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ccdtasks.config import Config, ServerConfig
from ccdtasks.core.access import SHELL
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import ArtifactKind, ArtifactState, Delivery, Reason, RunStatus
from ccdtasks.db.models import DiscordMessage
from ccdtasks.errors import Unavailable
from tests.bot.conftest import World, embed_of

RESULT = {
    "type": "result",
    "summary": "Cheapest: $342 (United), $70 less than yesterday.\n\n2 options are under your $400.",
    "items": [
        {"airline": name, "price": price}
        for name, price in [
            ("United", 342),
            ("Southwest", 378),
            ("Hawaiian", 395),
            ("Alaska", 412),
            ("Delta", 445),
            ("Spirit", 460),
        ]
    ],
    "values": {"lowest_price": {"number": 342, "unit": "USD"}},
    "alerts": [{"text": "2 options below $400", "severity": "info"}],
    "evidence_url": "https://shop.example/flights",
}


async def test_a_run_from_start_to_result_in_its_thread(world: World) -> None:
    await world.make()
    reply = await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    await world.deliver()
    thread = world.thread("ticket-checker")
    assert thread.name.endswith(" - Running")
    assert f"<#{thread.id}>" in (embed_of(reply).description or "")
    (card,) = thread.history()
    assert card.embeds[0].title == "◌ ticket-checker: waiting"

    claim = await world.begin()
    await world.log(
        claim, {"type": "progress", "text": "Searching SFO to HNL"}, {"type": "metrics", "pages_loaded": 8}, RESULT
    )
    await world.deliver()
    (card,) = thread.history()
    assert card.embeds[0].title == "▶ ticket-checker: running"
    assert card.embeds[0].description == "Searching SFO to HNL · 0 s · 8 pages"
    assert [button.label for button in _buttons(card)] == ["Log", "Stop"]

    await world.end(claim, _completed(world))
    await world.deliver()
    card, result = thread.history()
    assert card.embeds[0].title == "✓ ticket-checker: done"
    assert card.components == []
    embed = result.embeds[0]
    assert embed.title == "✓ ticket-checker: done"
    assert (embed.description or "").startswith("Cheapest: $342 (United), $70 less than yesterday.")
    assert "1\\. **United** · price: 342" in (embed.description or "")
    assert "5\\. **Delta** · price: 445" in (embed.description or "")
    assert "Spirit" not in (embed.description or "")
    assert "1 more row in View Details" in (embed.description or "")
    assert "🔔 2 options below $400" in (embed.description or "")
    assert "12 pages · 247 requests · 8.3 MB" in (embed.footer.text or "")
    assert embed.image.url is not None
    assert {a.filename: await a.read() for a in result.attachments} == {
        "results.csv": b"airline,price\n",
        "final.png": b"png",
        "results.json": b"{}",
    }
    assert [button.label for button in _buttons(result)] == [
        "Run Again", "Adjust", "View Details", "View Full Report",
    ]  # fmt: skip
    assert world.thread("ticket-checker").name.endswith(" - Complete")
    opening = world.channel("ticket-checker").history()[0]
    assert opening.embeds[0].title == "✓ ticket-checker: done"
    assert (opening.embeds[0].description or "").startswith("Cheapest: $342")


async def test_only_the_owner_is_pinged_and_only_at_the_end(world: World) -> None:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    await world.log(claim, {**RESULT, "summary": "@everyone <@1> <@&2> look"})
    await world.deliver()
    await world.end(claim, _completed(world))
    await world.deliver()
    sent = [each.json for each in world.env.http_requests if each.method == "POST" and each.path.endswith("/messages")]
    pings = [body.get("allowed_mentions") for body in sent]
    assert [bool(each.get("users")) for each in pings] == [False, False, True]
    assert all(not each.get("parse") and not each.get("roles") for each in pings)
    assert pings[-1]["users"] == [world.alice.id]
    assert sent[-1]["content"].startswith(f"<@{world.alice.id}> ")
    assert "@everyone" not in sent[-1]["content"]


async def test_run_again_works_after_a_restart_for_the_owner_only(world: World) -> None:
    await world.make()
    result = await _completed_run(world)
    await world.env.restart_bot(type(world.bot)(world.core, world.bot.config, world.shelf))
    world.bot = world.env.bot  # type: ignore[assignment]
    refused = await world.bob.click(result, label="Run Again")
    assert "Only" in (embed_of(refused).description or "")
    reply = await world.alice.click(result, label="Run Again")
    assert embed_of(reply).title == "▶ ticket-checker: on its way"
    assert len((await world.core.runs.page(SHELL)).rows) == 2
    seen = await world.alice.click(result, label="View Details")
    assert "ticket-checker" in (embed_of(seen).title or "")
    outcomes = [(each.kind, each.outcome) for each in reversed(await world.core.interactions.recent(3))]
    assert outcomes == [("button", "denied"), ("button", "ok"), ("button", "ok")]


async def test_the_stop_button_ends_a_run(world: World) -> None:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    await world.deliver()
    (card,) = world.thread("ticket-checker").history()
    await world.alice.click(card, label="Stop")
    assert (await world.core.claims.look(claim)).stop
    await world.end(claim, Outcome(RunStatus.CANCELLED))
    await world.deliver()
    stopped = world.thread("ticket-checker").history()[-1]
    assert stopped.embeds[0].title == "■ ticket-checker: stopped"
    assert f"Stopped by <@{world.alice.id}>." in (stopped.embeds[0].description or "")
    assert world.thread("ticket-checker").name.endswith(" - Cancelled")
    again = await world.alice.click(card_id(stopped), label="Run Again")
    assert embed_of(again).title == "▶ ticket-checker: on its way"


async def test_a_retry_stays_in_the_thread_which_is_renamed_once(world: World) -> None:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    await world.deliver()
    for attempt in (1, 2, 3):
        claim = await _begin_late(world)
        await world.log(
            claim, {"type": "page_loaded", "url": "https://kayak.example/x", "title": "Kayak", "load_ms": 1}
        )
        await world.end(claim, Outcome(RunStatus.FAILED, Reason.TIMEOUT, "kayak.example did not answer within 60 s."))
        await world.deliver()
        last = world.thread("ticket-checker").history()[-1 if attempt == 3 else -2]
        if attempt < 3:
            assert "failed, will try again" in last.embeds[0].title
            assert f"({attempt + 1} of 3)" in last.embeds[0].description
            assert world.thread("ticket-checker").name.endswith(" - Running")
            assert last.mentions == []
    assert last.embeds[0].title == "✕ ticket-checker: failed"
    assert "Gave up after 3 tries: kayak.example did not answer within 60 s." in last.embeds[0].description
    assert "Last page: “Kayak” https://kayak.example/x" in last.embeds[0].description
    assert last.content.startswith(f"<@{world.alice.id}>")
    assert len(world.channel("ticket-checker").threads) == 1
    assert world.thread("ticket-checker").name.endswith(" - Failed")
    assert sum(each.method == "PATCH" and "name" in (each.json or {}) for each in world.env.http_requests) == 1


async def test_a_robot_wall_is_no_change_and_has_its_own_look(world: World) -> None:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    await world.end(claim, Outcome(RunStatus.FAILED, Reason.BLOCKED, "kayak.com refused the visit as a robot."))
    await world.deliver()
    (failed,) = [m for m in world.thread("ticket-checker").history() if m.content]
    assert failed.embeds[0].title == "? ticket-checker: refused as a robot"
    assert failed.embeds[0].colour.value == 0x8B5CF6
    assert (
        "kayak.com refused the visit as a robot.\n\nThat is no change of what you watch."
        in failed.embeds[0].description
    )


async def test_a_person_is_called_once_and_the_call_is_settled_by_an_edit(world: World) -> None:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    asked = {"type": "human_needed", "request_id": "r1", "reason": "captcha", "detail": "kayak.com asks for a captcha."}
    await world.log(claim, asked)
    await world.deliver()
    call = world.thread("ticket-checker").history()[-1]
    assert call.embeds[0].title == "✋ ticket-checker: needs you"
    assert "kayak.com asks for a captcha." in call.embeds[0].description
    assert "It waits until <t:" in call.embeds[0].description
    assert [user.id for user in call.mentions] == [world.alice.id]
    await world.core.claims.record(
        claim,
        [b'{"seq": 2, "at": "2026-01-01T00:00:00Z", "type": "human_done", "request_id": "r1", "outcome": "done"}'],
        9,
    )
    await world.deliver()
    settled = world.thread("ticket-checker").history()[-1]
    assert settled.id == call.id
    assert "Done; it goes on." in settled.embeds[0].description


async def test_a_task_from_the_shell_gets_its_channel_when_it_first_runs(world: World) -> None:
    await world.core.tasks.create(SHELL, TaskDraft("garden", "Watch the weather", task_type="garden-care"))
    await world.core.runs.start(SHELL, "garden")
    await world.deliver()
    channel = world.bot.get_channel(world.channel("garden").id)
    assert channel.category.name == "Garden Care"
    assert (await world.core.tasks.find(SHELL, "garden")).discord_channel_id == str(channel.id)
    opening = world.channel("garden").history()[0]
    assert "Started by the shell" in opening.embeds[0].description
    assert len(world.thread("garden").history()) == 1


@pytest.mark.parametrize("lost", ["channel", "thread", "card", "opening"])
async def test_what_somebody_deleted_is_made_anew(world: World, lost: str) -> None:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    await world.deliver()
    channel, thread = world.channel("ticket-checker"), world.thread("ticket-checker")
    claim = await world.begin()
    await _delete(world, lost, channel, thread)
    await world.log(claim, RESULT)
    await world.deliver()
    await world.end(claim, _completed(world))
    await world.deliver()
    assert (await _rows(world)) == {
        ("opening", Delivery.DELIVERED),
        ("card", Delivery.DELIVERED),
        ("result", Delivery.DELIVERED),
    }
    titles = [message.embeds[0].title for message in world.thread("ticket-checker").history()]
    assert titles == ["✓ ticket-checker: done", "✓ ticket-checker: done"]
    assert world.thread("ticket-checker").name.endswith(" - Complete")
    opened = [message.embeds[0].title for message in world.channel("ticket-checker").history() if message.embeds]
    anchors = [title for title in opened if title == "▶ ticket-checker: goes on here"]
    assert len(anchors) == (1 if lost in ("channel", "thread") else 0)
    assert [title for title in opened if title not in anchors] == ["✓ ticket-checker: done"]


async def test_an_archived_thread_is_opened_before_the_card_is_edited(world: World) -> None:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    await world.deliver()
    thread = world.bot.get_channel(world.channel("ticket-checker").id).threads[0]
    await thread.edit(archived=True)
    world.env.inject_error("PATCH", f"/channels/{thread.id}/messages/*", status=400, code=50083)
    await world.begin()
    await world.deliver()
    assert world.thread("ticket-checker").history()[0].embeds[0].title == "▶ ticket-checker: running"
    assert any(each.json == {"archived": False, "locked": False} for each in world.env.http_requests)


async def test_an_answer_that_never_came_does_not_say_it_twice(world: World) -> None:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    world.env.inject_error("POST", "/channels/*/messages/*/threads", status=500)
    await world.deliver()
    await _try_again(world)
    await world.deliver()
    said = [message for message in world.channel("ticket-checker").history() if message.embeds]
    assert len(said) == 1
    assert len(world.thread("ticket-checker").history()) == 1


async def test_files_that_do_not_fit_are_named_with_a_link_or_a_reason(world: World) -> None:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    await world.log(claim, RESULT)
    world.shelf.url = "https://minio.example"
    outcome = _completed(world)
    huge = world.stored("video.bin", b"x", ArtifactKind.DOWNLOAD)
    drafts = [*outcome.artifacts, replace(huge, size_bytes=11 * 1024 * 1024)]
    await world.end(claim, replace(outcome, artifacts=drafts))
    await world.deliver()
    result = world.thread("ticket-checker").history()[-1]
    assert "video.bin" not in {each.filename for each in result.attachments}
    assert "video.bin (11.5 MB): https://minio.example/video.bin?ttl=604800" in result.embeds[0].description


async def test_a_file_that_does_not_fit_is_where_the_box_keeps_it(world: World) -> None:
    """Without an address of ours and without a remote store there is no link, but nobody has to guess."""
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    await world.log(claim, RESULT)
    huge = replace(world.stored("video.bin", b"x", ArtifactKind.DOWNLOAD), size_bytes=11 * 1024 * 1024)
    outcome = _completed(world)
    await world.end(claim, replace(outcome, artifacts=[*outcome.artifacts, huge]))
    await world.deliver()
    told = world.thread("ticket-checker").history()[-1].embeds[0].description
    assert "video.bin (11.5 MB): too large for Discord, it lies on the server: `/srv/ccdtasks/video.bin`" in told


class TestWithAnAddressOfOurs:
    @pytest.fixture
    def config(self, config: Config) -> Config:
        return config.model_copy(update={"server": ServerConfig(public_url="https://tasks.example.com")})

    async def test_links_lead_to_us(self, world: World) -> None:
        await world.make()
        await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
        claim = await world.begin()
        await world.log(claim, RESULT)
        huge = replace(world.stored("video.bin", b"x", ArtifactKind.DOWNLOAD), size_bytes=11 * 1024 * 1024)
        outcome = _completed(world)
        await world.end(claim, replace(outcome, artifacts=[*outcome.artifacts, huge]))
        await world.deliver()
        told = world.thread("ticket-checker").history()[-1].embeds[0].description
        artifact = await world.core.artifacts.find(SHELL, claim.run_id, "video.bin")
        assert f"video.bin (11.5 MB): https://tasks.example.com/files/{artifact.id}?t=" in told
        token = told.partition("?t=")[2].split()[0]
        world.core.links.require_file(artifact.id, token)

    async def test_what_discord_takes_no_part_of_is_linked_too(self, world: World) -> None:
        await world.make()
        await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
        claim = await world.begin()
        await world.log(claim, RESULT)
        await world.deliver()
        await world.end(claim, _completed(world))
        world.env.inject_error("POST", "/channels/*/messages", status=413, code=40005)
        await world.deliver()
        result = world.thread("ticket-checker").history()[-1]
        assert result.attachments == []
        for name in ("results.csv", "final.png", "results.json"):
            assert f"{name} (" in result.embeds[0].description
        assert result.embeds[0].description.count("https://tasks.example.com/files/") == 3


async def test_of_many_files_that_do_not_fit_it_is_said_where_all_are(world: World) -> None:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    await world.log(claim, RESULT)
    huge = world.stored("video.bin", b"x", ArtifactKind.DOWNLOAD)
    drafts = [replace(huge, name=f"{number:02}.bin", size_bytes=11 * 1024 * 1024) for number in range(40)]
    outcome = _completed(world)
    await world.end(claim, replace(outcome, artifacts=[*outcome.artifacts, *drafts]))
    await world.deliver()
    told = world.thread("ticket-checker").history()[-1].embeds[0].description
    assert "… and 32 more files: /task-files" in told
    assert "00.bin" in told


async def test_a_file_that_comes_late_is_added_to_the_result(world: World) -> None:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    await world.log(claim, RESULT)
    outcome = _completed(world)
    late = replace(outcome.artifacts[0], state=ArtifactState.LOCAL, location=None)
    await world.end(claim, replace(outcome, artifacts=[late, *outcome.artifacts[1:]]))
    await world.deliver()
    result = world.thread("ticket-checker").history()[-1]
    assert "results.csv: is still being saved" in result.embeds[0].description
    (artifact,) = await world.core.artifacts.unstored()
    await world.core.artifacts.stored(artifact.id, "results.csv")
    await world.deliver()
    told = world.thread("ticket-checker").history()[-1]
    assert told.id == result.id
    assert {each.filename for each in told.attachments} == {"results.csv", "final.png", "results.json"}
    assert "still being saved" not in told.embeds[0].description


async def test_a_message_that_is_too_large_for_discord_goes_without_files(world: World) -> None:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    await world.log(claim, RESULT)
    await world.deliver()
    await world.end(claim, _completed(world))
    world.env.inject_error("POST", "/channels/*/messages", status=413, code=40005)
    await world.deliver()
    result = world.thread("ticket-checker").history()[-1]
    assert result.attachments == []
    assert "too large for Discord" in result.embeds[0].description


async def test_a_store_that_is_away_costs_the_files_and_not_the_result(world: World) -> None:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    await world.log(claim, RESULT)
    await world.end(claim, _completed(world))
    world.shelf.away = Unavailable("store", "The store does not answer.")
    await world.deliver()
    result = world.thread("ticket-checker").history()[-1]
    assert result.embeds[0].title == "✓ ticket-checker: done"
    assert "results.csv: The store does not answer." in result.embeds[0].description
    assert result.attachments == []


async def test_news_without_a_channel_for_them_stay_visible_as_failed(world: World) -> None:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    await world.end(await world.begin(), Outcome(RunStatus.FAILED, Reason.MODEL_AUTH))
    await world.deliver()
    assert [state for key, state in await _rows(world) if key.startswith("alert:model_auth")] == [Delivery.FAILED]


async def test_news_of_the_whole_instance_go_to_the_notification_channel(world: World) -> None:
    news = world.guild.create_text_channel("news")
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    await world.end(claim, Outcome(RunStatus.FAILED, Reason.MODEL_AUTH))
    await world.deliver()
    (alert,) = news.history()
    assert "Claude refused the API key" in alert.embeds[0].description


def _completed(world: World) -> Outcome:
    return Outcome(
        RunStatus.COMPLETED,
        final_url="https://shop.example/flights",
        final_screenshot="final.png",
        artifacts=[
            world.stored("results.csv", b"airline,price\n", ArtifactKind.TABLE),
            world.stored("final.png", b"png", ArtifactKind.SCREENSHOT, "image/png"),
            world.stored("results.json", b"{}", ArtifactKind.RESULT, "application/json"),
            world.stored("agent.log", b"secret", ArtifactKind.LOG, "text/plain"),
        ],
        metrics={"pages_loaded": 12, "http_requests": 247, "bytes_received": 8_300_000, "bytes_sent": 0},
    )


async def _completed_run(world: World) -> Any:
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    await world.log(claim, RESULT)
    await world.end(claim, _completed(world))
    await world.deliver()
    return world.thread("ticket-checker").history()[-1]


async def _begin_late(world: World) -> Any:
    """Claims a run whose time has not come yet."""
    from datetime import timedelta

    claim = await world.core.claims.claim_next(world.core.clock.now() + timedelta(days=1), "boot", 10)
    assert claim is not None
    await world.core.claims.running(claim)
    await world.core.claims.removed(claim)
    return claim


async def _delete(world: World, lost: str, channel: Any, thread: Any) -> None:
    http = world.bot.http
    if lost == "channel":
        await http.delete_channel(thread.id)  # goes with its channel
        await http.delete_channel(channel.id)
    elif lost == "thread":
        await http.delete_channel(thread.id)
    elif lost == "card":
        await http.delete_message(thread.id, thread.history()[0].id)
    else:
        await http.delete_message(channel.id, channel.history()[0].id)


async def _rows(world: World) -> set[tuple[str, Delivery]]:
    from sqlalchemy import select

    async with world.core.db.read() as session:
        return {(row.key, row.state) for row in await session.scalars(select(DiscordMessage))}


async def _try_again(world: World) -> None:
    """The time for the next try has come."""
    from sqlalchemy import update

    async with world.core.db.write() as session:
        await session.execute(update(DiscordMessage).values(next_attempt_at=None))


def _buttons(message: Any) -> list[Any]:
    return [button for row in message.components for button in row.children]


def card_id(message: Any) -> Any:
    return message
