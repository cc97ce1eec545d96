"""How a run ends: the terminal move, and every row that follows from it in the same transaction."""

from __future__ import annotations

import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.config import Config
from ccdtasks.core.definition.taskconfig import read_config
from ccdtasks.core.ending.asking import Asking
from ccdtasks.core.ending.chains import Chains
from ccdtasks.core.ending.streaks import count_failure
from ccdtasks.core.facts import MODEL_AUTH, USAGE_LIMIT, Facts, credential_fingerprint
from ccdtasks.core.outbox import Outbox
from ccdtasks.core.outcome.changes import Changes
from ccdtasks.core.outcome.results import Result, stored_result
from ccdtasks.core.outcome.rules import judge
from ccdtasks.core.phone.pushes import Pushes
from ccdtasks.core.records import recording
from ccdtasks.core.records.artifacts import ArtifactDraft, Artifacts
from ccdtasks.core.records.counting import count_run
from ccdtasks.core.records.lineage import next_attempt
from ccdtasks.core.records.moves import move
from ccdtasks.core.records.patterns import pattern_of
from ccdtasks.core.records.reasons import HINTS, RETRIED, WORDS, WORDS_OF_LIMIT, backoff
from ccdtasks.core.states import FINAL
from ccdtasks.core.text import clean_line, clean_text, clean_url
from ccdtasks.db.enums import ArtifactKind, ArtifactState, Effect, MessageType, Reason, RunStatus, Trigger
from ccdtasks.db.models import Session, Task, TaskRun
from ccdtasks.times import Clock


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, as the engine saw it; what it claims is checked against the evidence.

    `message`: plain words for people; `detail`: the tail of a log. `final_screenshot`: the name of its draft in
    `artifacts`. `metrics` as in `exit.json`. `ended_at`: when the session was over, which may be long before anybody
    saw it; None for just now.
    """

    status: RunStatus
    reason: Reason | None = None
    message: str | None = None
    detail: str | None = None
    final_url: str | None = None
    final_title: str | None = None
    final_screenshot: str | None = None
    exit_code: int | None = None
    ended_at: datetime | None = None
    artifacts: Sequence[ArtifactDraft] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ended:
    """The final state that was written, and the retry that follows, if any."""

    run_id: UUID
    status: RunStatus
    reason: Reason | None
    retry_run_id: UUID | None = None
    retry_at: datetime | None = None


class Endings:
    """Writes terminal transactions for the engine's claims and for people's stops."""

    def __init__(
        self,
        *,
        config: Config,
        clock: Clock,
        outbox: Outbox,
        artifacts: Artifacts,
        facts: Facts,
        chains: Chains,
        asking: Asking,
        pushes: Pushes,
        lot: random.Random | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._outbox = outbox
        self._artifacts = artifacts
        self._facts = facts
        self._chains = chains
        self._asking = asking
        self._pushes = pushes
        self._lot = lot or secrets.SystemRandom()

    async def end(
        self,
        session: AsyncSession,
        run: TaskRun,
        outcome: Outcome,
        attempt: Session | None = None,
        changes: Changes | None = None,
    ) -> Ended:
        """Ends `run` in the caller's transaction; raises Lost when it ended already. `attempt`: its open session.

        `changes`: what its result says that the last good one did not. When no retry follows, what depends on the run
        goes on in the same transaction.
        """
        ended = await self._end(session, run, outcome, attempt, changes)
        if ended.retry_run_id is None:
            await self._chains.go_on(session, run, self._end_waiting)
        return ended

    async def settle_chains(self, session: AsyncSession) -> None:
        """Looks again at runs that wait for others: what they wait for, or whether they may run, has changed."""
        await self._chains.settle_all(session, self._end_waiting)

    async def _end_waiting(self, session: AsyncSession, run: TaskRun, status: RunStatus, words: str) -> None:
        """Ends a run of a chain that never started."""
        reason = Reason.DEPENDENCY_FAILED if status is RunStatus.FAILED else None
        await self._end(session, run, Outcome(status, reason, words))

    async def _end(
        self,
        session: AsyncSession,
        run: TaskRun,
        outcome: Outcome,
        attempt: Session | None = None,
        changes: Changes | None = None,
    ) -> Ended:
        now = self._clock.now()
        outcome = judged(run, outcome)
        task = await session.get_one(Task, run.task_id)
        if outcome.status is RunStatus.COMPLETED and run.status is not RunStatus.COLLECTING:
            run = await move(session, run.id, RunStatus.COLLECTING, epoch=run.epoch)
        run = await move(
            session,
            run.id,
            outcome.status,
            epoch=run.epoch,
            reason=outcome.reason,
            completed_at=now,
            deadline_at=None,
            required_intervention=False,
            vnc_session_active=False,
        )
        await self._asking.close(session, run, now)
        over_at = _over_at(run, outcome, now)
        _describe(run, outcome, over_at)
        await self._keep_files(session, run, outcome, attempt)
        if attempt:
            attempt.exit_code = outcome.exit_code
            recording.end_attempt(run, attempt, over_at)
            await recording.sum_traffic(session, run, attempt, [outcome.metrics] if outcome.metrics else [])
        _count(task, run)
        if run.status is RunStatus.COMPLETED:
            _weigh(task, run, changes)
        values = (run.result_data or {}).get("values")
        await count_run(session, run, task, values, timezone=self._config.schedule.timezone, now=now)
        retry = await self._retry(session, task, run)
        if outcome.reason is Reason.MODEL_AUTH:
            await self._hold(session, run)
        await self._tell(session, task, run, retry)
        if retry is None:
            await count_failure(session, self._outbox, task, run, now)
        return Ended(run.id, run.status, run.reason, retry.id if retry else None, retry.not_before if retry else None)

    async def _keep_files(self, session: AsyncSession, run: TaskRun, outcome: Outcome, attempt: Session | None) -> None:
        rows = await self._artifacts.add(session, run, attempt.id if attempt else None, outcome.artifacts)
        run.output_files = [row.name for row in rows if row.kind is not ArtifactKind.LOG]
        if run.status is RunStatus.FAILED and outcome.final_screenshot:
            run.error_screenshot_url = clean_line(outcome.final_screenshot, 255)

    async def _retry(self, session: AsyncSession, task: Task, run: TaskRun) -> TaskRun | None:
        """The next attempt of a failed run as a row, when its reason, its task and its attempts allow one."""
        retries = read_config(task.config).retries
        acted = task.effect is Effect.ACTS and run.started_at is not None
        if run.status is not RunStatus.FAILED or run.reason not in RETRIED or acted or task.deleted_at:
            return None
        if run.attempt >= retries.attempts:
            return None
        now = self._clock.now()
        not_before = now + backoff(retries, run.attempt, self._lot)
        return await next_attempt(session, run, now, trigger=Trigger.RETRY, not_before=not_before)

    async def _hold(self, session: AsyncSession, run: TaskRun) -> None:
        """A refused credential pauses the whole queue, with one alert however many runs meet it."""
        said = run.error_message or WORDS[Reason.MODEL_AUTH]
        words = f"{said} {HINTS[Reason.MODEL_AUTH].capitalize()}."
        if await self._facts.hold(session, MODEL_AUTH, words, credential_fingerprint(self._config.claude)):
            await self._alert(session, MODEL_AUTH, {"text": words, "severity": "critical"})

    async def hold_until(self, session: AsyncSession, until: datetime) -> None:
        """The model's usage limit pauses the whole queue until it is lifted, with one alert."""
        if await self._facts.hold(session, USAGE_LIMIT, WORDS_OF_LIMIT, until=until):
            payload = {"text": WORDS_OF_LIMIT, "severity": "warning", "until": until.isoformat()}
            await self._alert(session, USAGE_LIMIT, payload)

    async def _alert(self, session: AsyncSession, name: str, payload: dict[str, Any]) -> None:
        """Says it in the notification channel, as a message of its own each time the queue is held."""
        key = f"alert:{name}:{self._clock.now():%Y%m%dT%H%M%S}"
        await self._outbox.put(session, None, key, MessageType.NOTIFICATION, payload)

    async def _tell(self, session: AsyncSession, task: Task, run: TaskRun, retry: TaskRun | None) -> None:
        payload: dict[str, Any] = {
            "status": run.status.value,
            "reason": run.reason.value if run.reason else None,
            "message": run.error_message,
            "attempt": run.attempt,
            "attempts": read_config(task.config).retries.attempts,
        }
        if run.status is RunStatus.COMPLETED:
            if (run.news or {})["is_told"]:  # else the live card shows the result, and nobody is called
                await self._tell_result(session, task, run, payload)
        elif run.status is RunStatus.CANCELLED:
            await self._outbox.put(
                session, run, "result", MessageType.NOTIFICATION, {**payload, "by": run.stop_requested_by}
            )
        elif retry and retry.not_before:
            payload |= {"retry_at": retry.not_before.isoformat(), "retry_run_id": str(retry.id)}
            await self._outbox.put(session, run, "result", MessageType.TASK_ERROR, {**payload, "ping": False})
            await self._outbox.put(session, retry, "card", MessageType.LIVE_CARD)
        else:
            payload |= await _advice(session, run)
            # the owner was called for the failure that all others of the chain come from, and when the money was spent
            is_echo = run.reason is Reason.DEPENDENCY_FAILED or (run.reason is Reason.BUDGET and not run.started_at)
            is_called = task.notify_on_error and not is_echo
            await self._outbox.put(session, run, "result", MessageType.TASK_ERROR, {**payload, "ping": is_called})
            if is_called:
                await self._pushes.tell_failed(session, task, run)
        await self._outbox.touch(session, run.id, "card")
        if retry is None:
            await self._conclude(session, run)

    async def _tell_result(self, session: AsyncSession, task: Task, run: TaskRun, payload: dict[str, Any]) -> None:
        is_called = task.notify_on_complete
        await self._outbox.put(session, run, "result", MessageType.RESULT, {**payload, "ping": is_called})
        if is_called:
            await self._pushes.tell_completed(session, task, run)

    async def _conclude(self, session: AsyncSession, run: TaskRun) -> None:
        """Tells in the first run's opening message how it all ended; its thread is named by it."""
        first = await session.get_one(TaskRun, run.retry_of) if run.retry_of else run
        said = (run.result_summary or "") if run.status is RunStatus.COMPLETED else (run.error_message or "")
        payload = {"ended": run.status.value, "answer": clean_line(said, 300)}
        await self._outbox.put(session, first, "opening", MessageType.RUN_OPENING, payload)


def judged(run: TaskRun, outcome: Outcome) -> Outcome:
    """The outcome by the evidence: a wish to stop wins; nothing is completed without result, picture and address."""
    if run.stop_requested_at is not None:
        return replace(outcome, status=RunStatus.CANCELLED, reason=None)
    if outcome.status not in FINAL:
        raise ValueError(f"{outcome.status} is no final state")
    if outcome.status is RunStatus.CANCELLED:
        return replace(outcome, reason=None)
    if outcome.status is RunStatus.FAILED:
        return replace(outcome, reason=outcome.reason or Reason.AGENT_ERROR)
    result = stored_result(run.result_data)
    lacks = None
    if result is None:
        lacks = (run.live or {}).get("result_refused") or "The run ended without a result."
    elif result.is_empty:
        lacks = "The run ended with an empty result."
    elif not _has_picture(outcome):
        lacks = "The run left no picture of its last page."
    elif clean_url(outcome.final_url) is None and result.evidence_url is None and not run.upstream_runs:
        lacks = "The run left no address of its last page."
    if lacks:
        return replace(outcome, status=RunStatus.FAILED, reason=Reason.UNCLEAR_RESULT, message=lacks)
    return replace(outcome, reason=None)


def _weigh(task: Task, run: TaskRun, changes: Changes | None) -> None:
    """Decides by the task's rule whether a good result is told, and notes why; asks for a chart of its values."""
    result = stored_result(run.result_data) or Result()
    rows = len(result.items) + sum(map(len, result.tables.values()))
    rule = read_config(task.config).notify
    verdict = judge(rule, result, changes, run.parameters, rows)
    run.news = {"changes": changes.as_json() if changes else None, "rule": rule, **asdict(verdict)}
    run.chart_wanted = bool(result.values) and task.success_count > 1


def _has_picture(outcome: Outcome) -> bool:
    return any(
        draft.name == outcome.final_screenshot
        and draft.kind is ArtifactKind.SCREENSHOT
        and draft.state is not ArtifactState.MISSING
        for draft in outcome.artifacts
    )


def _over_at(run: TaskRun, outcome: Outcome, now: datetime) -> datetime:
    """When the run was over; never before its start nor after now, however a clock was set meanwhile."""
    return min(now, max(outcome.ended_at or now, run.started_at or now))


def _describe(run: TaskRun, outcome: Outcome, over_at: datetime) -> None:
    run.duration_seconds = _seconds(run.started_at, over_at)
    run.final_url = clean_url(outcome.final_url) or run.final_url
    run.final_title = clean_line(outcome.final_title, 300) if outcome.final_title else run.final_title
    run.error_stacktrace = clean_text(outcome.detail, 20_000) if outcome.detail else None
    if outcome.reason:
        run.error_message = clean_text(outcome.message, 1000) if outcome.message else WORDS[outcome.reason]
    elif outcome.message and run.status is RunStatus.CANCELLED and run.stop_requested_at is None:
        run.error_message = clean_text(outcome.message, 1000)


def _count(task: Task, run: TaskRun) -> None:
    """Counters count runs that really started or failed; a wish that was taken back in time is no run."""
    if run.status is RunStatus.CANCELLED and run.started_at is None:
        return
    task.run_count += 1
    if run.status is RunStatus.FAILED:
        task.failure_count += 1
    if run.status is RunStatus.COMPLETED:
        task.success_count += 1
        average, duration = task.avg_duration_seconds, run.duration_seconds or 0
        task.avg_duration_seconds = (
            duration if average is None else round(average + (duration - average) / task.success_count)
        )


async def _advice(session: AsyncSession, run: TaskRun) -> dict[str, Any]:
    """What may help, and whether it happens often."""
    pattern = await pattern_of(session, run)
    return {
        "hint": pattern.hint,
        "pattern": pattern.words,
        "same_reason": pattern.count,
        "of_last": pattern.of_last,
    }


def _seconds(since: datetime | None, now: datetime) -> int | None:
    return max(0, int((now - since).total_seconds())) if since else None
