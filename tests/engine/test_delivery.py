"""The delivery loop over a real outbox; the courier stands where Discord's projection stands."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

import pytest
from sqlalchemy import select

from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.outbox import Delivered
from ccdtasks.core.runs.runs import RunView
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import Delivery, MessageType
from ccdtasks.db.models import DiscordMessage, TaskRun
from ccdtasks.engine.delivery import DeliveryLoop, backoff_s
from ccdtasks.errors import Invalid, LimitReached, Unavailable
from tests.clock import MoveableClock


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


class Courier:
    """Takes everything, except where `refuse` gives an error; remembers what it took, as `key` or `key again`."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.refuse: Callable[[DiscordMessage], Exception | None] = lambda message: None

    async def deliver(self, message: DiscordMessage, view: RunView | None) -> Delivered:
        error = self.refuse(message)
        if error is not None:
            raise error
        self.taken.append(f"{message.key} again" if message.message_id else message.key)
        return Delivered(message_id=f"id-{message.id}", channel_id="1", thread_id="2")


@pytest.fixture
def courier() -> Courier:
    return Courier()


async def _start(core: Core, name: str = "chore") -> TaskRun:
    await core.tasks.create(SHELL, TaskDraft(name, "Do it"))
    return (await core.runs.start(SHELL, name)).run


async def _say(core: Core, run: TaskRun | None, key: str) -> None:
    async with core.db.write() as session:
        row = await session.get_one(TaskRun, run.id) if run else None
        await core.messages.put(session, row, key, MessageType.NOTIFICATION, {"text": key})


async def _settle(loop: DeliveryLoop) -> None:
    """Sends until there is nothing that may be sent now."""
    while await loop.send_pending() == 0.0:
        pass


async def _row(core: Core, key: str) -> DiscordMessage:
    async with core.db.read() as session:
        return (await session.scalars(select(DiscordMessage).where(DiscordMessage.key == key))).one()


async def test_everything_is_said_in_order_and_once(core: Core, courier: Courier) -> None:
    run = await _start(core)
    await _say(core, run, "one")
    await _say(core, run, "two")
    loop = DeliveryLoop(core, courier)
    await _settle(loop)
    await _settle(loop)
    assert courier.taken == ["opening", "card", "one", "two"]
    row = await _row(core, "two")
    assert (row.state, row.message_id) == (Delivery.DELIVERED, f"id-{row.id}")


async def test_a_thread_waits_in_order_while_discord_is_away(
    core: Core, courier: Courier, clock: MoveableClock
) -> None:
    run, other = await _start(core), await _start(core, "other")
    courier.refuse = lambda message: Unavailable("discord", "away") if message.task_run_id == run.id else None
    loop = DeliveryLoop(core, courier)
    await _settle(loop)
    assert courier.taken == ["opening", "card"]
    assert (await core.runs.load(other.id)).run.id == other.id
    courier.refuse = lambda message: None
    await _settle(loop)
    assert courier.taken == ["opening", "card"], "it was tried again before its time"
    clock.advance(minutes=10)
    await _settle(loop)
    assert courier.taken == ["opening", "card", "opening", "card"]


async def test_a_rate_limit_is_waited_out(core: Core, courier: Courier, clock: MoveableClock) -> None:
    await _start(core)
    courier.refuse = lambda message: LimitReached("slow down", retry_after_s=40)
    loop = DeliveryLoop(core, courier)
    await _settle(loop)
    courier.refuse = lambda message: None
    clock.advance(seconds=39)
    await _settle(loop)
    assert courier.taken == []
    clock.advance(seconds=2)
    await _settle(loop)
    assert courier.taken == ["opening", "card"]


async def test_edits_of_one_message_are_folded_together(core: Core, courier: Courier) -> None:
    run = await _start(core)
    loop = DeliveryLoop(core, courier, edit_gap_s=3600)
    await _settle(loop)
    for _ in range(20):
        async with core.db.write() as session:
            await core.messages.touch(session, run.id, "card")
        await loop.send_pending()
    assert courier.taken == ["opening", "card"], "the card was edited within the gap"
    other = DeliveryLoop(core, courier, edit_gap_s=0)
    await _settle(other)
    assert courier.taken == ["opening", "card", "card again"]


async def test_an_edit_that_waits_holds_back_nothing_else(core: Core, courier: Courier) -> None:
    run = await _start(core)
    loop = DeliveryLoop(core, courier, edit_gap_s=3600)
    await _settle(loop)
    async with core.db.write() as session:
        await core.messages.touch(session, run.id, "card")
    await _say(core, run, "news")
    await loop.send_pending()
    assert courier.taken[-1] == "news"


async def test_what_discord_never_takes_is_said_plainly(core: Core, courier: Courier) -> None:
    run = await _start(core)
    await _say(core, run, "odd")
    courier.refuse = lambda message: Invalid("embeds", "An embed is too long.") if message.key == "odd" else None
    await _settle(DeliveryLoop(core, courier))
    row = await _row(core, "odd")
    assert (row.state, row.last_error) == (Delivery.FAILED, "An embed is too long.")
    assert courier.taken == ["opening", "card", "plain:odd"]
    assert "An embed is too long." in (await _row(core, "plain:odd")).payload["text"]


async def test_even_the_plain_word_may_be_refused(core: Core, courier: Courier) -> None:
    run = await _start(core)
    await _say(core, run, "odd")
    courier.refuse = lambda message: Invalid("content", "No.") if "odd" in message.key else None
    await _settle(DeliveryLoop(core, courier))
    assert (await _row(core, "plain:odd")).state is Delivery.FAILED


async def test_our_own_mistake_about_a_run_is_said_in_its_thread(
    core: Core, courier: Courier, clock: MoveableClock
) -> None:
    run = await _start(core)
    await _say(core, run, "broken")
    courier.refuse = lambda message: ZeroDivisionError() if message.key == "broken" else None
    loop = DeliveryLoop(core, courier)
    for _ in range(20):
        await _settle(loop)
        clock.advance(minutes=6)
    assert (await _row(core, "broken")).state is Delivery.FAILED
    assert courier.taken == ["opening", "card", "plain:broken"]


async def test_a_run_that_is_cleaned_up_while_it_is_told_of_stops_nothing(core: Core, courier: Courier) -> None:
    run = await _start(core)
    await _say(core, None, "fine")

    def clean_up(message: DiscordMessage) -> Exception | None:
        if message.task_run_id is None:
            return None
        assert core.db.path is not None
        with closing(sqlite3.connect(core.db.path, isolation_level=None)) as connection:
            connection.execute("DELETE FROM discord_messages WHERE task_run_id = ?", (run.id.hex,))
            connection.execute("DELETE FROM task_runs")
        return Invalid("embeds", "An embed is too long.")

    courier.refuse = clean_up
    await _settle(DeliveryLoop(core, courier))
    assert courier.taken == ["fine"]


async def test_our_own_mistake_stops_one_message_and_not_the_others(
    core: Core, courier: Courier, clock: MoveableClock
) -> None:
    await _say(core, None, "broken")
    await _say(core, None, "fine")
    courier.refuse = lambda message: ZeroDivisionError() if message.key == "broken" else None
    loop = DeliveryLoop(core, courier)
    for _ in range(20):
        await _settle(loop)
        clock.advance(minutes=10)
    assert courier.taken == ["fine"]
    assert (await _row(core, "broken")).state is Delivery.FAILED


@asynccontextmanager
async def _running(loop: DeliveryLoop) -> AsyncIterator[None]:
    task = asyncio.create_task(loop.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_bell_wakes_the_loop(core: Core, courier: Courier) -> None:
    loop = DeliveryLoop(core, courier, look_every_s=3600)
    async with _running(loop), asyncio.timeout(30):
        for number in range(1, 4):
            await _start(core, f"chore-{number}")
            while courier.taken.count("opening") < number:  # noqa: ASYNC110  it is taken by another task
                await asyncio.sleep(0.01)


def test_waiting_grows_and_has_an_end() -> None:
    assert 0.5 <= backoff_s(0) <= 1
    assert 150 <= backoff_s(1000) <= 300
