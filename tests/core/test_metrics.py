"""What runs add up to, by day and month, whatever way they end."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.records.counting import count_run
from ccdtasks.core.records.histogram import add_to, bar_of, percentile
from ccdtasks.core.records.sums import STEPS_KEPT
from ccdtasks.core.runs.claims import Claim
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.db.models import MetricRollup, RunValue, Task, TaskRun
from ccdtasks.errors import Denied, NotFound
from tests.clock import MoveableClock
from tests.people import ANN, BOB
from tests.stories import complete, completed, fail, lines, make_task, queue, running

TRAFFIC = {"pages_loaded": 12, "http_requests": 247, "bytes_received": 8_000_000, "bytes_sent": 300_000}
USAGE = {"claude-sonnet-5": {"input": 1000, "output": 200, "cache_read": 9000, "cache_write": 50, "requests": 3}}


async def _work(core: Core, claim: Claim, clock: MoveableClock, seconds: int = 120) -> None:
    """A session browses, asks the model and takes its time."""
    await core.claims.record(
        claim,
        lines(
            {"type": "step_started", "step": 1, "title": "Opening shop.example"},
            {"type": "step_finished", "step": 1, "ok": True, "duration_ms": 4000},
            {"type": "step_started", "step": 2, "title": "Clicking item 4711"},
            {"type": "step_finished", "step": 2, "ok": False, "duration_ms": 9000, "error": "no such thing"},
            {"type": "metrics", **TRAFFIC, "failed_requests": 2, "load_ms_total": 18_000},
        ),
        100,
    )
    await core.claims.meter(claim, USAGE, Decimal("0.25"))
    clock.advance(seconds=seconds)


async def _completed(core: Core, clock: MoveableClock, name: str = "ticket-checker", **options: Any) -> Claim:
    claim = await running(core, name, **options)
    await _work(core, claim, clock)
    await core.claims.record(
        claim,
        lines({"type": "result", "summary": "$342", "values": {"price": {"number": 342, "unit": "USD"}}}, first=9),
        200,
    )
    await core.claims.collecting(claim)
    await core.claims.finish(claim, completed())
    await core.claims.removed(claim)
    return claim


async def test_a_completed_run_is_counted_with_all_that_it_used(core: Core, clock: MoveableClock) -> None:
    claim = await _completed(core, clock)
    run = (await core.runs.load(claim.run_id)).run
    assert run.counted_at == clock.now()
    report = await core.metrics.of(ANN, "ticket-checker", "day")
    total = report.total
    assert (total.runs, total.completed, total.success_rate) == (1, 1, 1.0)
    assert (total.pages, total.requests, total.transferred_bytes) == (12, 247, 8_300_000)
    assert (total.page_load_ms, total.failed_requests, total.load_s) == (18_000, 2, 1.5)
    assert (total.input_tokens, total.output_tokens, total.cache_read_tokens) == (1000, 200, 9000)
    assert (total.tokens, total.api_calls, total.cost_usd) == (1250, 3, Decimal("0.25"))
    assert (total.duration_s, total.compute_s) == (120, 120)
    assert total.models == USAGE
    slowest, other = total.bottlenecks()
    assert (slowest.title, slowest.times, slowest.total_ms, slowest.failures) == ("Clicking item #", 1, 9000, 1)
    assert other.title == "Opening shop.example"
    assert [period.sums.runs for period in report.periods] == [0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.SESSION_CRASHED, Reason.LOST, Reason.BUDGET])
async def test_a_failed_run_is_counted_by_its_reason(core: Core, clock: MoveableClock, reason: Reason) -> None:
    claim = await running(core, retries={"attempts": 1})
    await _work(core, claim, clock)
    await fail(core, claim, reason)
    total = (await core.metrics.of(ANN, "ticket-checker", "week")).total
    assert (total.runs, total.failed, total.reasons, total.success_rate) == (1, 1, {reason.value: 1}, 0.0)
    assert (total.pages, total.tokens, total.compute_s) == (12, 1250, 120)
    assert total.percentile_s(0.5) is None  # how long a failure takes says nothing of how long the work does


async def test_a_killed_run_keeps_what_it_used_and_a_wish_taken_back_is_none(core: Core, clock: MoveableClock) -> None:
    claim = await running(core)
    await _work(core, claim, clock)
    await core.runs.stop(ANN, str(claim.run_id), force=True)
    await core.claims.finish(claim, Outcome(RunStatus.FAILED, Reason.SESSION_CRASHED))
    await core.claims.removed(claim)
    waiting = await queue(core)
    await core.runs.stop(ANN, str(waiting.run.id))
    total = (await core.metrics.of(ANN, "ticket-checker")).total
    assert (total.runs, total.cancelled, total.pages, total.success_rate) == (1, 1, 12, None)


async def test_what_all_sessions_of_a_run_used_is_summed(core: Core, clock: MoveableClock) -> None:
    first = await running(core)
    await _work(core, first, clock, 60)
    await core.claims.requeue(first, clock.now(), Reason.MODEL_UNAVAILABLE)
    await core.claims.removed(first)
    second = await core.claims.claim_next(clock.now(), "boot", 10)
    assert second is not None
    await core.claims.running(second)
    await _work(core, second, clock, 30)
    await complete(core, second)
    run = (await core.runs.load(second.run_id)).run
    assert (run.pages_loaded, run.http_requests_made, run.data_transferred_bytes) == (24, 494, 16_600_000)
    assert (run.page_load_ms, run.failed_requests, run.compute_time_seconds) == (36_000, 4, 90)


async def test_the_last_word_completes_what_the_log_did_not_say(core: Core, clock: MoveableClock) -> None:
    claim = await running(core)
    await _work(core, claim, clock)
    last = {"pages_loaded": 13, "http_requests": 10, "bytes_received": 1, "load_ms_total": -4, "failed_requests": "x"}
    await core.claims.record(claim, lines({"type": "result", "summary": "Yes"}, first=9), 200)
    await core.claims.collecting(claim)
    await core.claims.finish(claim, completed(metrics=last))
    run = (await core.runs.load(claim.run_id)).run
    assert (run.pages_loaded, run.http_requests_made, run.page_load_ms) == (13, 247, 18_000)


async def test_days_are_those_of_the_task_and_months_add_up(core: Core, clock: MoveableClock) -> None:
    await make_task(core, "ticket-checker")
    await core.schedules.set(ANN, "ticket-checker", "0 7 * * *", "Pacific/Honolulu")
    clock.set(datetime(2026, 2, 1, 5, 0, tzinfo=UTC))  # 31 January, 19:00 in Honolulu
    await _completed(core, clock)
    own = await core.metrics.of(ANN, "ticket-checker", "day")
    assert own.periods[-1].starts_on == date(2026, 1, 31)
    assert own.total.runs == 1
    everything = await core.metrics.of(ANN, None, "day")
    assert (everything.periods[-1].starts_on, everything.timezone) == (date(2026, 2, 1), "UTC")
    clock.set(datetime(2026, 4, 3, 5, 0, tzinfo=UTC))
    await _completed(core, clock)
    months = await core.metrics.of(ANN, "ticket-checker", "all")
    assert [(period.starts_on.month, period.sums.runs) for period in months.periods] == [(1, 1), (2, 0), (3, 0), (4, 1)]
    assert months.total.runs == 2
    assert (await core.metrics.of(ANN, "ticket-checker", "month")).total.runs == 1


async def test_everybody_sees_their_own_and_admins_everything(core: Core, clock: MoveableClock) -> None:
    await _completed(core, clock)
    await _completed(core, clock, "bobs", actor=BOB)
    assert (await core.metrics.of(ANN)).total.runs == 1
    assert (await core.metrics.of(SHELL)).total.runs == 2
    with pytest.raises(Denied):
        await core.metrics.of(BOB, "ticket-checker")
    with pytest.raises(Denied):
        await core.metrics.series(BOB, "ticket-checker", "price")


async def test_older_runs_are_added_later_and_once(core: Core, clock: MoveableClock) -> None:
    for _ in range(3):
        await _completed(core, clock)
        clock.advance(days=1)
    before = await _sums(core)
    async with core.db.write() as session:  # as a database of the first schema is
        await session.execute(delete(MetricRollup))
        await session.execute(delete(RunValue))
        await session.execute(update(TaskRun).values(counted_at=None))
    assert (await core.metrics.of(ANN)).is_counting
    await _completed(core, clock, "new-one")  # ends meanwhile
    assert [await core.metrics.catch_up(2) for _ in range(3)] == [2, 1, 0]
    report = await core.metrics.of(ANN, None, "all")
    assert (report.total.runs, report.is_counting) == (4, False)
    assert before.items() <= (await _sums(core)).items()
    assert len((await core.metrics.series(ANN, "ticket-checker", "price", "all")).points) == 3


async def test_a_run_is_counted_once_however_often_it_is_handed_over(core: Core, clock: MoveableClock) -> None:
    claim = await _completed(core, clock)
    async with core.db.write() as session:
        run = await session.get_one(TaskRun, claim.run_id)
        task = await session.get_one(Task, claim.task_id)
        for _ in range(2):
            await count_run(session, run, task, {"price": {"number": 1}}, timezone="UTC", now=clock.now())
    assert (await core.metrics.of(ANN, "ticket-checker")).total.runs == 1


async def _sums(core: Core) -> dict[Any, Any]:
    """The sums of tasks: they have no part in what other tasks did."""
    async with core.db.read() as session:
        rows = await session.scalars(select(MetricRollup).where(MetricRollup.scope.startswith("task:")))
        return {(row.scope, row.period, row.starts_on): (row.runs, row.pages, str(row.durations)) for row in rows}


async def test_ends_at_one_moment_are_all_counted(core: Core, clock: MoveableClock) -> None:
    claims = [await running(core, f"task-{number}", retries={"attempts": 1}) for number in range(6)]
    await asyncio.gather(*(fail(core, each) for each in claims))
    assert (await core.metrics.of(ANN, None, "day")).total.failed == 6


async def test_a_number_is_followed_over_time(core: Core, clock: MoveableClock) -> None:
    for _ in range(3):
        await _completed(core, clock)
        clock.advance(days=5)
    found = await core.metrics.series(ANN, "ticket-checker", "price", "month")
    assert ([number for _, number in found.points], found.unit, found.is_cut) == ([342.0] * 3, "USD", False)
    assert found.points == sorted(found.points)
    assert await core.metrics.value_names(ANN, "ticket-checker", "PRI") == ["price"]
    assert len((await core.metrics.series(ANN, "ticket-checker", "price", "week")).points) == 1
    with pytest.raises(NotFound) as caught:
        await core.metrics.series(ANN, "ticket-checker", "prise")
    assert caught.value.hint == "it has price"


async def test_names_from_inside_do_not_fill_the_database(core: Core, clock: MoveableClock) -> None:
    claim = await running(core, retries={"attempts": 1})
    events: list[dict[str, Any]] = []
    for number in range(200):
        title = f"step {chr(0x4E00 + number)}"
        events.append({"type": "step_started", "step": number, "title": title})
        events.append({"type": "step_finished", "step": number, "ok": True, "duration_ms": number})
    await core.claims.record(claim, lines(*events), 100)
    await fail(core, claim)
    total = (await core.metrics.of(ANN, "ticket-checker")).total
    assert len(total.steps) == STEPS_KEPT
    assert total.bottlenecks()[0].total_ms == 199


def test_percentiles_of_added_histograms_are_true_within_three_percent() -> None:
    lot = random.Random(7)
    durations = [lot.lognormvariate(5, 1.2) for _ in range(5000)]
    merged: dict[str, int] = {}
    for start in range(0, 5000, 100):
        day: dict[str, int] = {}
        for seconds in durations[start : start + 100]:
            add_to(day, {bar_of(seconds): 1})
        add_to(merged, day)
    durations.sort()
    for share in (0.5, 0.95, 0.99):
        true, found = durations[int(share * 5000) - 1], percentile(merged, share)
        assert found is not None
        assert abs(found - true) / true < 0.03
    assert len(merged) < 300
    assert percentile({}, 0.5) is None
    assert percentile({bar_of(0): 3}, 0.95) == 0.0


async def test_the_vital_signs_say_what_waits_and_since_when(core: Core, clock: MoveableClock) -> None:
    await _completed(core, clock)
    await make_task(core, "resting")
    await core.schedules.set(ANN, "ticket-checker", "0 16 * * *")
    await core.schedules.pause(ANN, "resting")
    await core.runs.start(ANN, "ticket-checker")
    clock.advance(hours=1)
    found = await core.vitals.read()
    assert (found.tasks, found.going, found.sessions) == ({"active": 1, "paused": 1}, {"queued": 1}, 0)
    assert (found.total.runs, found.total.completed, found.overdue_s > 0) == (1, 1, True)
    messages = found.backlogs["messages"]
    assert (messages.count > 0, messages.oldest_s >= 3600) == (True, True)
    assert (found.backlogs["uploads"].count, found.backlogs["pushes"].count) == (1, 0)
    assert found.database_bytes > 10_000
