"""`/settings` in Discord: seen by its user alone, the key kept nowhere as it is; and what threads say about pushes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from ccdtasks.adapters.pushover import Pushover
from ccdtasks.bot import Bot
from ccdtasks.bot.cards import push
from ccdtasks.config import Config
from ccdtasks.core import Core
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.engine.pushing import PushingLoop
from tests.bot.conftest import Shelf, World, embed_of
from tests.clock import MoveableClock
from tests.doubles.pushover_server import KEY, TOKEN, PushoverServer


@pytest.fixture
async def pushover() -> AsyncIterator[PushoverServer]:
    async with PushoverServer(MoveableClock()) as server:
        server.add_user(KEY, "iphone", "pixel")
        yield server


@pytest.fixture
def config(config: Config, pushover: PushoverServer) -> Config:
    table = Config.model_validate({"pushover": pushover.config}).pushover
    return config.model_copy(update={"pushover": table})


@pytest.fixture
async def client(pushover: PushoverServer) -> AsyncIterator[Pushover]:
    made = Pushover(TOKEN, pushover.config["api_url"])
    yield made
    await made.close()


@pytest.fixture
async def simcord_bot(core: Core, config: Config, shelf: Shelf, client: Pushover) -> Bot:
    return Bot(core, config, shelf, client)


async def _set(world: World, command: str, **options: Any) -> str:
    reply = await world.alice.slash(world.lobby, f"settings {command}", **options)
    assert reply.ephemeral
    embed = embed_of(reply)
    return f"{embed.title}\n{embed.description or ''}"


async def test_a_phone_is_connected_tried_and_disconnected(
    world: World, pushover: PushoverServer, client: Pushover
) -> None:
    assert "Pushes: off. /settings pushover-key connects your phone." in await _set(world, "show")
    said = await _set(world, "pushover-key", key=KEY)
    assert "Pushover knows it: iphone and pixel." in said
    assert "You are called for final failures and runs that need you." in said
    said = await _set(world, "pushover-priority", level=2, sound="siren", retry=30)
    assert "It rings every 30 s until you confirm it, 1 h at most." in said
    assert "You are called for results." in await _set(world, "pushover-notify-on", events="complete")
    loop = asyncio.create_task(PushingLoop(world.core, client).run())
    assert "Your phone should show it now." in await _set(world, "pushover-test")
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    assert [(message.user, message.sound) for message in pushover.messages] == [(KEY, "siren")]
    shown = await _set(world, "show")
    assert "Pushes: on, key •••• VRsG" in shown
    assert "Priority 2" in shown
    assert "Your key is deleted" in await _set(world, "pushover-disable")
    assert "Pushes: off." in await _set(world, "show")
    pushover.assert_clean()


async def test_a_key_is_neither_logged_nor_said_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    said = [await _set(world, "pushover-key", key=KEY), await _set(world, "pushover-key", key="z" * 30)]
    assert "Pushover knows no active user of that key." in said[1]
    logged = await world.core.interactions.recent()
    assert [(each.name, each.options, each.outcome) for each in reversed(logged)] == [
        ("settings pushover-key", {"key": "(hidden)"}, "ok"),
        ("settings pushover-key", {"key": "(hidden)"}, "invalid"),
    ]
    async with world.core.db.read() as session:
        names = list(await session.scalars(text("SELECT name FROM sqlite_master WHERE type = 'table'")))
        rows = str([(await session.execute(text(f"SELECT * FROM {name}"))).all() for name in names])  # noqa: S608
    for secret in (KEY, "z" * 30):
        assert secret not in rows + caplog.text + "".join(said)


async def test_mistakes_are_said_in_words(world: World, pushover: PushoverServer) -> None:
    assert "A Pushover key has 30 letters and digits." in await _set(world, "pushover-key", key="short")
    assert "There is no Pushover key yet." in await _set(world, "pushover-test")
    assert "Pushes are off already." in await _set(world, "pushover-disable")
    assert "There is no event nothing-else." in await _set(world, "pushover-notify-on", events="nothing-else")
    await pushover.go_down()
    assert "Pushover cannot be reached." in await _set(world, "pushover-key", key=KEY)


async def test_options_complete_themselves(world: World) -> None:
    async def offered(command: str, option: str, typed: str) -> list[str]:
        found = await world.alice.autocomplete(world.lobby, f"settings {command}", option, typed)
        return [choice["value"] for choice in found]

    assert "error, intervention" in await offered("pushover-notify-on", "events", "error")
    assert await offered("pushover-priority", "sound", "sir") == ["siren"]
    assert "Europe/Berlin" in await offered("timezone", "timezone", "berl")


async def test_the_timezone_counts_for_the_next_schedule(world: World) -> None:
    assert "Europe/Berlin" in await _set(world, "timezone", timezone="Europe/Berlin")
    await world.make()
    await world.alice.slash(world.lobby, "task-schedule", task="ticket-checker", when="0 9 * * *")
    task = await world.core.tasks.find(_alice(world), "ticket-checker")
    assert task.schedule_timezone == "Europe/Berlin"


async def test_the_thread_says_who_acknowledged_and_what_could_not_be_pushed(
    world: World, pushover: PushoverServer, client: Pushover
) -> None:
    await _set(world, "pushover-key", key=KEY)
    await _set(world, "pushover-priority", level=2)
    loop = PushingLoop(world.core, client)
    await _fails(world)
    await loop.send_pending()
    pushover.acknowledge(pushover.messages[0].receipt)
    await loop.follow_receipts()
    await world.deliver()
    latest = world.thread("ticket-checker").history()[-1]
    assert latest.embeds[0].title == "✓ Acknowledged"
    assert latest.embeds[0].description.startswith(f"Acknowledged by <@{world.alice.id}> on iphone, <t:")
    pushover.users[KEY] = []
    await _fails(world)
    await loop.send_pending()
    await world.deliver()
    latest = world.thread("ticket-checker").history()[-1]
    assert latest.embeds[0].title == "✕ Not pushed"
    assert "The phone was not told of the failure. Pushover knows no active user" in latest.embeds[0].description
    assert latest.mentions == []


async def test_the_thread_says_what_waits_while_pushover_refuses_us(
    world: World, pushover: PushoverServer, client: Pushover
) -> None:
    await _set(world, "pushover-key", key=KEY)
    pushover.spend_quota()
    loop = PushingLoop(world.core, client)
    await _fails(world)
    for _ in range(2):
        await loop.send_pending()
    await world.deliver()
    latest = world.thread("ticket-checker").history()[-1]
    assert latest.embeds[0].title == "✋ Not pushed yet"
    assert "Pushover's messages of this month are used up." in latest.embeds[0].description
    assert latest.mentions == []
    later = push.news({"event": "error", "state": "late"})
    assert later.body == "The phone was told of the failure later, when Pushover took messages again."


async def _fails(world: World) -> None:
    if "ticket-checker" not in await world.core.tasks.names(_alice(world), ""):
        await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    await world.end(claim, Outcome(RunStatus.FAILED, Reason.BLOCKED))
    await world.core.claims.removed(claim)
    await world.deliver()


def _alice(world: World) -> Any:
    from ccdtasks.core.access import Actor

    return Actor(str(world.alice.id), "discord")
