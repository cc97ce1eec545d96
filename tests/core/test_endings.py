"""How runs end: what counts as completed, what is tried again, what is told and counted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ccdtasks.core import Core
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.records.artifacts import ArtifactDraft
from ccdtasks.core.records.reasons import HINTS, RETRIED, WORDS
from ccdtasks.db.enums import ArtifactKind, ArtifactState, MessageType, Reason, RunStatus, Trigger
from ccdtasks.db.models import TaskRun
from ccdtasks.errors import Denied, NotFound
from tests.clock import MoveableClock
from tests.people import ANN, BOB
from tests.stories import (
    FINAL_PNG,
    RESULT,
    all_messages,
    claim,
    complete,
    completed,
    fail,
    lines,
    queue,
    running,
    status_of,
    told,
)


async def _run(core: Core, run_id: Any) -> TaskRun:
    return (await core.runs.load(run_id)).run


async def test_a_completed_run_has_its_evidence(core: Core, clock: MoveableClock) -> None:
    claimed = await running(core)
    clock.advance(seconds=158)
    ended = await complete(core, claimed)
    assert (ended.status, ended.reason, ended.retry_run_id) == (RunStatus.COMPLETED, None, None)
    view = await core.runs.load(claimed.run_id)
    assert (view.run.duration_seconds, view.run.compute_time_seconds) == (158, 158)
    assert view.run.final_url == "https://flights.example/"
    assert view.run.output_files == ["final.png"]
    assert view.run.error_message is None
    assert [artifact.name for artifact in view.artifacts] == ["final.png"]
    assert view.session
    assert (view.session.ended_at, view.session.exit_code) == (clock.now(), 0)
    assert (view.task.run_count, view.task.success_count, view.task.avg_duration_seconds) == (1, 1, 158)
    rows = {row.key: row for row in await all_messages(core)}
    assert rows["result"].message_type is MessageType.RESULT
    assert rows["result"].payload["ping"] is True
    assert rows["card"].revision > 1


@pytest.mark.parametrize(("ended_s", "lasted_s"), [(60, 60), (-3600, 0), (90_000, 18_060)])
async def test_a_run_lasts_until_its_session_ends_however_late_that_is_seen(
    core: Core, clock: MoveableClock, ended_s: int, lasted_s: int
) -> None:
    """The service was away for five hours; a moment before the start or in the future is that of a clock set wrong."""
    claimed = await running(core)
    began_at = clock.now()
    await core.claims.record(claimed, lines({"type": "result", **RESULT}), 100)
    clock.advance(hours=5, minutes=1)
    await core.claims.collecting(claimed)
    await core.claims.finish(claimed, completed(ended_at=began_at + timedelta(seconds=ended_s)))
    view = await core.runs.load(claimed.run_id)
    assert (view.run.duration_seconds, view.run.compute_time_seconds) == (lasted_s, lasted_s)
    assert view.task.avg_duration_seconds == lasted_s
    assert view.session
    assert view.session.ended_at == began_at + timedelta(seconds=lasted_s)
    assert view.run.completed_at == clock.now()


@pytest.mark.parametrize(
    ("result", "outcome", "message"),
    [
        (None, completed(), "The run ended without a result."),
        ({"items": 5}, completed(), "`items` of the result must be a list of rows."),
        ({"summary": "  "}, completed(), "The run ended with an empty result."),
        (RESULT, completed(final_screenshot=None), "The run left no picture of its last page."),
        (RESULT, completed(artifacts=[]), "The run left no picture of its last page."),
        (
            RESULT,
            completed(artifacts=[replace(FINAL_PNG, state=ArtifactState.MISSING)]),
            "The run left no picture of its last page.",
        ),
        (RESULT, completed(final_url="about:blank"), "The run left no address of its last page."),
    ],
)
async def test_without_evidence_nothing_is_green(core: Core, result: Any, outcome: Outcome, message: str) -> None:
    claimed = await running(core, retries={"attempts": 1})
    if result is not None:
        await core.claims.record(claimed, lines({"type": "result", **result}), 1)
    ended = await core.claims.finish(claimed, outcome)
    assert (ended.status, ended.reason) == (RunStatus.FAILED, Reason.UNCLEAR_RESULT)
    assert (await _run(core, claimed.run_id)).error_message == message
    assert (await told(core, claimed.run_id))["result"]["message"] == message


async def test_an_evidence_address_in_the_result_is_enough(core: Core) -> None:
    claimed = await running(core)
    result = {"type": "result", **RESULT, "evidence_url": "https://flights.example/united"}
    await core.claims.record(claimed, lines(result), 1)
    assert (await core.claims.finish(claimed, completed(final_url=None))).status is RunStatus.COMPLETED


@pytest.mark.parametrize(
    "outcome", [completed(), Outcome(RunStatus.FAILED, Reason.TIMEOUT), Outcome(RunStatus.CANCELLED)]
)
async def test_a_wish_to_stop_wins(core: Core, outcome: Outcome) -> None:
    claimed = await running(core)
    await core.claims.record(claimed, lines({"type": "result", **RESULT}), 1)
    await core.claims.collecting(claimed)
    await core.runs.stop(ANN, "ticket-checker")
    ended = await core.claims.finish(claimed, outcome)
    assert (ended.status, ended.reason, ended.retry_run_id) == (RunStatus.CANCELLED, None, None)
    run = await _run(core, claimed.run_id)
    assert run.result_data  # what was gathered is kept
    assert (await told(core, run.id))["result"]["by"] == ANN.user_id
    task = await core.tasks.find(ANN, "ticket-checker")
    assert (task.run_count, task.success_count, task.failure_count) == (1, 0, 0)


@pytest.mark.parametrize("state", ["queued", "starting", "running", "needs_human", "collecting"])
async def test_a_stop_in_any_state_ends_as_cancelled(core: Core, state: str) -> None:
    """reliability.md 42: one terminal state, whatever the engine reports afterwards."""
    started = await queue(core)
    if state != "queued":
        claimed = await claim(core)
        if state != "starting":
            await core.claims.running(claimed)
        if state == "needs_human":
            await core.claims.record(claimed, lines({"type": "human_needed", "request_id": "r"}), 1)
        if state == "collecting":
            await core.claims.collecting(claimed)
        assert await status_of(core, started.run.id) is RunStatus(state)
        await core.runs.stop(ANN, "ticket-checker")
        await core.claims.finish(claimed, Outcome(RunStatus.FAILED, Reason.LOST))
    else:
        await core.runs.stop(ANN, "ticket-checker")
    run = await _run(core, started.run.id)
    assert (run.status, run.required_intervention, run.deadline_at) == (RunStatus.CANCELLED, False, None)
    assert len((await core.runs.page(ANN)).rows) == 1  # and no retry


@pytest.mark.parametrize("reason", list(Reason))
async def test_which_failures_are_tried_again(core: Core, reason: Reason) -> None:
    ended = await fail(core, await running(core), reason)
    assert (ended.retry_run_id is not None) == (reason in RETRIED)
    assert not RETRIED & {
        Reason.MODEL_AUTH,
        Reason.BUDGET,
        Reason.IMAGE_MISSING,
        Reason.DISK_FULL,
        Reason.BLOCKED,
        Reason.LOGIN_REQUIRED,
    }


async def test_three_attempts_in_one_thread_then_it_gives_up(core: Core, clock: MoveableClock) -> None:
    """reliability.md 39: no more attempts than the task has, one parent, the wait drawn by lot within its bound."""
    first = await running(core)
    await core.runs.set_thread(first.run_id, "100", "555", "Run", "running")
    run_ids = [first.run_id]
    claimed = first
    for attempt in (1, 2):
        ended = await fail(core, claimed, Reason.TIMEOUT)
        assert ended.retry_run_id
        assert ended.retry_at
        wait = ended.retry_at - clock.now()
        assert timedelta(seconds=5) <= wait <= timedelta(seconds=60 * 2 ** (attempt - 1))
        payload = (await told(core, claimed.run_id))["result"]
        assert (payload["attempt"], payload["attempts"], payload["retry_at"]) == (
            attempt,
            3,
            ended.retry_at.isoformat(),
        )
        assert payload["ping"] is False
        retry = await _run(core, ended.retry_run_id)
        assert (retry.trigger, retry.retry_of, retry.retry_count) == (Trigger.RETRY, first.run_id, attempt)
        assert (retry.attempt, retry.discord_thread_id) == (attempt + 1, "555")
        assert await core.claims.claim_next(clock.now(), "boot", 10) is None
        clock.advance(hours=1)
        claimed = await claim(core)
        await core.claims.running(claimed)
        run_ids.append(claimed.run_id)
    ended = await fail(core, claimed, Reason.TIMEOUT)
    assert ended.retry_run_id is None
    payload = (await told(core, claimed.run_id))["result"]
    assert payload["ping"] is True
    assert (payload["same_reason"], payload["of_last"]) == (1, 1)  # three tries of one start
    assert payload["hint"] == "a longer timeout may help: `/task-edit ticket-checker timeout 3600`"
    task = await core.tasks.find(ANN, "ticket-checker")
    assert (task.run_count, task.failure_count) == (3, 3)
    assert len(set(run_ids)) == 3


async def test_the_wait_between_attempts_has_a_cap(core: Core, clock: MoveableClock) -> None:
    claimed = await running(core, retries={"attempts": 10, "backoff_s": 3600, "cap_s": 10})
    for _ in range(4):
        ended = await fail(core, claimed)
        assert ended.retry_at
        assert ended.retry_at - clock.now() <= timedelta(seconds=10)
        clock.advance(seconds=10)
        claimed = await claim(core)


async def test_what_acted_is_never_repeated_by_itself(core: Core, clock: MoveableClock) -> None:
    started = await queue(core, "buys", effect="acts")
    assert started.run.attempt == 1
    claimed = await claim(core)
    ended = await fail(core, claimed)  # it never ran, so it cannot have bought
    assert ended.retry_run_id
    clock.advance(hours=1)
    again = await claim(core)
    await core.claims.running(again)
    assert (await fail(core, again)).retry_run_id is None
    third = await running(core, "buys")
    assert not await core.claims.requeue(third, clock.now(), Reason.MODEL_UNAVAILABLE)
    assert (await fail(core, third, Reason.MODEL_UNAVAILABLE)).retry_run_id is None


async def test_a_waiting_retry_can_be_stopped(core: Core, clock: MoveableClock) -> None:
    """reliability.md 39: a stop ends the row of attempts."""
    await fail(core, await running(core))
    stopped = await core.runs.stop(ANN, "ticket-checker")
    assert (stopped.status, stopped.attempt) == (RunStatus.CANCELLED, 2)
    clock.advance(hours=2)
    assert await core.claims.claim_next(clock.now(), "boot", 10) is None


async def test_a_stop_is_obeyed_instead_of_putting_off(core: Core, clock: MoveableClock) -> None:
    claimed = await running(core)
    await core.runs.stop(ANN, "ticket-checker")
    assert not await core.claims.requeue(claimed, clock.now(), Reason.MODEL_UNAVAILABLE)
    assert (await fail(core, claimed, Reason.MODEL_UNAVAILABLE)).status is RunStatus.CANCELLED


async def test_a_failure_says_what_is_known(core: Core) -> None:
    claimed = await running(core)
    outcome = Outcome(
        RunStatus.FAILED,
        Reason.AGENT_ERROR,
        message="kayak.com did not answer within 60 s.\x00",
        detail="Traceback\x1b[0m",
        final_url="https://kayak.com/",
        final_title="Kayak",
        final_screenshot="final.png",
        exit_code=1,
        artifacts=[FINAL_PNG],
        metrics={"pages_loaded": 12, "http_requests": 247, "bytes_received": 8_300_000},
    )
    await core.claims.finish(claimed, outcome)
    run = await _run(core, claimed.run_id)
    assert run.error_message == "kayak.com did not answer within 60 s."
    assert run.error_stacktrace == "Traceback[0m"
    assert run.error_screenshot_url == "final.png"
    assert (run.pages_loaded, run.http_requests_made, run.data_transferred_bytes) == (12, 247, 8_300_000)


@pytest.mark.parametrize("reason", list(Reason))
async def test_every_reason_has_words(reason: Reason) -> None:
    assert WORDS[reason].endswith(".")
    assert not HINTS.get(reason, "").endswith(".")


async def test_the_average_is_of_completed_runs(core: Core, clock: MoveableClock) -> None:
    for seconds in (10, 20, 60):
        claimed = await running(core)
        clock.advance(seconds=seconds)
        await complete(core, claimed)
        await core.claims.removed(claimed)
    assert (await core.tasks.find(ANN, "ticket-checker")).avg_duration_seconds == 30


async def test_files_get_names_that_harm_nobody(core: Core) -> None:
    names = [
        "../../etc/passwd",
        "a.csv",
        "a.csv",
        "b/a.csv",
        "",
        "...",
        "x" * 400 + ".png",
        "c\\d\x00\n.txt",
        "über.pdf",
    ]
    claimed = await running(core)
    drafts = [ArtifactDraft(name, ArtifactKind.DOWNLOAD, "text/plain\n", 5, note="n\x00") for name in names]
    await core.claims.finish(claimed, completed(artifacts=[*drafts, FINAL_PNG]))
    kept = [artifact.name for artifact in await core.artifacts.of(claimed.run_id)]
    assert sorted(kept) == sorted(
        [
            "passwd",
            "a.csv",
            "a (2).csv",
            "a (3).csv",
            "file",
            "file (2)",
            "x" * 180 + ".png",
            "d.txt",
            "über.pdf",
            "final.png",
        ]
    )


async def test_files_move_to_the_store_in_their_own_time(core: Core) -> None:
    claimed = await running(core)
    await complete(core, claimed)
    (waiting,) = await core.artifacts.unstored()
    assert waiting.state is ArtifactState.LOCAL
    await core.artifacts.stored(waiting.id, "runs/1/final.png")
    assert await core.artifacts.unstored() == []
    found = await core.artifacts.find(ANN, claimed.run_id, "final.png")
    assert (found.state, found.location) == (ArtifactState.STORED, "runs/1/final.png")
    assert (await _run(core, claimed.run_id)).minio_artifacts == {"final.png": "runs/1/final.png"}
    with pytest.raises(Denied, match="can see the files of this run"):
        await core.artifacts.find(BOB, claimed.run_id, "final.png")
    with pytest.raises(NotFound, match=r"This run has no file `x\.png`"):
        await core.artifacts.find(ANN, claimed.run_id, "x.png")
    await core.artifacts.missing(found.id, "The disk was full.")
    assert (await core.artifacts.find(ANN, claimed.run_id, "final.png")).note == "The disk was full."
