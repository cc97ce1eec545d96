"""The bot over real sockets: discord.py's own HTTP and gateway against our Discord on loopback."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ccdtasks.app import open_core
from ccdtasks.bot import Bot, run_forever
from ccdtasks.bot.commands import COMMANDS
from ccdtasks.config import Config
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import Delivery
from ccdtasks.engine.delivery import DeliveryLoop
from tests.bot.conftest import Shelf
from tests.doubles.discord_server import DiscordServer

PAUSE_S = 0.05


@dataclass
class Wire:
    """A core that outlives its bots."""

    discord: DiscordServer
    core: Core
    config: Config

    @asynccontextmanager
    async def bot(self, *, waits: bool = True) -> AsyncIterator[Bot]:
        """A bot and its delivery loop, connected until the end of the block."""
        stop = asyncio.Event()
        bot = Bot(self.core, self.config, Shelf(), register_again_s=PAUSE_S)
        tasks = [
            asyncio.create_task(run_forever(bot, stop, PAUSE_S)),
            asyncio.create_task(DeliveryLoop(self.core, bot.projection, edit_gap_s=0).run()),
        ]
        try:
            if waits:
                await self.discord.connected()
                await _settled(bot)
            yield bot
        finally:
            stop.set()
            tasks[1].cancel()
            await asyncio.wait(tasks, timeout=10)
            assert all(task.done() for task in tasks)


@pytest.fixture
async def discord() -> AsyncIterator[DiscordServer]:
    async with DiscordServer(answer_within_s=20) as server:
        yield server


@pytest.fixture
async def wire(discord: DiscordServer, tmp_path: Path, sqlite_template: Path) -> AsyncIterator[Wire]:
    shutil.copy(sqlite_template, tmp_path / "ccdtasks.db")
    config = Config.model_validate({"discord": discord.config, "paths": {"data_dir": tmp_path}})
    async with open_core(config) as core:
        yield Wire(discord, core, config)


async def test_commands_are_registered_once_and_answered(wire: Wire) -> None:
    discord = wire.discord
    alice = discord.person("alice")
    async with wire.bot() as bot:
        assert bot.trouble is None
        names = {command["name"] for command in discord.state.commands[discord.state.guild_id]}
        assert names == {command.name for command in COMMANDS}
        reply = await discord.slash(alice, "task-create", name="shoes", prompt="Find {what}")
        assert "shoes: ready" in reply.text
        assert (discord.channel("shoes") or {})["topic"] == "Find {what}"
        form = await discord.slash(alice, "task-start", task="shoes")
        assert form.modal["title"] == "Start shoes"
        reply = await discord.submit(alice, form, {"what": "boots"})
        assert "on its way" in reply.text
        thread = await discord.until(lambda: discord.thread("shoes"))
        await discord.until(lambda: f"<#{thread['id']}>" in reply.text)
        choices = await discord.autocomplete(alice, "task-start", "task", "sh")
        assert choices == [{"name": "shoes", "value": "shoes"}]
    puts = [seen.path for seen in discord.requests if seen.method == "PUT"]
    async with wire.bot():
        pass
    assert [seen.path for seen in discord.requests if seen.method == "PUT"] == puts
    discord.assert_clean()


async def test_buttons_of_an_earlier_life_work(wire: Wire) -> None:
    discord = wire.discord
    alice, bob = discord.person("alice"), discord.person("bob")
    async with wire.bot():
        await discord.slash(alice, "task-create", name="shoes", prompt="Find shoes")
        await discord.slash(alice, "task-start", task="shoes")
        card = await discord.until(lambda: discord.message(discord.thread("shoes"), "waiting"))
    async with wire.bot():
        assert "Only" in (await discord.click(bob, card, "Stop")).text
        assert "Stopped." in (await discord.click(alice, card, "Stop")).text
        stopped = await discord.until(lambda: discord.message(discord.thread("shoes"), "Stopped by"))
        assert "on its way" in (await discord.click(alice, stopped, "Run Again")).text
    discord.assert_clean()


@pytest.mark.slow
async def test_a_lost_answer_and_a_lost_process_say_nothing_twice(wire: Wire) -> None:
    discord = wire.discord
    alice = discord.person("alice")
    async with wire.bot():
        await discord.slash(alice, "task-create", name="shoes", prompt="Find shoes")
        discord.lose_answer("POST", "/channels/*/messages", times=2)
        discord.lose_answer("POST", "/channels/*/threads")
        await discord.slash(alice, "task-start", task="shoes")
        await discord.until(lambda: discord.messages(discord.thread("shoes")))
    async with wire.bot():
        await discord.slash(alice, "task-stop", task="shoes")
        await discord.until(lambda: discord.message(discord.thread("shoes"), "Stopped by"))
        await discord.until(lambda: (discord.thread("shoes") or {})["name"].endswith("Cancelled"))
    assert len(discord.messages(discord.channel("shoes"))) == 1
    assert len(discord.messages(discord.thread("shoes"))) == 2
    discord.assert_clean()


async def test_a_broken_gateway_is_resumed_and_what_was_asked_meanwhile_is_answered(wire: Wire) -> None:
    discord = wire.discord
    alice = discord.person("alice")
    async with wire.bot():
        await discord.drop_gateway()
        reply = await discord.slash(alice, "task-list")
        assert "You have no tasks yet" in reply.text
        assert (discord.gateway.identified, discord.gateway.resumed) == (1, 1)
    discord.assert_clean()


async def test_a_gateway_that_asks_for_it_is_left_and_resumed(wire: Wire) -> None:
    discord = wire.discord
    async with wire.bot():
        await discord.gateway.reconnect()
        await discord.until(lambda: discord.gateway.resumed)
        assert "You have no tasks yet" in (await discord.slash(discord.person("alice"), "task-list")).text
        assert discord.gateway.identified == 1


@pytest.mark.slow
async def test_a_session_that_discord_forgot_begins_anew(wire: Wire) -> None:
    discord = wire.discord
    async with wire.bot() as bot:
        await discord.drop_gateway()
        discord.gateway.forget()
        await discord.until(lambda: discord.gateway.identified == 2)
        await _until_well(bot)
        assert "You have no tasks yet" in (await discord.slash(discord.person("alice"), "task-list")).text
    discord.assert_clean()


async def test_a_slow_answer_holds_back_no_other_task(wire: Wire) -> None:
    discord = wire.discord
    alice = discord.person("alice")
    async with wire.bot():
        for name in ("shoes", "hats"):
            await discord.slash(alice, "task-create", name=name, prompt=f"Find {name}")
        slow = discord.channel("shoes")
        assert slow is not None
        answers = discord.hold("POST", f"/channels/{slow['id']}/messages")
        await discord.slash(alice, "task-start", task="shoes")
        await discord.slash(alice, "task-start", task="hats")
        await discord.until(lambda: discord.message(discord.thread("hats"), "waiting"))
        assert discord.messages(slow) == []
        answers.set()
        await discord.until(lambda: discord.message(discord.thread("shoes"), "waiting"))
    discord.assert_clean()


async def test_an_archived_and_locked_thread_is_opened_before_it_is_written_to(wire: Wire) -> None:
    discord = wire.discord
    alice = discord.person("alice")
    async with wire.bot():
        await discord.slash(alice, "task-create", name="shoes", prompt="Find shoes")
        await discord.slash(alice, "task-start", task="shoes")
        thread = await discord.until(lambda: discord.messages(discord.thread("shoes")) and discord.thread("shoes"))
        thread["thread_metadata"] |= {"archived": True, "locked": True}
        await discord.slash(alice, "task-stop", task="shoes")
        await discord.until(lambda: discord.message(thread, "Stopped by"))
        assert (thread["thread_metadata"]["archived"], thread["thread_metadata"]["locked"]) == (False, False)
    discord.assert_clean()


@pytest.mark.slow
async def test_rate_limits_and_trouble_are_waited_out(wire: Wire) -> None:
    discord = wire.discord
    alice = discord.person("alice")
    async with wire.bot():
        await discord.slash(alice, "task-create", name="shoes", prompt="Find shoes")
        discord.limit("POST", "/channels/*/messages", 0.05, times=2)
        discord.fail("POST", "/channels/*/threads", 503, times=1)
        await discord.slash(alice, "task-start", task="shoes")
        await discord.until(lambda: discord.message(discord.thread("shoes"), "waiting"))
    statuses = [seen.status for seen in discord.requests if seen.path.endswith(("/messages", "/threads"))]
    assert statuses == [429, 429, 200, 503, 201, 200]
    discord.assert_clean()


async def test_a_rename_that_has_to_wait_ten_minutes_holds_nothing_back(wire: Wire) -> None:
    discord = wire.discord
    alice = discord.person("alice")
    async with wire.bot():
        await discord.slash(alice, "task-create", name="shoes", prompt="Find shoes")
        await discord.slash(alice, "task-start", task="shoes")
        thread = await discord.until(lambda: discord.messages(discord.thread("shoes")) and discord.thread("shoes"))
        discord.limit("PATCH", f"/channels/{thread['id']}", 580)
        await discord.slash(alice, "task-stop", task="shoes")
        await discord.until(lambda: discord.message(thread, "Stopped by"))
        await discord.until(lambda: any(seen.status == 429 for seen in discord.requests))
        (waiting,) = [row for row in await _outbox(wire.core) if row.next_attempt_at]
        left_s = (waiting.next_attempt_at - wire.core.clock.now()).total_seconds()
        assert waiting.key == "opening"
        assert 500 < left_s <= 580


async def test_channels_deleted_by_hand_are_made_anew(wire: Wire) -> None:
    discord = wire.discord
    alice = discord.person("alice")
    async with wire.bot():
        await discord.slash(alice, "task-create", name="shoes", prompt="Find shoes")
        gone = discord.channel("shoes")
        assert gone is not None
        discord.state.delete_channel(gone["id"])
        await discord.slash(alice, "task-start", task="shoes")
        card = await discord.until(lambda: discord.message(discord.thread("shoes"), "waiting"))
        assert discord.channel("shoes") != gone
        discord.state.delete_channel(card["channel_id"])
        await discord.slash(alice, "task-stop", task="shoes")
        await discord.until(lambda: discord.message(discord.thread("shoes"), "Stopped by"))
    discord.assert_clean()


@pytest.mark.slow
async def test_discord_away_at_the_start_is_waited_for(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    discord = wire.discord
    await wire.core.tasks.create(SHELL, TaskDraft("shoes", "Find shoes"))
    await wire.core.runs.start(SHELL, "shoes")
    await discord.go_down()
    async with wire.bot(waits=False) as bot:
        await _troubled(bot, "cannot be reached")
        assert {row.state for row in await _outbox(wire.core)} == {Delivery.PENDING}
        await discord.come_back()
        await discord.connected()
        await discord.until(lambda: discord.message(discord.thread("shoes"), "waiting"))
        assert "You have no tasks yet" in (await discord.slash(discord.person("alice"), "task-list")).text
    assert "Traceback" not in caplog.text
    discord.assert_clean()


async def test_a_gateway_that_refuses_the_first_connection_is_tried_again(wire: Wire) -> None:
    discord = wire.discord
    discord.gateway.refuse_with = 1011
    async with wire.bot(waits=False) as bot:
        await _troubled(bot, "cannot be reached")
        discord.gateway.refuse_with = None
        await discord.connected()
    discord.assert_clean()


async def test_a_refused_token_is_said_once_and_not_tried_again(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    discord = wire.discord
    wire.config = Config.model_validate(
        {"discord": {**discord.config, "token": "wrong-secret"}, "paths": {"data_dir": wire.config.paths.data_dir}}
    )
    async with wire.bot(waits=False) as bot:
        await _troubled(bot, "refuses the bot's token")
    assert [seen.status for seen in discord.requests] == [401]
    assert "wrong-secret" not in caplog.text


async def test_refused_intents_are_said_and_not_tried_again(wire: Wire) -> None:
    wire.discord.gateway.refuse_with = 4014
    async with wire.bot(waits=False) as bot:
        await _troubled(bot, "refuses the bot's intents")
    assert wire.discord.gateway.identified == 0


async def test_missing_permissions_are_named(wire: Wire) -> None:
    discord = wire.discord
    discord.state.allow(1 << 10)
    async with wire.bot() as bot:
        assert bot.trouble is not None
        assert "Manage Channels, Embed Links, Attach Files, Read Message History" in bot.trouble
        reply = await discord.slash(discord.person("alice"), "task-create", name="shoes", prompt="Find")
        assert "Discord does not let the bot make a channel." in reply.text
        assert await wire.core.tasks.names(SHELL, "") == []


async def test_only_people_with_a_role_may_use_it(discord: DiscordServer, tmp_path: Path) -> None:
    family, boss = discord.role("family"), discord.role("boss")
    config = Config.model_validate(
        {
            "discord": {**discord.config, "user_role_ids": [int(family)], "admin_role_ids": [int(boss)]},
            "paths": {"data_dir": tmp_path},
        }
    )
    async with open_core(config) as core, Wire(discord, core, config).bot():
        stranger, child, admin = discord.person("eve"), discord.person("kid", (family,)), discord.person("mum", (boss,))
        assert "Not allowed" in (await discord.slash(stranger, "task-list")).text
        assert await discord.autocomplete(stranger, "task-start", "task", "") == []
        assert "shoes: ready" in (await discord.slash(child, "task-create", name="shoes", prompt="Find shoes")).text
        assert "shoes" in (await discord.slash(admin, "task-list")).text
        assert "on its way" in (await discord.slash(admin, "task-start", task="shoes")).text
    discord.assert_clean()


async def test_what_cannot_be_answered_any_more_is_logged_and_hurts_nothing(wire: Wire) -> None:
    discord, alice = wire.discord, wire.discord.person("alice")
    async with wire.bot():
        discord.fail("POST", "/interactions/*/callback", 404, 10062)
        unanswered = asyncio.create_task(discord.slash(alice, "task-list"))
        await discord.until(lambda: any(seen.status == 404 for seen in discord.requests))
        assert "You have no tasks yet" in (await discord.slash(alice, "task-list")).text
        unanswered.cancel()
        async with asyncio.timeout(30):
            while len(seen := await wire.core.interactions.recent()) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert {each.outcome for each in seen} == {"too_late", "ok"}


async def test_a_command_of_an_earlier_version_is_answered(wire: Wire) -> None:
    discord, state = wire.discord, wire.discord.state
    async with wire.bot():
        state.register([{"name": "task-old", "description": "gone", "options": []}], state.guild_id)
        assert "The commands just changed." in (await discord.slash(discord.person("alice"), "task-old")).text


async def test_commands_that_discord_does_not_take_now_are_registered_later(wire: Wire) -> None:
    discord = wire.discord
    discord.fail("PUT", "*/commands", 403, 50001, times=2)
    async with wire.bot() as bot:
        await _until_well(bot)
    assert [seen.status for seen in discord.requests if seen.method == "PUT"] == [403, 403, 200, 200]


async def test_an_invitation_that_comes_later_is_enough(wire: Wire) -> None:
    discord = wire.discord
    discord.state.bot_is_member = False
    async with wire.bot(waits=False) as bot:
        await _troubled(bot, "Invite it: http")
        discord.invite()
        await _until_well(bot)
        assert "You have no tasks yet" in (await discord.slash(discord.person("alice"), "task-list")).text


async def test_another_server_is_refused(wire: Wire) -> None:
    discord = wire.discord
    async with wire.bot():
        reply = await discord.slash(discord.person("eve"), "task-list", guild_id="1400000000000000001")
        assert "This bot only works in its own server." in reply.text


async def _settled(bot: Bot) -> None:
    """All that follows a connection is done; there is no bell for that."""
    async with asyncio.timeout(30):
        while bot.trouble == "not connected yet":  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def _troubled(bot: Bot, words: str) -> None:
    """The bot says so; it has no bell for that."""
    async with asyncio.timeout(30):
        while words not in (bot.trouble or ""):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def _until_well(bot: Bot) -> None:
    async with asyncio.timeout(30):
        while bot.trouble is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def _outbox(core: Core) -> list:  # type: ignore[type-arg]
    from sqlalchemy import select

    from ccdtasks.db.models import DiscordMessage

    async with core.db.read() as session:
        return list(await session.scalars(select(DiscordMessage)))
