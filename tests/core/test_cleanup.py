"""Nothing goes by itself; what somebody confirms goes exactly, and everything else stays."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from ccdtasks.core import Core
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.figures.cleanups import Plan, Wanted
from ccdtasks.core.records.artifacts import ArtifactDraft
from ccdtasks.core.runs.claims import Claim
from ccdtasks.core.runs.trends import CHART
from ccdtasks.db.enums import ArtifactKind, ArtifactState, Reason, RunStatus
from ccdtasks.db.models import (
    Artifact,
    DiscordMessage,
    DiscordThread,
    Intervention,
    PushoverNotification,
    RunEvent,
    RunValue,
    Session,
    TaskRun,
)
from ccdtasks.errors import Conflict, Denied, Invalid, NotFound
from tests.clock import MoveableClock
from tests.people import ADMIN, ANN, BOB
from tests.stories import all_messages, claim, completed, fail, lines, make_task, running

FILE = ArtifactDraft(
    "results.csv", ArtifactKind.TABLE, "text/csv", 1000, state=ArtifactState.STORED, location="runs/x/results.csv"
)
SHOT = ArtifactDraft(
    "final.png", ArtifactKind.SCREENSHOT, "image/png", 500, state=ArtifactState.STORED, location="runs/x/final.png"
)


async def _good(core: Core, clock: MoveableClock, *, days_later: float = 1, **config: Any) -> Claim:
    claimed = await running(core, **config)
    await core.claims.record(
        claimed,
        lines(
            {"type": "human_needed", "request_id": "r1", "reason": "captcha", "text": "Help", "timeout_s": 60},
            {"type": "human_done", "request_id": "r1", "outcome": "done"},
            {"type": "result", "summary": "Yes", "values": {"price": 3}},
        ),
        100,
    )
    await core.claims.collecting(claimed)
    await core.claims.finish(claimed, completed(artifacts=[FILE, SHOT]))
    await core.claims.removed(claimed)
    await core.runs.set_thread(claimed.run_id, "1", str(claimed.run_id.int % 10**18), "Run", "complete")
    clock.advance(days=days_later)
    return claimed


async def _all_of_it(core: Core) -> list[str]:
    """Carries out what is asked for, as the engine does; returns the files that were deleted."""
    files = []
    while work := await core.cleanups.next_work():
        files += [file.location or "" for file in work.files]
        await core.cleanups.remove(work)
    return files


async def _clean(core: Core, **wanted: Any) -> Plan:
    plan = await core.cleanups.plan(ANN, "ticket-checker", Wanted(**wanted))
    await core.cleanups.start(ANN, plan.task.id, plan.rule)
    await _all_of_it(core)
    return plan


async def _left(core: Core) -> list[Any]:
    async with core.db.read() as session:
        return list(await session.scalars(select(TaskRun.id).order_by(TaskRun.created_at)))


async def _rows(core: Core, *models: Any) -> list[int]:
    async with core.db.read() as session:
        return [await session.scalar(select(func.count()).select_from(model)) or 0 for model in models]


async def test_a_plan_says_exactly_what_goes_and_changes_nothing(core: Core, clock: MoveableClock) -> None:
    runs = [(await _good(core, clock)).run_id for _ in range(4)]
    plan = await core.cleanups.plan(ANN, "ticket-checker", Wanted(keep_last=1))
    assert (plan.runs, plan.files, plan.size_bytes, plan.threads) == (3, 6, 4500, 3)
    before = await _rows(core, RunEvent)
    assert plan.events == before[0] * 3 // 4
    assert await _left(core) == runs
    await core.cleanups.start(ANN, plan.task.id, plan.rule)
    assert await _left(core) == runs
    assert sorted(await _all_of_it(core)) == sorted(["runs/x/results.csv", "runs/x/final.png"] * 3)
    assert await _left(core) == runs[3:]
    assert await _rows(core, RunEvent, Artifact, Session, Intervention, RunValue) == [before[0] // 4, 2, 1, 1, 1]


async def test_the_figures_stay_and_the_end_is_told(core: Core, clock: MoveableClock) -> None:
    for _ in range(3):
        await _good(core, clock)
    before = (await core.metrics.of(ANN, "ticket-checker", "all")).total
    plan = await _clean(core, keep_last=1)
    after = (await core.metrics.of(ANN, "ticket-checker", "all")).total
    assert (before, after.runs, await core.metrics.catch_up()) == (after, 3, 0)
    (told,) = [each for each in await all_messages(core) if each.key.startswith("cleanup:")]
    assert told.payload["text"] == "2 runs and 4 files (3.0 KB) were removed. The figures of days and months stay."
    assert told.task_id == plan.task.id
    actions = [(each.action, each.actor_id) for each in await core.audit.entries("task", plan.task.id)]
    assert {("task.cleaned", "system"), ("task.cleanup", ANN.user_id)} <= set(actions)


async def test_only_what_is_old_enough_goes_and_never_the_last_good_run(core: Core, clock: MoveableClock) -> None:
    runs = [(await _good(core, clock, days_later=10, retries={"attempts": 1})).run_id for _ in range(3)]
    assert (await core.cleanups.plan(ANN, "ticket-checker", Wanted(older_than_days=25))).runs == 1
    await _clean(core, older_than_days=0)
    assert await _left(core) == runs[2:]
    await fail(core, await running(core))
    clock.advance(days=1)
    await _clean(core, older_than_days=0)
    assert await _left(core) == runs[2:]  # what the next result is compared with


async def test_files_alone(core: Core, clock: MoveableClock) -> None:
    runs = [(await _good(core, clock)).run_id for _ in range(3)]
    plan = await _clean(core, keep_last=1, files_only=True)
    assert (plan.runs, plan.files, plan.size_bytes) == (0, 4, 3000)
    assert await _left(core) == runs
    old, last = (await core.artifacts.of(runs[0]), await core.artifacts.of(runs[2]))
    assert {(each.state, each.location, each.note) for each in old} == {
        (ArtifactState.MISSING, None, f"Cleaned up on {clock.now():%Y-%m-%d}.")
    }
    assert {each.state for each in last} == {ArtifactState.STORED}
    assert (await core.cleanups.plan(ANN, "ticket-checker", Wanted(keep_last=1, files_only=True))).is_empty


async def test_failures_alone_and_a_start_goes_with_its_retries(core: Core, clock: MoveableClock) -> None:
    good = await _good(core, clock, retries={"attempts": 2, "backoff_s": 1})
    first = await running(core)
    await fail(core, first)
    clock.advance(minutes=10)
    second = await claim(core)
    await core.claims.running(second)
    await core.claims.record(second, lines({"type": "result", "summary": "Yes"}), 100)
    await core.claims.collecting(second)
    await core.claims.finish(second, completed(artifacts=[SHOT]))  # its first try failed
    await core.claims.removed(second)
    await fail(core, await running(core))
    clock.advance(minutes=10)
    last = await claim(core)
    await core.claims.running(last)
    await fail(core, last)
    clock.advance(days=1)
    plan = await _clean(core, older_than_days=0, failed_only=True)
    assert plan.runs == 2
    assert set(await _left(core)) == {good.run_id, first.run_id, second.run_id}


async def test_what_goes_on_is_left_alone(core: Core, clock: MoveableClock) -> None:
    await make_task(core, "ticket-checker")
    await make_task(core, "after")
    await core.dependencies.add(ANN, "after", "ticket-checker")
    first = await _good(core, clock)  # the run after it waits in the queue
    await _good(core, clock)
    going = await running(core, "ticket-checker")
    clock.advance(days=1)
    await _clean(core, older_than_days=0)
    left = await _left(core)
    assert first.run_id in left
    assert going.run_id in left


async def test_a_container_that_may_exist_keeps_its_run(core: Core, clock: MoveableClock) -> None:
    claimed = await running(core, retries={"attempts": 1})
    await core.claims.finish(claimed, Outcome(RunStatus.FAILED, Reason.LOST))
    clock.advance(days=1)
    assert (await core.cleanups.plan(ANN, "ticket-checker", Wanted(older_than_days=0))).is_empty
    await core.claims.removed(claimed)
    assert (await core.cleanups.plan(ANN, "ticket-checker", Wanted(older_than_days=0))).runs == 1


async def test_a_run_tried_again_meanwhile_stays(core: Core, clock: MoveableClock) -> None:
    claimed = await running(core, retries={"attempts": 1})
    await core.claims.finish(claimed, Outcome(RunStatus.FAILED, Reason.TIMEOUT, artifacts=[FILE]))
    await core.claims.removed(claimed)
    clock.advance(days=1)
    plan = await core.cleanups.plan(ANN, "ticket-checker", Wanted(older_than_days=0))
    await core.cleanups.start(ANN, plan.task.id, plan.rule)
    work = await core.cleanups.next_work()
    assert work is not None
    await core.attempts.retry(ANN, str(claimed.run_id))
    await core.cleanups.remove(work)
    assert len(await _left(core)) == 2
    async with core.db.read() as session:
        (file,) = await session.scalars(select(Artifact))
    assert (file.state, file.note) == (ArtifactState.MISSING, "Cleaned up on 2026-01-18."), "its file is gone already"
    assert await core.cleanups.next_work() is None


async def test_a_file_that_comes_while_others_are_removed_goes_too(core: Core, clock: MoveableClock) -> None:
    runs = [(await _good(core, clock)).run_id for _ in range(2)]
    plan = await core.cleanups.plan(ANN, "ticket-checker", Wanted(keep_last=1))
    await core.cleanups.start(ANN, plan.task.id, plan.rule)
    work = await core.cleanups.next_work()
    assert work is not None
    chart = ArtifactDraft(
        CHART, ArtifactKind.CHART, "image/png", 9, state=ArtifactState.STORED, location="runs/x/chart"
    )
    assert await core.charting.drawn(runs[0], chart)
    await core.cleanups.remove(work)
    assert "runs/x/chart" in await _all_of_it(core)
    assert await _left(core) == runs[1:]


async def test_threads_are_archived_or_deleted_when_that_is_asked_for(core: Core, clock: MoveableClock) -> None:
    for _ in range(3):
        await _good(core, clock)
    await _clean(core, keep_last=2)
    (thread,) = await core.cleanups.threads_to_close()
    await core.cleanups.thread_closed(thread)
    await _clean(core, keep_last=1, delete_threads=True)
    (other,) = await core.cleanups.threads_to_close()
    await core.cleanups.thread_closed(other)
    async with core.db.read() as session:
        states = [row.status for row in await session.scalars(select(DiscordThread).order_by(DiscordThread.created_at))]
    assert states == ["archived", "complete"]
    assert await core.cleanups.threads_to_close() == []


async def test_who_may_and_what_is_no_wish(core: Core, clock: MoveableClock) -> None:
    await _good(core, clock)
    with pytest.raises(Denied):
        await core.cleanups.plan(BOB, "ticket-checker", Wanted(keep_last=1))
    plan = await core.cleanups.plan(ADMIN, "ticket-checker", Wanted(older_than_days=0))
    assert plan.is_empty
    with pytest.raises(Denied):
        await core.cleanups.start(BOB, plan.task.id, plan.rule)
    for wrong in (Wanted(), Wanted(older_than_days=-1), Wanted(keep_last=10**9)):
        with pytest.raises(Invalid):
            await core.cleanups.plan(ANN, "ticket-checker", wrong)
    await core.cleanups.start(ADMIN, plan.task.id, plan.rule)
    with pytest.raises(Conflict):
        await core.cleanups.start(ANN, plan.task.id, plan.rule)


async def test_all_that_is_left_of_a_deleted_task_goes_and_nothing_of_the_one_that_has_its_name_now(
    core: Core, clock: MoveableClock
) -> None:
    for _ in range(3):
        await _good(core, clock)
    await core.tasks.delete(ANN, "ticket-checker")
    (gone,) = await core.cleanups.deleted(ANN, "ticket")
    assert (await core.cleanups.plan(ANN, "ticket-checker", Wanted())).runs == 3
    new = await _good(core, clock)
    with pytest.raises(Invalid):  # the name now means the task that lives
        await core.cleanups.plan(ANN, "ticket-checker", Wanted())
    for stranger in (BOB,):
        assert await core.cleanups.deleted(stranger) == []
        with pytest.raises(NotFound):
            await core.cleanups.plan(stranger, str(gone.id), Wanted())
    assert (await core.cleanups.plan(ANN, str(gone.id), Wanted(keep_last=2))).runs == 1
    plan = await core.cleanups.plan(ADMIN, str(gone.id), Wanted())
    assert (plan.runs, plan.files, plan.task.id) == (3, 6, gone.id)
    await core.cleanups.start(ANN, plan.task.id, plan.rule)
    await _all_of_it(core)
    assert await _left(core) == [new.run_id]
    assert await core.cleanups.deleted(ANN) == []
    (told,) = [each for each in await all_messages(core) if each.key.startswith("cleanup:")]
    assert told.payload["title"] == "ticket-checker: cleaned up"
    assert (await core.metrics.of(ADMIN, None, "all")).total.runs == 4


async def test_deleted_tasks_of_one_name_are_told_apart_by_their_ids(core: Core, clock: MoveableClock) -> None:
    for _ in range(2):
        await _good(core, clock)
        await core.tasks.delete(ANN, "ticket-checker")
    second, first = await core.cleanups.deleted(ANN)
    with pytest.raises(Conflict) as refused:
        await core.cleanups.plan(ANN, "ticket-checker", Wanted())
    assert refused.value.hint == (
        f"name one by its id: {second.id} ({second.deleted_at:%Y-%m-%d}), {first.id} ({first.deleted_at:%Y-%m-%d})"
    )
    assert (await core.cleanups.plan(ANN, str(first.id), Wanted())).runs == 1


async def test_the_log_of_pushes_outlives_its_run(core: Core, clock: MoveableClock) -> None:
    claims = [await _good(core, clock) for _ in range(2)]
    async with core.db.write() as session:
        session.add(PushoverNotification(task_run_id=claims[0].run_id, user_key="k", message="Done"))
    await _clean(core, keep_last=1)
    async with core.db.read() as session:
        push = (await session.scalars(select(PushoverNotification))).one()
        messages = {row.task_run_id for row in await session.scalars(select(DiscordMessage))}
    assert push.task_run_id is None
    assert messages == {claims[1].run_id, None}
