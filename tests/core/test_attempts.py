"""Another try that a person asks for: same thread, some values replaced, nothing twice."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from ccdtasks.app import open_core
from ccdtasks.config import Config
from ccdtasks.core import Core
from ccdtasks.core.access import Actor
from ccdtasks.db.enums import MessageType, Reason, RunStatus, Trigger
from ccdtasks.errors import Conflict, Denied, Invalid, LimitReached, NotFound
from tests.clock import MoveableClock
from tests.people import ADMIN, ANN, BOB
from tests.stories import all_messages, claim, complete, fail, make_task, queue, running, told


async def _failed(core: Core, name: str = "ticket-checker", reason: Reason = Reason.BLOCKED, **config: object) -> str:
    """The id of a failed run that is not tried again by itself."""
    claimed = await running(core, name, **config)
    await core.runs.set_thread(claimed.run_id, "100", "555", "Run", "running")
    await fail(core, claimed, reason)
    return str(claimed.run_id)


async def test_a_retry_goes_on_in_the_same_thread_with_the_same_values(core: Core) -> None:
    await make_task(core, prompt="From {origin} to {to=HNL}")
    started = await core.runs.start(ANN, "ticket-checker", "origin:SFO")
    claimed = await claim(core)
    await core.claims.running(claimed)
    await core.runs.set_thread(claimed.run_id, "100", "555", "Run", "running")
    await fail(core, claimed, Reason.BLOCKED)
    begun = await core.attempts.retry(ANN, started.run.id.hex[:8], "origin:LAX")
    run = (await core.runs.load(begun.run.id)).run
    assert (run.parameters, run.retry_of, run.attempt) == ({"origin": "LAX", "to": "HNL"}, started.run.id, 2)
    assert (run.status, run.trigger, run.started_by) == (RunStatus.QUEUED, Trigger.MANUAL, ANN.user_id)
    assert (run.discord_thread_id, run.not_before, begun.position) == ("555", None, 1)
    rows = {(row.task_run_id, row.key): row for row in await all_messages(core)}
    assert rows[run.id, "card"].message_type is MessageType.LIVE_CARD
    assert (run.id, "opening") not in rows
    opening = rows[started.run.id, "opening"]
    assert "ended" not in opening.payload  # the channel shows that it goes on
    assert rows[run.id, "card"].lane == opening.lane
    assert [entry.action for entry in await core.audit.entries("run", run.id)] == ["run.retry"]
    again = await claim(core)
    await core.claims.running(again)
    await complete(core, again)
    assert (await told(core, started.run.id))["opening"]["ended"] == "completed"


async def test_the_last_try_is_the_one_that_is_repeated(core: Core, clock: MoveableClock) -> None:
    first = await _failed(core, reason=Reason.BLOCKED)
    second = await core.attempts.retry(ANN, first)
    with pytest.raises(Conflict, match="is being tried again already"):
        await core.attempts.retry(ANN, first)
    await fail(core, await claim(core), Reason.BLOCKED)
    third = await core.attempts.retry(ANN, first)
    assert (third.run.attempt, str(third.run.retry_of)) == (3, first)
    claimed = await claim(core)
    await core.claims.running(claimed)
    ended = await fail(core, claimed, Reason.TIMEOUT)
    assert ended.retry_run_id is None  # three attempts in all, however they came about
    assert (await core.runs.load(claimed.run_id)).attempts == 3
    fourth = await core.attempts.retry(ANN, str(second.run.id))
    assert (await core.runs.load(fourth.run.id)).attempts == 4


async def test_many_presses_at_once_are_one_try(core: Core) -> None:
    run = await _failed(core)
    results = await asyncio.gather(*(core.attempts.retry(ANN, run) for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(each, Conflict) for each in results) == 5
    assert len((await core.runs.page(ANN)).rows) == 2


async def test_what_acted_asks_first(core: Core) -> None:
    run = await _failed(core, "buys", effect="acts")
    assert await core.attempts.is_risky(ANN, run)
    with pytest.raises(Conflict, match="buys, posts or submits, and this run had begun"):
        await core.attempts.retry(ANN, run)
    assert (await core.attempts.retry(ANN, run, confirm=True)).run.attempt == 2


async def test_what_acts_but_never_began_does_not_ask(core: Core) -> None:
    await queue(core, "buys", effect="acts")
    claimed = await claim(core)
    await fail(core, claimed, Reason.IMAGE_MISSING)
    assert not await core.attempts.is_risky(ANN, str(claimed.run_id))
    await core.attempts.retry(ANN, str(claimed.run_id))


async def test_what_cannot_be_tried_again(core: Core) -> None:
    done = await running(core)
    with pytest.raises(Conflict, match="This run has not ended yet"):
        await core.attempts.retry(ANN, str(done.run_id))
    await complete(core, done)
    with pytest.raises(Conflict, match="Only a failed run can be tried again; this one is completed"):
        await core.attempts.retry(ANN, str(done.run_id))
    run = await _failed(core, "other")
    with pytest.raises(Denied, match="can try this run again"):
        await core.attempts.retry(BOB, run)
    with pytest.raises(Invalid, match="no parameter `too`"):
        await core.attempts.retry(ANN, run, "too:OGG")
    with pytest.raises(NotFound):
        await core.attempts.retry(ANN, "ffffffff")
    await core.tasks.delete(ANN, "other")
    with pytest.raises(Conflict, match="other was deleted"):
        await core.attempts.retry(ADMIN, run)


async def test_a_retry_counts_among_the_starts_of_its_person(config: Config, clock: MoveableClock) -> None:
    limits = config.limits.model_copy(update={"starts_per_minute": 2, "budget_usd_per_user_month": Decimal(5)})
    async with open_core(config.model_copy(update={"limits": limits}), clock) as core:
        run = await _failed(core)
        other = await _failed(core, "other")
        with pytest.raises(LimitReached, match="2 runs within a minute"):
            await core.attempts.retry(ANN, run)
        admin = Actor("9001", "discord", is_admin=True)
        begun = await core.attempts.retry(admin, other)
        claimed = await claim(core)
        await core.claims.running(claimed)
        await core.claims.meter(claimed, {}, Decimal(5))
        assert begun.run.id == claimed.run_id
        clock.advance(minutes=1)
        with pytest.raises(LimitReached, match="This month's budget"):
            await core.attempts.retry(ANN, run)
