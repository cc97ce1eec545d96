"""The pushing loop against a Pushover on loopback: outages, refusals, emergencies, restarts; time is moved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text

from ccdtasks.adapters.pushover import Pushover
from ccdtasks.config import Config, DiscordConfig, PushoverConfig
from ccdtasks.core import Core
from ccdtasks.core.ending.interventions import Answer
from ccdtasks.core.phone.pushes import PushDraft
from ccdtasks.core.runs.claims import Claim
from ccdtasks.db.enums import Reason
from ccdtasks.db.models import PushoverNotification
from ccdtasks.engine.pushing import PushingLoop, pause_after
from ccdtasks.events import PushPending
from tests.clock import MoveableClock
from tests.doubles.pushover_server import KEY, TOKEN, PushoverServer
from tests.people import ANN, BOB
from tests.stories import all_messages, fail, lines, running

BOBS_KEY = "gznej3rKEVAvPUxu9vvNnqpmZpokzF"
CAPTCHA = {"type": "human_needed", "request_id": "h1", "reason": "captcha", "detail": "kayak.com asks for a captcha."}


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
async def server(clock: MoveableClock) -> AsyncIterator[PushoverServer]:
    async with PushoverServer(clock) as pushover:
        pushover.add_user(KEY, "iphone")
        pushover.add_user(BOBS_KEY, "pixel")
        yield pushover


@pytest.fixture
def config(config: Config, server: PushoverServer) -> Config:
    table = PushoverConfig(token=SecretStr(TOKEN), api_url=server.config["api_url"])
    return config.model_copy(update={"pushover": table, "discord": DiscordConfig(guild_id=77)})


@dataclass
class Phone:
    """Ann's phone: a loop that is started anew at will, and what came through."""

    core: Core
    server: PushoverServer
    clock: MoveableClock
    clients: list[Pushover] = field(default_factory=list)

    def loop(self, timeout_s: float = 5.0) -> PushingLoop:
        """A loop as after a restart."""
        self.clients.append(Pushover(TOKEN, self.server.config["api_url"], timeout_s))
        return PushingLoop(self.core, self.clients[-1])

    async def settle(self, loop: PushingLoop) -> None:
        """Until nothing more may be sent now."""
        while await loop.send_pending():
            pass
        await loop.follow_receipts()

    async def say(self, text: str, **more: Any) -> PushoverNotification:
        self.clock.advance(seconds=1)
        return await self.core.pushes.send(ANN, PushDraft(text, **more))

    @property
    def texts(self) -> list[str]:
        return [message.message for message in self.server.messages]

    async def row(self, text: str) -> PushoverNotification:
        async with self.core.db.read() as session:
            query = select(PushoverNotification).where(PushoverNotification.message.contains(text))
            return (await session.scalars(query)).one()


@pytest.fixture
async def phone(core: Core, server: PushoverServer, clock: MoveableClock) -> AsyncIterator[Phone]:
    made = Phone(core, server, clock)
    checker = Pushover(TOKEN, server.config["api_url"])
    await core.settings.set_key(ANN, KEY, checker.validate)
    await core.settings.set_key(BOB, BOBS_KEY, checker.validate)
    await checker.close()
    yield made
    for client in made.clients:
        await client.close()


async def _needs_ann(core: Core) -> Claim:
    claimed = await running(core)
    await core.claims.record(claimed, lines(CAPTCHA), 1)
    return claimed


async def _notes(core: Core) -> list[dict[str, Any]]:
    """What the threads say about pushes."""
    return [row.payload for row in await all_messages(core) if row.payload.get("about") == "push"]


async def test_a_failed_run_reaches_the_phone_with_a_link_to_its_thread(phone: Phone) -> None:
    claimed = await running(phone.core)
    await phone.core.runs.set_thread(claimed.run_id, "1", "42", "Run", "running")
    await fail(phone.core, claimed, Reason.BLOCKED)
    at = phone.clock.now()
    phone.clock.advance(minutes=3)
    await phone.settle(phone.loop())
    (message,) = phone.server.messages
    assert (message.user, message.title, message.priority) == (KEY, "? ticket-checker: refused as a robot", 0)
    assert (message.url, message.url_title) == ("https://discord.com/channels/77/42", "View in Discord")
    assert message.at == at, "the phone shows when it happened, not when it was sent"
    row = await phone.row("ticket-checker")
    assert (row.success, row.sent_at) == (True, phone.clock.now())
    phone.server.assert_clean()


async def test_pushes_of_one_person_keep_their_order_and_hold_back_nobody_else(phone: Phone) -> None:
    await phone.say("one")
    await phone.say("two")
    phone.server.break_down("messages.json")
    loop = phone.loop()
    await phone.settle(loop)
    assert phone.texts == []
    phone.clock.advance(seconds=5)  # Pushover may be asked again, but not yet for the one that it refused
    await phone.core.pushes.send(BOB, PushDraft("bob"))
    await phone.settle(loop)
    assert phone.texts[0] == "bob"
    phone.clock.advance(seconds=2)
    await phone.settle(loop)
    assert [text for text in phone.texts if text != "bob"] == ["one", "two"]
    phone.server.assert_clean()


async def test_an_outage_is_waited_out_with_growing_pauses(phone: Phone) -> None:
    await phone.say("fire")
    await phone.server.go_down()
    loop = phone.loop()
    for _ in range(120):
        await phone.settle(loop)
        phone.clock.advance(seconds=5)
    assert (await phone.row("fire")).attempts < 10
    await phone.server.come_back()
    phone.clock.advance(minutes=7)
    await phone.settle(loop)
    assert phone.texts == ["fire"]
    assert (await phone.row("fire")).last_error is None, "it was never on its way before"
    phone.server.assert_clean()


async def test_a_clock_that_is_set_back_keeps_no_call_from_the_phone(phone: Phone) -> None:
    await phone.say("fire")
    await phone.server.go_down()
    loop = phone.loop()
    await phone.settle(loop)
    phone.clock.set(phone.clock.now() - timedelta(days=1))
    await phone.server.come_back()
    phone.clock.advance(seconds=10)
    await phone.settle(loop)
    assert phone.texts == ["fire"]


async def test_what_nobody_takes_for_a_day_is_given_up_and_said(phone: Phone) -> None:
    claimed = await _needs_ann(phone.core)
    await phone.server.go_down()
    loop = phone.loop()
    await phone.settle(loop)
    phone.clock.advance(hours=25)
    await phone.settle(loop)
    row = await phone.row("captcha")
    assert (row.success, row.task_run_id) == (False, claimed.run_id)
    assert row.last_error == "It was tried for a day. Pushover cannot be reached."
    (note,) = await _notes(phone.core)
    assert (note["state"], note["text"]) == ("failed", row.last_error)


@pytest.mark.parametrize("fault", ["never_answer", "drop_after_acceptance"])
async def test_what_may_have_arrived_is_sent_again_and_says_so(phone: Phone, fault: str) -> None:
    getattr(phone.server, fault)()
    await phone.say("fire")
    await phone.settle(phone.loop(timeout_s=0.3) if fault == "never_answer" else phone.loop())
    assert (await phone.row("fire")).success is None
    phone.clock.advance(seconds=7)
    await phone.settle(phone.loop())
    assert phone.texts == ["fire"] * (2 if fault == "drop_after_acceptance" else 1)
    assert (await phone.row("fire")).last_error == "perhaps sent twice: the first time nobody answered"
    phone.server.assert_clean()


async def test_a_database_that_takes_no_note_for_a_while_gives_up_nothing(phone: Phone) -> None:
    await phone.say("fire")
    full = (
        "CREATE TRIGGER full BEFORE UPDATE ON pushover_notifications WHEN NEW.success = 1"
        " BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
    )
    async with phone.core.db.write() as session:
        await session.execute(text(full))
    loop = phone.loop()
    await phone.settle(loop)
    assert (await phone.row("fire")).success is None, "it was called failed, though the phone rang"
    async with phone.core.db.write() as session:
        await session.execute(text("DROP TRIGGER full"))
    phone.clock.advance(seconds=10)
    await phone.settle(loop)
    row = await phone.row("fire")
    assert (row.success, row.last_error) == (True, "perhaps sent twice: the first time nobody answered")


async def test_what_a_run_asks_or_ends_with_rings_at_once(phone: Phone) -> None:
    claimed = await running(phone.core)
    with phone.core.bus.bell(PushPending) as bell:
        await phone.core.claims.record(claimed, lines(CAPTCHA), 1)
        assert bell.is_set()
        bell.clear()
        await phone.core.interventions.answer(ANN, str(claimed.run_id), Answer("done"))
        assert bell.is_set(), "what rings is silenced at once"
        bell.clear()
        await fail(phone.core, claimed, Reason.BLOCKED)
        assert bell.is_set()


async def test_of_a_repeated_emergency_only_one_rings(phone: Phone) -> None:
    phone.server.drop_after_acceptance()
    await phone.say("fire", priority=2)
    loop = phone.loop()
    await phone.settle(loop)
    phone.clock.advance(seconds=7)
    await phone.settle(loop)
    assert [state.is_cancelled for state in phone.server.receipts.values()] == [True, False]
    phone.server.assert_clean()


async def test_a_restart_between_asking_and_knowing_is_a_repeat(phone: Phone) -> None:
    held = phone.server.be_slow()
    await phone.say("fire")
    dying = asyncio.create_task(phone.settle(phone.loop()))
    await phone.server.until(lambda: len(phone.server.requests) > 2)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    held.set()
    phone.clock.advance(seconds=1)
    asked = len(phone.server.requests)
    await phone.settle(phone.loop())
    assert len(phone.server.requests) == asked, "Pushover wants five seconds between two tries"
    phone.clock.advance(seconds=6)
    await phone.settle(phone.loop())
    assert phone.texts[-1] == "fire"
    row = await phone.row("fire")
    assert (row.success, row.last_error) == (True, "perhaps sent twice: the first time nobody answered")


async def test_what_was_sent_is_not_sent_again_after_a_restart(phone: Phone) -> None:
    await phone.say("fire")
    await phone.settle(phone.loop())
    await phone.settle(phone.loop())
    assert phone.texts == ["fire"]


async def test_a_refused_key_is_given_up_at_once_and_used_no_more(phone: Phone) -> None:
    claimed = await _needs_ann(phone.core)
    phone.server.users[KEY] = []
    await phone.settle(phone.loop())
    row = await phone.row("captcha")
    assert (row.success, row.attempts, row.task_run_id) == (False, 1, claimed.run_id)
    assert (await phone.core.settings.show(ANN)).refused
    (note,) = await _notes(phone.core)
    assert "no active user" in note["text"]
    await fail(phone.core, await running(phone.core, "other"), Reason.BLOCKED)
    await phone.settle(phone.loop())
    assert sum(path == "messages.json" for _, path in phone.server.requests) == 1
    phone.server.users[KEY] = ["iphone"]
    checker = Pushover(TOKEN, phone.server.config["api_url"])
    await phone.core.settings.set_key(ANN, KEY, checker.validate)
    await checker.close()
    assert not (await phone.core.settings.show(ANN)).refused


@pytest.mark.parametrize(("trouble", "words"), [("token", "refuses the token"), ("quota", "used up")])
async def test_what_falls_into_a_refusal_waits_and_is_pushed_when_that_is_over(
    phone: Phone, trouble: str, words: str
) -> None:
    """A captcha must not be missed because a token was wrong or a month spent for an hour."""
    if trouble == "token":
        phone.server.token = "another"
    else:
        phone.server.spend_quota()
    claimed = await _needs_ann(phone.core)
    for number in range(5):
        await phone.say(f"push {number}")
    loop = phone.loop()
    for _ in range(25):
        await phone.settle(loop)
        phone.clock.advance(minutes=2)
    assert sum(path == "messages.json" for _, path in phone.server.requests) == 1, "it is not hammered"
    row = await phone.row("captcha")
    assert row.success is None
    assert words in (row.last_error or "")
    assert words in ((await phone.row("push 4")).last_error or "")
    (note,) = await _notes(phone.core)
    assert (note["state"], note["event"]) == ("held", "intervention")
    alerts = [each for each in await all_messages(phone.core) if each.key.startswith("alert:pushover:")]
    assert [words in each.payload["text"] for each in alerts] == [True], "an admin hears of it once"
    phone.server.token = TOKEN
    phone.server.limit += 1000
    phone.clock.advance(minutes=15)
    await phone.settle(loop)
    assert phone.texts == [row.message, *(f"push {number}" for number in range(5))]
    (note,) = await _notes(phone.core)
    assert note["state"] == "late"
    assert (await phone.core.runs.load(claimed.run_id)).run.required_intervention
    phone.server.assert_clean()


async def test_what_was_solved_meanwhile_is_not_pushed_after_a_refusal(phone: Phone) -> None:
    phone.server.token = "another"
    claimed = await _needs_ann(phone.core)
    loop = phone.loop()
    await phone.settle(loop)
    await phone.core.interventions.answer(ANN, str(claimed.run_id), Answer("done"))
    phone.server.token = TOKEN
    phone.clock.advance(hours=2)
    await phone.settle(loop)
    assert phone.texts == []
    phone.server.assert_clean()


async def test_a_refusal_that_lasts_for_a_day_gives_up_what_waits_and_says_so(phone: Phone) -> None:
    phone.server.spend_quota()
    await _needs_ann(phone.core)
    loop = phone.loop()
    for _ in range(26):
        await phone.settle(loop)
        phone.clock.advance(hours=1)
    row = await phone.row("captcha")
    assert (row.success, row.attempts) == (False, 1)
    assert row.last_error == "It was tried for a day. Pushover's messages of this month are used up."
    (note,) = await _notes(phone.core)
    assert note["state"] == "failed"
    phone.server.assert_clean()


async def test_a_test_does_not_wait_for_the_end_of_a_refusal(phone: Phone) -> None:
    """Who asks whether pushes arrive hears at once that none does, and no test comes hours later."""
    phone.server.token = "another"
    task = asyncio.create_task(phone.loop().run())
    for _ in range(2):
        row = await phone.core.pushes.test(ANN, within_s=20)
        assert (row.success, row.last_error) == (False, "Pushover refuses the token of this application.")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    phone.server.assert_clean()


async def test_an_unknown_sound_is_left_out(phone: Phone) -> None:
    await phone.say("fire", sound="mooing")
    await phone.settle(phone.loop())
    (message,) = phone.server.messages
    assert message.sound is None


async def test_an_emergency_is_followed_until_somebody_confirms_it(phone: Phone) -> None:
    await phone.core.settings.set_priority(ANN, 2, retry_s=30, expire_s=600)
    await fail(phone.core, await running(phone.core), Reason.BLOCKED)
    loop = phone.loop()
    await phone.settle(loop)
    for _ in range(20):
        await phone.settle(loop)
        phone.clock.advance(seconds=2)
    phone.server.acknowledge(phone.server.messages[0].receipt)
    at = phone.clock.now()
    phone.clock.advance(seconds=11)
    await phone.settle(loop)
    row = await phone.row("ticket-checker")
    assert (row.receipt_state, row.acknowledged_by, row.acknowledged_at) == ("acknowledged", ANN.user_id, at)
    (note,) = await _notes(phone.core)
    assert (note["state"], note["by"], note["device"]) == ("acknowledged", ANN.user_id, "iphone")
    asked = len(phone.server.requests)
    phone.clock.advance(minutes=5)
    await phone.settle(phone.loop())
    assert len(phone.server.requests) == asked
    phone.server.assert_clean()


async def test_somebody_else_of_a_group_is_someone(phone: Phone) -> None:
    row = await phone.say("fire", priority=2)
    loop = phone.loop()
    await phone.settle(loop)
    phone.server.acknowledge(phone.server.messages[0].receipt, by="z" * 30)
    phone.clock.advance(seconds=11)
    await phone.settle(loop)
    found = await phone.core.pushes.find(ANN, row.id)
    assert found.acknowledged_by == "someone"


async def test_an_emergency_that_nobody_confirms_expires_even_without_pushover(phone: Phone) -> None:
    await phone.core.settings.set_priority(ANN, 2, expire_s=600)
    await fail(phone.core, await running(phone.core), Reason.BLOCKED)
    loop = phone.loop()
    await phone.settle(loop)
    await phone.server.go_down()
    phone.clock.advance(minutes=16)
    await phone.settle(loop)
    (note,) = await _notes(phone.core)
    assert (note["state"], note["minutes"]) == ("expired", 10)


async def test_an_answered_call_rings_no_more(phone: Phone) -> None:
    await phone.core.settings.set_priority(ANN, 2)
    claimed = await _needs_ann(phone.core)
    loop = phone.loop()
    await phone.settle(loop)
    await phone.core.interventions.answer(ANN, str(claimed.run_id), Answer("done"))
    await phone.settle(loop)
    (state,) = phone.server.receipts.values()
    assert state.is_cancelled
    assert (await phone.row("captcha")).receipt_state == "cancelled"
    assert await _notes(phone.core) == []
    phone.server.assert_clean()


async def test_a_call_that_is_answered_while_it_is_sent_is_silenced(phone: Phone) -> None:
    await phone.core.settings.set_priority(ANN, 2)
    claimed = await _needs_ann(phone.core)
    held = phone.server.be_slow()
    loop = phone.loop()
    sending = asyncio.create_task(phone.settle(loop))
    await phone.server.until(lambda: ("POST", "messages.json") in phone.server.requests)
    await phone.core.interventions.answer(ANN, str(claimed.run_id), Answer("done"))
    held.set()
    await sending
    (state,) = phone.server.receipts.values()
    assert state.is_cancelled


async def test_a_call_that_is_settled_first_is_never_sent(phone: Phone) -> None:
    claimed = await _needs_ann(phone.core)
    await phone.core.interventions.answer(ANN, str(claimed.run_id), Answer("done"))
    await phone.settle(phone.loop())
    assert phone.texts == []


async def test_switching_off_silences_everything(phone: Phone) -> None:
    await phone.say("rings", priority=2)
    loop = phone.loop()
    await phone.settle(loop)
    await phone.say("waits")
    await phone.core.settings.disable(ANN)
    await phone.settle(loop)
    assert phone.texts == ["rings"]
    assert all(state.is_cancelled for state in phone.server.receipts.values())


async def test_a_test_tells_what_came_of_it(phone: Phone) -> None:
    task = asyncio.create_task(phone.loop().run())
    row = await phone.core.pushes.test(ANN, within_s=20)
    assert row.success is True
    assert "Nothing is wrong." in phone.texts[0]
    phone.server.users[KEY] = []
    row = await phone.core.pushes.test(ANN, within_s=20)
    assert (row.success, row.last_error) == (False, "Pushover knows no active user of that key.")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_quota_is_kept_and_its_end_is_told_once(phone: Phone) -> None:
    await phone.say("one")
    loop = phone.loop()
    await phone.settle(loop)
    left = await phone.core.push_queue.quota()
    assert left is not None
    assert (left.limit, left.remaining, left.is_nearly_spent) == (10_000, 9_999, False)
    phone.server.sent_before = 9_700
    for said in ("two", "three"):
        await phone.say(said)
        await phone.settle(loop)
    alerts = [row for row in await all_messages(phone.core) if row.key.startswith("alert:pushover_quota")]
    assert [row.payload["text"] for row in alerts] == [
        "Pushover's messages are nearly used up: 298 of 10,000 are left this month."
    ]
    phone.clock.advance(days=40)
    assert await phone.core.push_queue.quota() is None


async def test_a_lost_key_file_is_said(phone: Phone) -> None:
    row = await phone.say("fire")
    object.__setattr__(phone.core.vault, "_path", phone.core.vault._path.with_name("other.key"))
    for name in ("_key", "_fernet"):
        phone.core.vault.__dict__.pop(name, None)
    await phone.settle(phone.loop())
    found = await phone.core.pushes.find(ANN, row.id)
    assert found.success is False
    assert "encrypted with another key" in (found.last_error or "")


def test_pauses_grow_and_are_never_too_short() -> None:
    assert 5 <= pause_after(0) <= 6.25
    assert 300 <= pause_after(1000) <= 375
