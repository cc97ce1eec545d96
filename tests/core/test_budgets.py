"""Money over time: warned at 80 %, refused at 100 %, by the day of a task and the month of a person."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ccdtasks.app import open_core
from ccdtasks.config import Config
from ccdtasks.core import Core
from ccdtasks.core.access import SYSTEM
from ccdtasks.core.runs.claims import Claim
from ccdtasks.db.enums import Reason, RunStatus, Trigger
from ccdtasks.errors import LimitReached
from tests.clock import MoveableClock
from tests.people import ANN, BOB
from tests.stories import BOOT, all_messages, claim, complete, make_task, queue, running, told


@pytest.fixture
async def core(config: Config, clock: MoveableClock) -> AsyncIterator[Core]:
    """Everybody may spend 10 dollars a month."""
    limits = config.limits.model_copy(update={"budget_usd_per_user_month": Decimal(10)})
    async with open_core(config.model_copy(update={"limits": limits}), clock) as opened:
        yield opened


async def _spend(core: Core, claimed: Claim, usd: str) -> None:
    await core.claims.meter(claimed, {"claude-sonnet-5": {"input": 1}}, Decimal(usd))


async def _warnings(core: Core, *of: str) -> list[str]:
    kinds = tuple(f"budget:{each}" for each in of or ("day", "month"))
    return [row.payload["text"] for row in await all_messages(core) if row.key.startswith(kinds)]


async def test_a_day_is_warned_of_once_and_then_refused(core: Core, clock: MoveableClock) -> None:
    claimed = await running(core, budget_usd_per_day="2.00")
    await _spend(core, claimed, "1.59")
    assert await _warnings(core) == []
    for usd in ("1.60", "1.70", "1.80"):
        await _spend(core, claimed, usd)
    assert await _warnings(core) == ["Today's budget of this task is 80 % used: $1.60 of $2.00."]
    await _spend(core, claimed, "2.01")
    await _spend(core, claimed, "2.02")
    assert (await _warnings(core))[1:] == ["Today's budget of this task of $2.00 is used up ($2.01 spent)."]
    with pytest.raises(LimitReached) as refused:
        await core.runs.start(ANN, "ticket-checker")
    assert refused.value.message == "Today's budget of this task of $2.00 is used up ($2.02 spent)."
    assert refused.value.hint == "wait until tomorrow, or raise it: `/task-edit ticket-checker budget_per_day 4`"
    assert refused.value.retry_after_s == 8.5 * 3600
    await complete(core, claimed)
    assert len((await core.runs.page(ANN)).rows) == 1  # the refused start left nothing
    clock.set(datetime(2026, 1, 18, 0, 0, tzinfo=UTC))
    await core.runs.start(ANN, "ticket-checker")


async def test_a_run_is_warned_of_its_own_budget_once(core: Core) -> None:
    claimed = await running(core, budget_usd="1.00")
    for usd in ("0.79", "0.80", "0.85", "0.85"):
        await _spend(core, claimed, usd)
    assert await _warnings(core, "run") == ["This run's budget is 80 % used: $0.80 of $1.00."]
    assert "budget:run:80" in await told(core, claimed.run_id)
    at_once = await running(core, "other", budget_usd="1.00")
    await _spend(core, at_once, "1.20")  # the gateway ends it, and that is told
    assert len(await _warnings(core, "run")) == 1


async def test_a_day_is_the_tasks_own(core: Core, clock: MoveableClock) -> None:
    """In Los Angeles it is still the 17th at 07:59 UTC of the 18th."""
    task = await make_task(core, budget_usd_per_day="1")
    async with core.db.write() as session:
        row = await session.get_one(type(task), task.id)
        row.schedule_timezone = "America/Los_Angeles"
    await _spend(core, await running(core), "1")
    clock.set(datetime(2026, 1, 18, 7, 59, tzinfo=UTC))
    with pytest.raises(LimitReached):
        await core.runs.start(ANN, "ticket-checker")
    clock.set(datetime(2026, 1, 18, 8, 0, tzinfo=UTC))
    await core.runs.start(ANN, "ticket-checker")


async def test_a_month_is_one_persons_over_all_tasks(core: Core, clock: MoveableClock) -> None:
    one, two = await running(core, "one"), await running(core, "two")
    await _spend(core, one, "6")
    await _spend(core, two, "4.5")
    assert await _warnings(core) == ["This month's budget of $10.00 is used up ($10.50 spent)."]
    with pytest.raises(LimitReached, match=r"This month's budget of \$10.00 is used up") as refused:
        await core.runs.start(ANN, "one")
    assert "1 February" in refused.value.hint
    await queue(core, "bobs", actor=BOB)
    clock.set(datetime(2026, 2, 1, tzinfo=UTC))
    await core.runs.start(ANN, "one")


async def test_two_runs_that_spend_at_once_warn_once(core: Core) -> None:
    claims = [await running(core, f"task-{number}") for number in range(5)]
    await asyncio.gather(*(_spend(core, each, "1.7") for each in claims))
    assert len(await _warnings(core)) == 1
    await asyncio.gather(*(_spend(core, each, "2.1") for each in claims))
    assert len(await _warnings(core)) == 2


async def test_a_budget_that_is_raised_is_warned_of_anew(core: Core) -> None:
    claimed = await running(core, budget_usd_per_day="2.00")
    await _spend(core, claimed, "2.01")
    await core.tasks.edit(ANN, "ticket-checker", {"budget_per_day": "10"})
    assert (await core.budgets.of(claimed.run_id))[0].limit_usd == 10
    await _spend(core, claimed, "8.50")
    assert "Today's budget of this task is 85 % used: $8.50 of $10.00." in await _warnings(core)


async def test_what_was_queued_before_is_recorded_as_failed(core: Core, clock: MoveableClock) -> None:
    """Scheduled runs and those that waited: no session, one reason, and nobody is called for each of them."""
    claimed = await running(core, budget_usd_per_day="2.00")
    waiting = [await core.runs.start(SYSTEM, "ticket-checker", trigger=Trigger.SCHEDULED) for _ in range(3)]
    other = await queue(core, "bobs", actor=BOB)
    await _spend(core, claimed, "2")
    await complete(core, claimed)
    assert (await claim(core)).run_id == other.run.id
    assert await core.claims.claim_next(clock.now(), BOOT, 10) is None
    for started in waiting:
        run = (await core.runs.load(started.run.id)).run
        assert (run.status, run.reason, run.started_at) == (RunStatus.FAILED, Reason.BUDGET, None)
        assert run.error_message == "Today's budget of this task of $2.00 is used up ($2.00 spent)."
        payload = (await told(core, run.id))["result"]
        assert payload["ping"] is False
        assert "retry_at" not in payload


async def test_a_spent_month_pauses_no_schedule(core: Core, clock: MoveableClock) -> None:
    """Five scheduled runs in a row that could not start for want of money are no sign of a broken task."""
    claimed = await running(core, budget_usd_per_day="2.00")
    await core.schedules.set(ANN, "ticket-checker", "@hourly")
    for _ in range(6):
        await core.runs.start(SYSTEM, "ticket-checker", trigger=Trigger.SCHEDULED)
    await _spend(core, claimed, "2")
    await complete(core, claimed)
    assert await core.claims.claim_next(clock.now(), BOOT, 10) is None
    task = await core.tasks.find(ANN, "ticket-checker")
    assert (task.failure_count, task.schedule_failures, task.paused) == (6, 0, False)


async def test_a_task_without_a_budget_knows_none(core: Core) -> None:
    claimed = await running(core)
    (month,) = await core.budgets.of(claimed.run_id)
    assert (month.limit_usd, month.spent_usd, month.reached) == (Decimal(10), Decimal(0), 0)
