"""Chains: what a finished run starts, what a failed one keeps from running, and the one summary at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ccdtasks.app import open_core
from ccdtasks.config import Config
from ccdtasks.core import Core
from ccdtasks.core.ending.chains import KEY
from ccdtasks.core.records.artifacts import ArtifactDraft
from ccdtasks.core.tasks.dependencies import Mode
from ccdtasks.db.enums import ArtifactKind, Reason, RunStatus, Trigger
from ccdtasks.db.models import Task
from ccdtasks.errors import Invalid
from tests.clock import MoveableClock
from tests.core.chains import begin_next, finish, finish_next, link, run_of, runs_of
from tests.people import ANN
from tests.stories import all_messages, claim, completed, fail, lines, make_task, queue, told

DONE, FAILED, STOPPED = RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED
WAITING, QUEUED = RunStatus.WAITING_DEPENDENCY, RunStatus.QUEUED
NEWS = ArtifactDraft("news.json", ArtifactKind.DOWNLOAD, "application/json", 12)
ONCE = {"retries": {"attempts": 1}}


async def tasks(core: Core, *names: str, **config: Any) -> None:
    for name in names:
        await make_task(core, name, **{**ONCE, **config})


async def summaries(core: Core) -> list[Any]:
    return [row for row in await all_messages(core) if row.key.startswith(KEY)]


async def diamond(core: Core) -> None:
    await tasks(core, "scrape", "prices", "trends", "digest")
    await link(core, "prices > scrape", "trends > scrape", "digest > prices", "digest > trends")


async def test_each_task_of_a_chain_starts_when_the_one_before_it_is_done(core: Core, clock: MoveableClock) -> None:
    await tasks(core, "scrape", "analyze", "digest")
    await link(core, "analyze > scrape", "digest > analyze")
    started = await core.runs.start(ANN, "scrape")
    assert [await finish_next(core, clock, minutes=1) for _ in range(3)] == ["scrape", "analyze", "digest"]
    assert await runs_of(core, started.run.id) == [("scrape", DONE), ("analyze", DONE), ("digest", DONE)]
    run = await run_of(core, "analyze")
    assert (run.trigger, run.upstream_runs) == (Trigger.DEPENDENCY, {"scrape": str(started.run.id)})
    assert set(await told(core, run.id)) == {"opening", "card", "result"}
    (summary,) = await summaries(core)
    assert (summary.key, summary.task_run_id) == (f"chain:{started.run.id}", None)
    view = await core.chains.load(started.run.id)
    assert [(row.task_name, row.run.status) for row in view.rows] == await runs_of(core, started.run.id)


async def test_what_it_was_given_is_the_evidence_of_a_task_that_visits_no_page(
    core: Core, clock: MoveableClock
) -> None:
    await tasks(core, "scrape", "analyze")
    await link(core, "analyze > scrape")
    await core.runs.start(ANN, "scrape")
    await finish_next(core, clock)
    claimed = await begin_next(core)
    await core.claims.record(claimed, lines({"type": "result", "summary": "Three trends"}), 100)
    ended = await core.claims.finish(claimed, completed(final_url="about:blank"))
    assert (ended.status, ended.reason) == (RunStatus.COMPLETED, None)


async def test_a_run_that_nothing_follows_is_no_chain(core: Core, clock: MoveableClock) -> None:
    await tasks(core, "lone")
    await queue(core, "lone")
    await finish_next(core, clock)
    assert (await run_of(core, "lone")).chain_id is None
    assert await summaries(core) == []


async def test_a_diamond_fires_once(core: Core, clock: MoveableClock) -> None:
    await diamond(core)
    chain_id = (await core.runs.start(ANN, "scrape")).run.id
    await finish_next(core, clock, minutes=1)
    await finish_next(core, clock, minutes=1)
    digest = await run_of(core, "digest")
    assert digest.status is WAITING
    await finish_next(core, clock, minutes=1)
    assert (await run_of(core, "digest")).status is QUEUED
    assert await summaries(core) == []
    await finish_next(core, clock)
    assert [name for name, _ in await runs_of(core, chain_id)].count("digest") == 1
    assert (await run_of(core, "digest")).id == digest.id
    assert len(await summaries(core)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["all", "any"])
async def test_the_two_sides_of_a_diamond_may_end_at_the_same_moment(
    core: Core, config: Config, clock: MoveableClock, mode: Mode
) -> None:
    """By two processes at once; the first of any, or the last of all, starts what runs after both, once."""
    await diamond(core)
    if mode == "any":
        await core.dependencies.add(ANN, "digest", "prices", mode=mode)
    async with open_core(config, clock) as second:
        for _ in range(5):
            await core.runs.start(ANN, "scrape")
            await finish_next(core, clock)
            sides = [await begin_next(core), await begin_next(core)]
            await asyncio.gather(*(finish(each, side) for each, side in zip((core, second), sides, strict=True)))
            assert await finish_next(core, clock) == "digest"
            assert await core.claims.claim_next(clock.now(), "boot", 10) is None


async def test_a_retry_of_a_parent_starts_the_child_once_and_only_at_its_end(core: Core, clock: MoveableClock) -> None:
    await make_task(core, "scrape")
    await tasks(core, "analyze")
    await link(core, "analyze > scrape")
    chain_id = (await core.runs.start(ANN, "scrape")).run.id
    await finish_next(core, clock, reason=Reason.LOST)
    assert [name for name, _ in await runs_of(core)] == ["scrape", "scrape"]
    clock.advance(hours=1)
    assert await finish_next(core, clock) == "scrape"
    assert await finish_next(core, clock) == "analyze"
    assert await runs_of(core, chain_id) == [("scrape", FAILED), ("scrape", DONE), ("analyze", DONE)]
    assert await core.claims.claim_next(clock.now(), "boot", 10) is None


async def test_a_retry_in_the_middle_of_a_chain_stays_in_it(core: Core, clock: MoveableClock) -> None:
    await tasks(core, "scrape", "digest")
    await make_task(core, "analyze")
    await link(core, "analyze > scrape", "digest > analyze")
    chain_id = (await core.runs.start(ANN, "scrape")).run.id
    await finish_next(core, clock)
    await finish_next(core, clock, reason=Reason.LOST)
    clock.advance(hours=1)
    assert [await finish_next(core, clock) for _ in range(2)] == ["analyze", "digest"]
    retried = await run_of(core, "analyze")
    assert (retried.attempt, retried.chain_id, retried.upstream_runs) == (2, chain_id, {"scrape": str(chain_id)})


async def test_a_failed_parent_keeps_what_needs_it_from_running_down_the_line(core: Core, clock: MoveableClock) -> None:
    await tasks(core, "scrape", "analyze", "digest")
    await link(core, "analyze > scrape", "digest > analyze")
    chain_id = (await core.runs.start(ANN, "scrape")).run.id
    await finish_next(core, clock, reason=Reason.BLOCKED)
    assert await runs_of(core, chain_id) == [("scrape", FAILED), ("analyze", FAILED), ("digest", FAILED)]
    analyze, digest = await run_of(core, "analyze"), await run_of(core, "digest")
    assert (analyze.reason, analyze.error_message) == (Reason.DEPENDENCY_FAILED, "It did not run: scrape failed.")
    assert (digest.reason, digest.error_message) == (Reason.DEPENDENCY_FAILED, "It did not run: analyze did not run.")
    said = await told(core, digest.id)
    assert said["result"]["ping"] is False
    assert said["opening"] == {"ended": "failed", "answer": digest.error_message}
    assert len(await summaries(core)) == 1


async def test_a_stopped_parent_counts_as_a_failed_one(core: Core, clock: MoveableClock) -> None:
    await tasks(core, "scrape", "analyze")
    await link(core, "analyze > scrape")
    await core.runs.start(ANN, "scrape")
    await core.runs.stop(ANN, "scrape")
    analyze = await run_of(core, "analyze")
    assert (analyze.status, analyze.error_message) == (FAILED, "It did not run: scrape was stopped.")


async def test_what_only_waits_for_a_parent_to_end_runs_also_after_a_failure(core: Core, clock: MoveableClock) -> None:
    await tasks(core, "scrape", "report")
    await link(core, "report > scrape", required=False)
    await core.runs.start(ANN, "scrape")
    await finish_next(core, clock, reason=Reason.BLOCKED)
    assert await finish_next(core, clock) == "report"


@pytest.mark.parametrize(("first", "second"), [(None, Reason.BLOCKED), (Reason.BLOCKED, None)])
async def test_any_of_several_is_enough(
    core: Core, clock: MoveableClock, first: Reason | None, second: Reason | None
) -> None:
    await diamond(core)
    await core.dependencies.add(ANN, "digest", "prices", mode="any")
    chain_id = (await core.runs.start(ANN, "scrape")).run.id
    await finish_next(core, clock, minutes=1)
    sides = [await begin_next(core), await begin_next(core)]
    await finish(core, sides[0], reason=first)
    assert (await run_of(core, "digest")).status is (WAITING if first else QUEUED)
    await finish(core, sides[1], reason=second)
    assert await finish_next(core, clock) == "digest"
    assert [name for name, _ in await runs_of(core, chain_id)].count("digest") == 1


@pytest.mark.parametrize("late", ["good", "failed"])
async def test_any_waits_for_the_one_whose_file_it_is_to_read(core: Core, clock: MoveableClock, late: str) -> None:
    await tasks(core, "root", "slow", "quick")
    await make_task(core, "read", "Read {file}", **ONCE)
    await link(core, "slow > root", "quick > root")
    await core.dependencies.add(ANN, "read", "slow", mode="any", values="file:@slow/news.json")
    await link(core, "read > quick")
    await core.runs.start(ANN, "root")
    await finish_next(core, clock, minutes=1)
    going = [await begin_next(core) for _ in range(2)]
    by_name = {(await core.tasks.load(each.task_id)).task_name: each for each in going}
    await finish(core, by_name["quick"])
    assert (await run_of(core, "read")).status is WAITING
    clock.advance(minutes=1)
    if late == "good":
        await finish(core, by_name["slow"], NEWS)
        assert await finish_next(core, clock) == "read"
    else:
        await finish(core, by_name["slow"], reason=Reason.BLOCKED)
        assert (await run_of(core, "read")).error_message == "It did not run: slow left no file `news.json`."
    assert [name for name, _ in await runs_of(core)].count("read") == 1


async def test_none_of_any_is_a_failure(core: Core, clock: MoveableClock) -> None:
    await diamond(core)
    await core.dependencies.add(ANN, "digest", "prices", mode="any")
    await core.runs.start(ANN, "scrape")
    await finish_next(core, clock)
    await finish_next(core, clock, reason=Reason.BLOCKED)
    assert (await run_of(core, "digest")).status is WAITING
    await finish_next(core, clock, reason=Reason.BLOCKED)
    assert (await run_of(core, "digest")).reason is Reason.DEPENDENCY_FAILED


async def test_of_a_task_outside_the_chain_the_last_good_run_counts(core: Core, clock: MoveableClock) -> None:
    await tasks(core, "scrape", "rates", "digest")
    await link(core, "digest > scrape", "digest > rates")
    await core.runs.start(ANN, "scrape")
    await finish_next(core, clock, minutes=1)
    assert (await run_of(core, "digest")).error_message == "It did not run: rates has no completed run yet."
    rates = (await core.runs.start(ANN, "rates")).run
    assert [await finish_next(core, clock, minutes=1) for _ in range(2)] == ["rates", "digest"]
    scrape = (await core.runs.start(ANN, "scrape")).run
    assert [await finish_next(core, clock, minutes=1) for _ in range(2)] == ["scrape", "digest"]
    digest = await run_of(core, "digest")
    assert (digest.chain_id, digest.upstream_runs) == (scrape.id, {"scrape": str(scrape.id), "rates": str(rates.id)})


async def test_a_paused_task_is_passed_over_and_says_so(core: Core, clock: MoveableClock) -> None:
    await tasks(core, "scrape", "analyze", "digest")
    await link(core, "analyze > scrape", "digest > analyze")
    chain_id = (await core.runs.start(ANN, "scrape")).run.id
    await pause(core, "analyze")
    await finish_next(core, clock)
    assert await runs_of(core, chain_id) == [("scrape", DONE), ("analyze", STOPPED), ("digest", FAILED)]
    assert (await run_of(core, "analyze")).error_message == "It did not run: analyze is paused."
    assert (await run_of(core, "digest")).error_message == "It did not run: analyze did not run."
    assert (await told(core, (await run_of(core, "analyze")).id))["opening"]["ended"] == "cancelled"


async def pause(core: Core, name: str) -> None:
    async with core.db.write() as session:
        task = await session.get_one(Task, (await core.tasks.find(ANN, name)).id)
        task.paused = True


async def test_a_waiting_run_is_let_go_when_the_graph_changes(core: Core, clock: MoveableClock) -> None:
    await diamond(core)
    await core.runs.start(ANN, "scrape")
    await finish_next(core, clock)
    await finish_next(core, clock)
    assert (await run_of(core, "digest")).status is WAITING
    await core.dependencies.remove(ANN, "digest", "trends")
    assert (await run_of(core, "digest")).status is QUEUED


async def test_a_waiting_run_that_nothing_leads_to_any_more_ends(core: Core, clock: MoveableClock) -> None:
    await diamond(core)
    chain_id = (await core.runs.start(ANN, "scrape")).run.id
    await finish_next(core, clock)
    await finish_next(core, clock)
    await core.dependencies.remove(ANN, "digest", "prices")
    assert (await run_of(core, "digest")).status is WAITING
    await core.dependencies.remove(ANN, "digest", "trends")
    digest = await run_of(core, "digest")
    assert (digest.status, digest.error_message) == (STOPPED, "It did not run: it no longer runs after another task.")
    await finish_next(core, clock)
    assert all(status is DONE for name, status in await runs_of(core, chain_id) if name != "digest")
    assert len(await summaries(core)) == 1


async def test_a_waiting_run_can_be_stopped(core: Core, clock: MoveableClock) -> None:
    await diamond(core)
    await core.runs.start(ANN, "scrape")
    await finish_next(core, clock)
    await finish_next(core, clock)
    await core.runs.stop(ANN, "digest")
    await finish_next(core, clock)
    assert (await run_of(core, "digest")).status is STOPPED
    assert len(await summaries(core)) == 1


async def test_a_chain_is_started_anew_from_the_middle(core: Core, clock: MoveableClock) -> None:
    await tasks(core, "scrape", "analyze", "digest")
    await link(core, "analyze > scrape", "digest > analyze")
    await core.runs.start(ANN, "scrape")
    await finish_next(core, clock, minutes=1)
    await finish_next(core, clock, minutes=1, reason=Reason.BLOCKED)
    again = await core.runs.again(ANN, (await run_of(core, "analyze")).id)
    assert [await finish_next(core, clock, minutes=1) for _ in range(2)] == ["analyze", "digest"]
    assert await runs_of(core, again.run.id) == [("analyze", DONE), ("digest", DONE)]
    assert len(await summaries(core)) == 2


async def test_a_retry_by_hand_lets_go_what_the_failure_kept_from_running(core: Core, clock: MoveableClock) -> None:
    await tasks(core, "scrape", "digest")
    await make_task(core, "analyze", "Read {file}", **ONCE)
    await link(core, "analyze > scrape", values="file:@scrape/output_file")
    await link(core, "digest > analyze")
    chain_id = (await core.runs.start(ANN, "scrape")).run.id
    await finish_next(core, clock, minutes=1, reason=Reason.BLOCKED)
    await core.attempts.retry(ANN, str(chain_id))
    await finish_next(core, clock, minutes=1, reason=Reason.BLOCKED)
    assert await core.claims.claim_next(clock.now(), "boot", 10) is None
    await core.attempts.retry(ANN, str(chain_id))
    assert [await finish_next(core, clock, NEWS, minutes=1) for _ in range(3)] == ["scrape", "analyze", "digest"]
    assert await core.claims.claim_next(clock.now(), "boot", 10) is None
    analyze = await run_of(core, "analyze")
    assert (analyze.attempt, analyze.trigger, analyze.parameters) == (
        2,
        Trigger.DEPENDENCY,
        {"file": "@scrape/output_file"},
    )
    assert len(await summaries(core)) == 1
    assert {row.task_name: row.run.status for row in (await core.chains.load(chain_id)).rows} == dict.fromkeys(
        ("scrape", "analyze", "digest"), DONE
    )


async def test_a_run_whose_inputs_are_gone_when_it_starts_is_not_tried_over_and_over(
    core: Core, clock: MoveableClock
) -> None:
    await tasks(core, "scrape", "analyze")
    await link(core, "analyze > scrape")
    await core.runs.start(ANN, "scrape")
    await finish_next(core, clock, minutes=1)
    claimed = await claim(core)
    clock.advance(minutes=1)
    await fail(core, claimed, Reason.DEPENDENCY_FAILED)
    assert [name for name, _ in await runs_of(core)] == ["scrape", "analyze"]
    assert len(await summaries(core)) == 1


async def test_what_was_kept_from_running_can_be_retried_by_hand(core: Core, clock: MoveableClock) -> None:
    await tasks(core, "scrape")
    await make_task(core, "analyze", "Read {file}", **ONCE)
    await link(core, "analyze > scrape", values="file:@scrape/output_file")
    await core.runs.start(ANN, "scrape")
    await finish_next(core, clock, NEWS, minutes=1)
    await finish_next(core, clock, minutes=1)
    good = (await run_of(core, "analyze")).upstream_runs
    await core.runs.start(ANN, "scrape")
    await finish_next(core, clock, minutes=1, reason=Reason.BLOCKED)
    await core.attempts.retry(ANN, str((await run_of(core, "analyze")).id))
    assert await finish_next(core, clock) == "analyze"
    inputs = await core.chains.inputs((await run_of(core, "analyze")).id)
    assert inputs.values == {"file": "/run/ccdtasks/host/inputs/scrape/news.json"}
    assert {each.task_name: str(each.run.id) for each in inputs.upstreams} == good


@pytest.mark.parametrize(
    ("wanted", "file"),
    [("output_file", "news.json"), ("news.json", "news.json"), ("result.json", "result.json"), ("target", "news.json")],
)
async def test_a_value_stands_for_a_file_of_the_run_before(
    core: Core, clock: MoveableClock, wanted: str, file: str
) -> None:
    await make_task(core, "scrape", "Save to {target=out/news.json}", **ONCE)
    await make_task(core, "analyze", f"Read {{input_file=@scrape/{wanted}}}", **ONCE)
    await link(core, "analyze > scrape")
    await core.runs.start(ANN, "scrape")
    await finish_next(core, clock, NEWS)
    analyze = await run_of(core, "analyze")
    assert analyze.status is QUEUED
    inputs = await core.chains.inputs(analyze.id)
    assert inputs.values == {"input_file": f"/run/ccdtasks/host/inputs/scrape/{file}"}


async def test_saved_values_are_given_and_a_missing_file_is_told(core: Core, clock: MoveableClock) -> None:
    await tasks(core, "scrape")
    await make_task(core, "analyze", "Read {input_file} for {who=me}", **ONCE)
    await link(core, "analyze > scrape", values="input_file:@scrape/news.json who:Ann")
    await core.runs.start(ANN, "scrape")
    await finish_next(core, clock, NEWS, minutes=1)
    analyze = await run_of(core, "analyze")
    assert analyze.parameters == {"input_file": "@scrape/news.json", "who": "Ann"}
    await finish_next(core, clock, minutes=1)
    await core.runs.start(ANN, "scrape")
    await finish_next(core, clock, minutes=1)
    analyze = await run_of(core, "analyze")
    assert (analyze.status, analyze.error_message) == (FAILED, "It did not run: scrape left no file `news.json`.")


async def test_a_task_started_by_hand_gets_the_last_good_files_or_is_refused(core: Core, clock: MoveableClock) -> None:
    await tasks(core, "scrape")
    await make_task(core, "analyze", "Read {input_file=@scrape/output_file}", **ONCE)
    await link(core, "analyze > scrape")
    with pytest.raises(Invalid, match="scrape has no completed run yet"):
        await core.runs.start(ANN, "analyze")
    await core.runs.start(ANN, "scrape")
    await finish_next(core, clock, NEWS, minutes=1)
    await core.runs.stop(ANN, "analyze")
    run = (await core.runs.start(ANN, "analyze")).run
    inputs = await core.chains.inputs(run.id)
    assert inputs.values == {"input_file": "/run/ccdtasks/host/inputs/scrape/news.json"}


async def test_a_value_that_only_looks_like_a_file_of_another_task_is_text(core: Core) -> None:
    await make_task(core, "greet", "Write to {who=@ann/home}")
    run = (await core.runs.start(ANN, "greet")).run
    assert (await core.chains.inputs(run.id)).values == {"who": "@ann/home"}


async def test_a_restart_in_the_middle_loses_and_doubles_nothing(config: Config, clock: MoveableClock) -> None:
    """Each step is done by a process of its own, over the same database."""

    @asynccontextmanager
    async def life() -> AsyncIterator[Core]:
        async with open_core(config, clock) as core:
            yield core

    async with life() as core:
        await diamond(core)
        chain_id = (await core.runs.start(ANN, "scrape")).run.id
    for _ in range(4):
        async with life() as core:
            await finish_next(core, clock)
    async with life() as core:
        ended = await runs_of(core, chain_id)
        assert sorted(ended) == [("digest", DONE), ("prices", DONE), ("scrape", DONE), ("trends", DONE)]
        assert len(await summaries(core)) == 1


async def test_what_fails_on_the_way_leaves_no_half_of_a_chain(
    core: Core, clock: MoveableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a run and what follows from it are one transaction."""
    await tasks(core, "scrape", "analyze")
    await link(core, "analyze > scrape")
    await core.runs.start(ANN, "scrape")
    claimed = await begin_next(core)
    with monkeypatch.context() as patch:
        patch.setattr(type(core.chains), "_queue", _breaks)
        with pytest.raises(RuntimeError):
            await finish(core, claimed)
    assert (await run_of(core, "scrape")).status is RunStatus.COLLECTING
    assert await runs_of(core) == [("scrape", RunStatus.COLLECTING)]
    await core.claims.finish(claimed, completed())
    await core.claims.removed(claimed)
    assert await finish_next(core, clock) == "analyze"


async def _breaks(*_: Any) -> None:
    raise RuntimeError("the power went out")
