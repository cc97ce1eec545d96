"""Nothing said twice, nothing unsaid: the outbox against Discord's protocol, while all goes wrong. Time is moved."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import select

from ccdtasks.app import open_core
from ccdtasks.bot import Bot, run_forever
from ccdtasks.config import Config
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL, Actor
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.records.artifacts import ArtifactDraft
from ccdtasks.core.runs.claims import Claim
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import ArtifactKind, ArtifactState, Delivery, Reason, RunStatus
from ccdtasks.db.models import DiscordMessage
from ccdtasks.engine.delivery import DeliveryLoop
from tests.bot.conftest import Shelf
from tests.clock import MoveableClock
from tests.doubles.discord_server import BOT_PERMISSIONS, DiscordServer, Person, text_of
from tests.stories import complete, completed, lines

PAUSE_S = 0.05
SILENT = 1 << 12
READ_HISTORY = 1 << 16
VIEW, SEND, SEND_IN_THREADS = 1 << 10, 1 << 11, 1 << 38


@dataclass
class Wire:
    """A core with a moved clock that outlives its bots; the loop turns when it is told to."""

    discord: DiscordServer
    core: Core
    clock: MoveableClock
    alice: Person
    shelf: Shelf = field(default_factory=Shelf)

    @asynccontextmanager
    async def bot(self) -> AsyncIterator[DeliveryLoop]:
        """A bot and its delivery loop, as after a start of the service."""
        stop = asyncio.Event()
        bot = Bot(self.core, self.core.config, self.shelf, register_again_s=PAUSE_S)
        running = asyncio.create_task(run_forever(bot, stop, PAUSE_S))
        try:
            await self.discord.connected()
            async with asyncio.timeout(30):
                while bot.trouble == "not connected yet":  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            yield DeliveryLoop(self.core, bot.projection, edit_gap_s=0)
        finally:
            stop.set()
            await asyncio.wait([running], timeout=10)
            assert running.done()

    async def deliver(self, loop: DeliveryLoop) -> None:
        """Sends all that may be sent now."""
        while await loop.send_pending() == 0.0:
            pass

    async def wait_out(self, loop: DeliveryLoop, **duration: float) -> None:
        """Time passes, and the loop turns every five seconds of it."""
        end = self.clock.now() + (MoveableClock().advance(**duration) - MoveableClock().now())
        while self.clock.now() < end:
            self.clock.advance(seconds=5)
            await self.deliver(loop)

    async def start(self, name: str = "shoes") -> Claim:
        """Alice's run of a task begins."""
        if name not in await self.core.tasks.names(SHELL, ""):
            await self.core.tasks.create(self.me, TaskDraft(name, f"Find {name}"))
        await self.core.runs.start(self.me, name)
        claim = await self.core.claims.claim_next(self.clock.now(), "boot", 10)
        assert claim is not None
        await self.core.claims.running(claim)
        return claim

    async def finish(self, claim: Claim) -> None:
        await complete(self.core, claim)

    @property
    def me(self) -> Actor:
        return Actor(self.alice.id, "discord")

    async def rows(self) -> list[DiscordMessage]:
        async with self.core.db.read() as session:
            return list(await session.scalars(select(DiscordMessage).order_by(DiscordMessage.created_at)))

    async def assert_all_delivered(self) -> None:
        rows = await self.rows()
        assert rows
        assert {(row.key, row.state) for row in rows if row.state is not Delivery.DELIVERED} == set()
        assert all(row.message_id for row in rows), "delivered means that we hold a message id"

    def said(self, name: str = "shoes") -> list[str]:
        """The titles in the thread, in order."""
        return [message["embeds"][0]["title"] for message in self.discord.messages(self.discord.thread(name))]


RAN = ["✓ shoes: done", "✓ shoes: done"]
"""The card and the result of a run that ended well."""


@pytest.fixture
async def discord() -> AsyncIterator[DiscordServer]:
    async with DiscordServer(answer_within_s=20) as server:
        yield server


@pytest.fixture
async def wire(
    discord: DiscordServer, clock: MoveableClock, tmp_path: Path, sqlite_template: Path
) -> AsyncIterator[Wire]:
    shutil.copy(sqlite_template, tmp_path / "ccdtasks.db")
    table = {**discord.config, "notification_channel": discord.lobby}
    config = Config.model_validate({"discord": table, "paths": {"data_dir": tmp_path}})
    async with open_core(config, clock) as core:
        yield Wire(discord, core, clock, discord.person("alice"))


@pytest.mark.slow
async def test_an_outage_of_ten_minutes_loses_and_repeats_nothing(wire: Wire) -> None:
    discord = wire.discord
    async with wire.bot() as loop:
        claim = await wire.start()
        await wire.deliver(loop)
        await discord.go_down()
        asked = len(discord.requests)
        await wire.finish(claim)
        other = await wire.start("hats")
        await wire.finish(other)
        await wire.wait_out(loop, minutes=10)
        attempts = [row.attempts for row in await wire.rows()]
        assert max(attempts) <= 12, "it was hammered"
        assert len(discord.requests) == asked
        await discord.come_back()
        await discord.until(lambda: discord.gateway.is_connected)
        await wire.wait_out(loop, minutes=6)
    assert wire.said() == RAN
    assert wire.said("hats") == ["✓ hats: done", "✓ hats: done"]
    assert len(discord.messages(discord.channel("shoes"))) == 1
    assert (discord.thread("shoes") or {})["name"].endswith("Complete")
    await wire.assert_all_delivered()
    discord.assert_clean()


async def test_a_short_limit_is_waited_out_in_place(wire: Wire) -> None:
    discord = wire.discord
    async with wire.bot() as loop:
        discord.limit("POST", "/channels/*/messages", 0.05, times=2, is_global=True)
        await wire.finish(await wire.start())
        await wire.deliver(loop)
    assert wire.said() == RAN
    await wire.assert_all_delivered()
    discord.assert_clean()


async def test_a_long_limit_holds_back_its_thread_until_then_and_no_other(wire: Wire) -> None:
    discord = wire.discord
    async with wire.bot() as loop:
        await wire.deliver(loop)
        for name in ("shoes", "hats"):
            await wire.start(name)
            await wire.deliver(loop)
        shoes = discord.thread("shoes")
        assert shoes is not None
        discord.limit("POST", f"/channels/{shoes['id']}/messages", 400, is_global=True)
        for name in ("shoes", "hats"):
            await wire.core.runs.stop(wire.me, name)
            claim = next(each for each in await wire.core.claims.open() if each.is_live)
            await wire.core.claims.finish(claim, Outcome(RunStatus.CANCELLED))
            await wire.core.claims.removed(claim)
        await wire.deliver(loop)
        assert len(discord.messages(discord.thread("hats"))) == 2
        await wire.wait_out(loop, seconds=390)
        assert len(discord.messages(shoes)) == 1, "it was asked again before its time"
        await wire.wait_out(loop, seconds=20)
        assert len(discord.messages(shoes)) == 2
    await wire.assert_all_delivered()
    discord.assert_clean()


async def test_the_guard_before_discord_stops_everything_for_a_while(wire: Wire) -> None:
    discord = wire.discord
    async with wire.bot() as loop:
        for name in ("shoes", "hats", "socks"):
            await wire.start(name)
        discord.ban(times=100)
        await wire.deliver(loop)
        asked = len(discord.requests)
        await wire.start("boots")
        await wire.wait_out(loop, seconds=50)
        assert len(discord.requests) == asked, "a locked out bot that goes on asking stays locked out"
        discord.rest.faults.clear()
        await wire.wait_out(loop, seconds=90)
    await wire.assert_all_delivered()
    discord.assert_clean()


@pytest.mark.parametrize("status", [500, 503])
async def test_trouble_of_discord_passes(wire: Wire, status: int) -> None:
    discord = wire.discord
    async with wire.bot() as loop:
        claim = await wire.start()
        await wire.deliver(loop)
        discord.fail("POST", "/channels/*/messages", status)
        discord.fail("PATCH", "/channels/*/messages/*", 503)
        await wire.finish(claim)
        await wire.wait_out(loop, minutes=1)
    assert wire.said() == RAN
    await wire.assert_all_delivered()
    discord.assert_clean()


async def test_a_message_deleted_by_hand_is_said_anew_when_it_changes(wire: Wire) -> None:
    discord = wire.discord
    async with wire.bot() as loop:
        claim = await wire.start()
        await wire.deliver(loop)
        (card,) = discord.messages(discord.thread("shoes"))
        discord.state.delete_message(card["channel_id"], card["id"])
        await wire.finish(claim)
        await wire.deliver(loop)
    assert sorted(wire.said()) == RAN
    await wire.assert_all_delivered()
    discord.assert_clean()


@pytest.mark.parametrize("state", [{"archived": True}, {"locked": True}, {"archived": True, "locked": True}])
async def test_a_thread_that_was_closed_is_opened(wire: Wire, state: dict[str, bool]) -> None:
    discord = wire.discord
    async with wire.bot() as loop:
        claim = await wire.start()
        await wire.deliver(loop)
        thread = discord.thread("shoes")
        assert thread is not None
        thread["thread_metadata"] |= state
        await wire.finish(claim)
        await wire.deliver(loop)
    assert wire.said() == RAN
    await wire.assert_all_delivered()
    discord.assert_clean()


@pytest.mark.parametrize("lost", ["thread", "channel", "category"])
async def test_what_somebody_deleted_is_made_anew(wire: Wire, lost: str) -> None:
    discord = wire.discord
    async with wire.bot() as loop:
        claim = await wire.start()
        await wire.deliver(loop)
        thread, channel = discord.thread("shoes"), discord.channel("shoes")
        assert thread is not None
        assert channel is not None
        category = channel["parent_id"]
        discord.state.delete_channel({"thread": thread["id"], "channel": channel["id"], "category": category}[lost])
        await wire.finish(claim)
        await wire.deliver(loop)
        assert "✓ shoes: done" in wire.said()
        assert (discord.thread("shoes") == thread) is (lost == "category")
        await wire.start("boots")
        await wire.deliver(loop)
        boots = discord.channel("boots")
        assert boots is not None
        assert boots["parent_id"] in discord.state.channels
    await wire.assert_all_delivered()
    discord.assert_clean()


@pytest.mark.parametrize("forgotten", [False, True])
async def test_a_lost_answer_says_nothing_twice_however_long_the_outage(wire: Wire, forgotten: bool) -> None:
    """Discord took the card; its answer got lost; Discord goes away, for longer than it remembers nonces."""
    discord = wire.discord
    async with wire.bot() as loop:
        claim = await wire.start()
        discord.lose_answer("POST", "/channels/*/messages", times=2)
        await wire.deliver(loop)
        await discord.go_down()
        if forgotten:
            discord.state.forget_nonces()
        await wire.wait_out(loop, minutes=10 if forgotten else 1)
        await discord.come_back()
        await discord.until(lambda: discord.gateway.is_connected)
        await wire.wait_out(loop, minutes=6)
        discord.lose_answer("POST", "/channels/*/messages", times=1)
        await wire.finish(claim)
        await wire.deliver(loop)
        await wire.wait_out(loop, minutes=6)
    assert wire.said() == RAN
    assert len(discord.messages(discord.channel("shoes"))) == 1
    await wire.assert_all_delivered()
    discord.assert_clean()


@pytest.mark.parametrize("key", ["opening", "card", "result"])
@pytest.mark.parametrize("rest_minutes", [0, 30])
async def test_a_process_that_dies_before_it_commits_says_nothing_twice(
    wire: Wire, key: str, rest_minutes: int
) -> None:
    """Discord has the message, our row does not know it: we died in between, and rest for a while."""
    discord = wire.discord
    async with wire.bot() as loop:
        claim = await wire.start()
        if key == "result":
            await wire.finish(claim)
        await wire.deliver(loop)
        (row,) = [row for row in await wire.rows() if row.key == key]
    async with wire.core.db.write() as session:
        lost = await session.get_one(DiscordMessage, row.id)
        lost.message_id, lost.sent_at, lost.delivered_revision, lost.state = None, None, 0, Delivery.PENDING
    if rest_minutes:
        wire.clock.advance(minutes=rest_minutes)
        discord.state.forget_nonces()
    shown = [len(discord.messages(place)) for place in (discord.channel("shoes"), discord.thread("shoes"))]
    async with wire.bot() as loop:
        await wire.deliver(loop)
        if key != "result":
            await wire.finish(claim)
            await wire.deliver(loop)
    assert len(discord.messages(discord.channel("shoes"))) == shown[0]
    assert wire.said() == RAN
    await wire.assert_all_delivered()
    discord.assert_clean()


async def test_without_the_right_to_look_it_is_said_all_the_same(wire: Wire) -> None:
    discord = wire.discord
    discord.state.allow(BOT_PERMISSIONS & ~READ_HISTORY)
    claim = await wire.start()
    wire.clock.advance(minutes=30)
    await wire.finish(claim)
    async with wire.bot() as loop:
        await wire.deliver(loop)
    assert wire.said() == RAN
    await wire.assert_all_delivered()
    discord.assert_clean()


async def test_a_restart_in_the_middle_goes_on_where_it_was(wire: Wire) -> None:
    discord = wire.discord
    claim = await wire.start()
    async with wire.bot() as loop:
        discord.fail("POST", "/channels/*/threads", 503)
        await wire.deliver(loop)
        assert discord.thread("shoes") is None
    await wire.finish(claim)
    wire.clock.advance(minutes=1)
    async with wire.bot() as loop:
        await wire.deliver(loop)
    assert wire.said() == RAN
    assert len(discord.messages(discord.channel("shoes"))) == 1
    await wire.assert_all_delivered()
    discord.assert_clean()


async def test_files_that_discord_finds_too_large_become_links(wire: Wire) -> None:
    discord = wire.discord
    wire.shelf.url = "https://box.example"
    async with wire.bot() as loop:
        claim = await wire.start()
        wire.shelf.files["big.csv"] = b"a,b\n" * 1000
        big = ArtifactDraft(
            "big.csv", ArtifactKind.DOWNLOAD, "text/csv", 4000, state=ArtifactState.STORED, location="big.csv"
        )
        await wire.deliver(loop)
        discord.fail("POST", "/channels/*/messages", 413, 40005)
        await wire.core.claims.record(claim, lines({"type": "result", "summary": "Found it", "values": {"n": 1}}), 1)
        await wire.core.claims.collecting(claim)
        shot = ArtifactDraft(
            "final.png", ArtifactKind.SCREENSHOT, "image/png", 9, state=ArtifactState.STORED, location="final.png"
        )
        wire.shelf.files["final.png"] = b"\x89PNG12345"
        await wire.core.claims.finish(claim, completed(artifacts=[shot, big]))
        await wire.deliver(loop)
    result = discord.messages(discord.thread("shoes"))[-1]
    assert "Found it" in text_of(result)
    assert "https://box.example/big.csv" in text_of(result)
    assert result["attachments"] == []
    await wire.assert_all_delivered()
    discord.assert_clean()


async def test_a_missing_permission_is_told_the_owner_in_private_once_and_nothing_is_lost(wire: Wire) -> None:
    discord = wire.discord
    async with wire.bot() as loop:
        claim = await wire.start()
        await wire.deliver(loop)
        _forbid(discord)
        await wire.finish(claim)
        await wire.wait_out(loop, minutes=5)
        (private,) = discord.messages(discord.state.dms[wire.alice.id])
        assert "I cannot tell you about **shoes** in its channel" in text_of(private)
        assert "Discord does not let the bot post this." in text_of(private)
        assert "Give its role the permission for it; what waits is posted then." in text_of(private)
        discord.state.allow(BOT_PERMISSIONS)
        await wire.wait_out(loop, minutes=6)
    assert wire.said() == RAN
    await wire.assert_all_delivered()
    discord.assert_clean()


async def test_who_takes_no_private_messages_is_not_asked_again(wire: Wire) -> None:
    discord = wire.discord
    discord.state.closed_dms.add(wire.alice.id)
    async with wire.bot() as loop:
        claim = await wire.start()
        await wire.deliver(loop)
        _forbid(discord)
        await wire.finish(claim)
        await wire.wait_out(loop, minutes=5)
    refused = [seen for seen in discord.requests if seen.path.endswith("/messages") and seen.status == 403]
    assert sum(seen.path.split("/")[2] == discord.state.dms[wire.alice.id]["id"] for seen in refused) == 1
    (failed,) = await wire.core.messages.failures(wire.clock.now().replace(year=2025))
    assert failed.key.startswith("unsaid:")


async def test_a_task_of_the_shell_tells_the_notification_channel(wire: Wire) -> None:
    discord = wire.discord
    async with wire.bot() as loop:
        await wire.core.tasks.create(SHELL, TaskDraft("shoes", "Find shoes"))
        await wire.core.runs.start(SHELL, "shoes")
        await wire.deliver(loop)
        claim = await wire.core.claims.claim_next(wire.clock.now(), "boot", 10)
        assert claim is not None
        _forbid(discord)
        await wire.core.claims.finish(claim, Outcome(RunStatus.FAILED, Reason.BLOCKED))
        await wire.wait_out(loop, minutes=2)
    assert discord.message({"id": discord.lobby}, "I cannot tell you about **shoes**")


async def test_phones_stay_still_until_there_is_something_to_tell(wire: Wire) -> None:
    """Discord's own notifications: a start and its card are silent, an answer is not, and only that calls its owner."""
    discord = wire.discord
    async with wire.bot() as loop:
        claim = await wire.start()
        await wire.deliver(loop)
        await wire.finish(claim)
        await wire.deliver(loop)
    sent = [seen.body for seen in discord.requests if seen.method == "POST" and seen.path.endswith("/messages")]
    assert [bool((body.get("flags") or 0) & SILENT) for body in sent] == [True, True, False]
    opening, card, result = [*discord.messages(discord.channel("shoes")), *discord.messages(discord.thread("shoes"))]
    assert [len(message["mentions"]) for message in (opening, card, result)] == [0, 0, 1]
    discord.assert_clean()


def _forbid(discord: DiscordServer) -> None:
    """Nobody gave the bot the right to write in threads (any more); in channels it may."""
    discord.state.allow(BOT_PERMISSIONS & ~SEND_IN_THREADS)
    discord.state.roles[discord.state.guild_id]["permissions"] = str(VIEW | SEND)
