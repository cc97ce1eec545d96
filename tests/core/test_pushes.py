"""Which pushes are written, in the transaction of what they tell of; and what people send themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from ccdtasks.config import Config, PushoverConfig
from ccdtasks.core import Core
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.ending.interventions import Answer
from ccdtasks.core.phone.pushes import PushDraft
from ccdtasks.core.runs.claims import Claim
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.db.models import PushoverNotification, Task
from ccdtasks.errors import Conflict, Denied, Invalid, NotFound
from tests.people import ADMIN, ANN, BOB
from tests.stories import complete, fail, lines, running

KEY, BOBS_KEY = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG", "gznej3rKEVAvPUxu9vvNnqpmZpokzF"
CAPTCHA = {"type": "human_needed", "request_id": "h1", "reason": "captcha", "detail": "kayak.com asks for a captcha."}
HELLO = PushDraft("Hello")


@pytest.fixture
def config(config: Config) -> Config:
    return config.model_copy(update={"pushover": PushoverConfig(token=SecretStr("t" * 30))})


async def known(_key: str) -> Sequence[str]:
    return ("iphone",)


@pytest.fixture
async def core(core: Core) -> Core:
    await core.settings.set_key(ANN, KEY, known)
    return core


async def pushes(core: Core) -> list[PushoverNotification]:
    async with core.db.read() as session:
        query = select(PushoverNotification).order_by(PushoverNotification.created_at, PushoverNotification.key)
        return list(await session.scalars(query))


async def _switch(core: Core, claimed: Claim, **switches: bool) -> None:
    async with core.db.write() as session:
        task = await session.get_one(Task, claimed.task_id)
        for name, value in switches.items():
            setattr(task, name, value)


async def _ask(core: Core, claimed: Claim) -> None:
    await core.claims.record(claimed, lines(CAPTCHA), 1)


async def test_a_final_failure_is_pushed_and_an_earlier_one_is_not(core: Core) -> None:
    claimed = await running(core, retries={"attempts": 2, "backoff_s": 1, "cap_s": 1})
    await core.claims.finish(claimed, Outcome(RunStatus.FAILED, Reason.TIMEOUT, "kayak.com did not answer in 60 s."))
    await core.claims.removed(claimed)
    assert await pushes(core) == []
    core.clock.advance(minutes=5)  # type: ignore[attr-defined]
    again = await core.claims.claim_next(core.clock.now(), "boot", 10)
    assert again is not None
    await core.claims.running(again)
    await core.claims.finish(again, Outcome(RunStatus.FAILED, Reason.TIMEOUT, "kayak.com did not answer in 60 s."))
    (push,) = await pushes(core)
    assert (push.title, push.event, push.priority) == ("✕ ticket-checker: failed", "error", 0)
    assert push.message == (
        "Task: ticket-checker\nStatus: Failed after 2 attempts\nError: kayak.com did not answer in 60 s.\n"
        f"Try: a longer timeout may help: /task-edit ticket-checker timeout 3600\nRun: {again.run_id.hex[:8]}"
    )


async def test_a_call_for_a_person_is_pushed(core: Core) -> None:
    claimed = await running(core)
    await _ask(core, claimed)
    (push,) = await pushes(core)
    assert (push.title, push.event) == ("✋ ticket-checker: needs you", "intervention")
    assert "Asks: kayak.com asks for a captcha." in push.message
    assert "Status: Waits until 2026-01-17 17:30 UTC" in push.message


async def test_a_completion_is_pushed_only_if_wanted(core: Core) -> None:
    await complete(core, await running(core))
    assert await pushes(core) == []
    await core.settings.notify_on(ANN, "complete")
    await complete(core, await running(core))
    (push,) = await pushes(core)
    assert (push.title, push.message) == ("✓ ticket-checker: done", "Cheapest: $342 (United)")


async def test_a_completion_never_rings_until_confirmed(core: Core) -> None:
    await core.settings.notify_on(ANN, "all")
    await core.settings.set_priority(ANN, 2, retry_s=45)
    await complete(core, await running(core))
    await fail(core, await running(core), Reason.BLOCKED)
    by_event = {push.event: push for push in await pushes(core)}
    assert by_event["complete"].priority == 1
    assert (by_event["error"].priority, by_event["error"].retry_s, by_event["error"].expire_s) == (2, 45, 3600)
    assert by_event["error"].title == "? ticket-checker: refused as a robot"


@pytest.mark.parametrize("switch", ["pushover_enabled", "notify_on_error"])
async def test_a_task_that_is_switched_off_pushes_no_failure(core: Core, switch: str) -> None:
    claimed = await running(core)
    await _switch(core, claimed, **{switch: False})
    await fail(core, claimed, Reason.BLOCKED)
    assert await pushes(core) == []


async def test_a_task_whose_completions_are_switched_off_pushes_none(core: Core) -> None:
    await core.settings.notify_on(ANN, "all")
    claimed = await running(core)
    await _switch(core, claimed, notify_on_complete=False)
    await complete(core, claimed)
    assert await pushes(core) == []


async def test_who_has_no_key_or_chose_nothing_is_not_pushed(core: Core) -> None:
    await fail(core, await running(core, "bobs", actor=BOB), Reason.BLOCKED)
    await core.settings.notify_on(ANN, "none")
    await fail(core, await running(core), Reason.BLOCKED)
    assert await pushes(core) == []


@pytest.mark.parametrize("end", ["answered", "resolved", "stopped"])
async def test_what_is_settled_is_not_pushed_any_more(core: Core, end: str) -> None:
    claimed = await running(core)
    await _ask(core, claimed)
    if end == "answered":
        await core.interventions.answer(ANN, str(claimed.run_id), Answer("done"))
    elif end == "resolved":
        done: dict[str, Any] = {"type": "human_done", "request_id": "h1", "outcome": "left"}
        await core.claims.record(claimed, lines(done, first=9), 9)
    else:
        await core.claims.finish(claimed, Outcome(RunStatus.CANCELLED))
    (push,) = await pushes(core)
    assert push.withdrawn_at == core.clock.now()
    assert await core.push_queue.pending() == []


async def test_a_push_never_holds_the_key(core: Core) -> None:
    await fail(core, await running(core), Reason.BLOCKED)
    (push,) = await pushes(core)
    assert KEY not in str({column.name: getattr(push, column.name) for column in push.__table__.columns})
    (outgoing,) = await core.push_queue.pending()
    assert outgoing.sealed_key is not None
    assert core.vault.decrypt(outgoing.sealed_key) == KEY


async def test_hostile_text_fits_and_is_clean(core: Core) -> None:
    claimed = await running(core)
    evil = "\x00\u202e" + "💣" * 5000
    await core.claims.record(claimed, lines({**CAPTCHA, "detail": evil}), 1)
    (push,) = await pushes(core)
    assert len(push.message) <= 1024
    assert "\x00" not in push.message


async def test_people_send_to_themselves_and_admins_to_anybody(core: Core) -> None:
    row = await core.pushes.send(ANN, PushDraft("Hello", priority=1, url="https://example.com", url_title="Look"))
    assert (row.owner_user_id, row.title, row.message, row.priority) == (ANN.user_id, "ccdtasks", "Hello", 1)
    assert (await core.pushes.send(ANN, PushDraft("Mine", user_key=KEY))).owner_user_id == ANN.user_id
    assert (await core.pushes.send(ADMIN, PushDraft("Hi", user_key=KEY))).owner_user_id == ANN.user_id
    assert (await core.pushes.send(ADMIN, PushDraft("Hi", user_id=ANN.user_id))).owner_user_id == ANN.user_id
    await core.settings.set_key(BOB, BOBS_KEY, known)
    for draft in (PushDraft("x", user_id=ANN.user_id), PushDraft("x", user_key=KEY)):
        with pytest.raises(Denied):
            await core.pushes.send(BOB, draft)
    with pytest.raises(Invalid, match="Nobody here") as refusal:
        await core.pushes.send(ADMIN, PushDraft("x", user_key="q" * 30))
    assert "q" * 30 not in str(refusal.value)
    with pytest.raises(Conflict, match="no Pushover key"):
        await core.pushes.send(ADMIN, HELLO)
    assert (await core.pushes.find(ANN, row.id)).id == row.id
    with pytest.raises(NotFound):
        await core.pushes.find(BOB, row.id)


async def test_news_of_a_run_are_for_those_who_may_see_it(core: Core) -> None:
    claimed = await running(core)
    row = await core.pushes.send(ANN, replace(HELLO, run=str(claimed.run_id)))
    assert row.task_run_id == claimed.run_id
    assert [each.id for each in await core.pushes.of_run(claimed.run_id)] == [row.id]
    await core.settings.set_key(BOB, BOBS_KEY, known)
    with pytest.raises(Denied):
        await core.pushes.send(BOB, replace(HELLO, run=str(claimed.run_id)))
    with pytest.raises(NotFound):
        await core.pushes.send(ANN, replace(HELLO, run=str(uuid4())))


async def test_the_same_key_sends_once(core: Core) -> None:
    first = await core.pushes.send(ANN, replace(HELLO, key="nightly"))
    assert (await core.pushes.send(ANN, replace(HELLO, key="nightly"))).id == first.id
    with pytest.raises(Conflict, match="another notification"):
        await core.pushes.send(ANN, PushDraft("Other", key="nightly"))
    assert len(await pushes(core)) == 1


async def test_long_keys_that_begin_alike_are_two(core: Core) -> None:
    for night in ("17", "18"):
        await core.pushes.send(ANN, replace(HELLO, key=f"{'backup-of-the-box-in-the-cellar-' * 4}2026-01-{night}"))
    assert len(await pushes(core)) == 2


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        (PushDraft(" \x00 "), "message"),
        (PushDraft("x" * 1025), "message"),
        (PushDraft("x", title="t" * 251), "title"),
        (PushDraft("x", priority=3), "priority"),
        (PushDraft("x", url="ftp://x"), "url"),
        (PushDraft("x", url="https://" + "x" * 600), "url"),
        (PushDraft("x", url="https://x", url_title="t" * 101), "url_title"),
        (PushDraft("x", url_title="t"), "url_title"),
        (PushDraft("x", sound="!"), "sound"),
        (PushDraft("x", priority=2, retry_s=5), "retry"),
        (PushDraft("x", priority=2, expire_s=99_999), "expire"),
    ],
)
async def test_each_mistake_is_named(core: Core, draft: PushDraft, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await core.pushes.send(ANN, draft)
    assert refusal.value.field == field


async def test_a_test_that_nobody_sends_is_said_to_wait(core: Core) -> None:
    row = await core.pushes.test(ANN, within_s=0)
    assert (row.event, row.success) == ("test", None)
    with pytest.raises(Denied):
        await core.pushes.test(BOB, ANN.user_id, within_s=0)
