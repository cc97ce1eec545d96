"""What fails again and again: the same kind of failure at the same place, in words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.records.reasons import hint_for
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.db.models import Task, TaskRun

_STARTS = 5
_ATTEMPTS = 50  # each start may have up to ten

_KINDS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"err_name_not_resolved|could not be found|no such host", re.I), "unknown address"),
    (
        re.compile(r"err_(timed_out|connection_timed_out)|timed? ?out|timeout|did not answer", re.I),
        "navigation timeout",
    ),
    (re.compile(r"err_(tunnel|proxy|blocked|access_denied)", re.I), "address not allowed"),
    (re.compile(r"err_(connection|network|address|internet|empty_response|http2|quic)", re.I), "connection refused"),
    (re.compile(r"err_(cert|ssl)", re.I), "broken certificate"),
)
"""What the words of a failed visit mean; the first that fits counts."""

_NAMES: dict[Reason, str] = {
    Reason.TIMEOUT: "time limit",
    Reason.BUDGET: "budget used up",
    Reason.BLOCKED: "refused as a robot",
    Reason.LOGIN_REQUIRED: "login asked for",
    Reason.UNCLEAR_RESULT: "unclear result",
    Reason.AGENT_ERROR: "Claude gave up",
    Reason.MODEL_AUTH: "API key refused",
    Reason.MODEL_UNAVAILABLE: "Claude did not answer",
    Reason.SESSION_CRASHED: "browser crash",
    Reason.OUT_OF_MEMORY: "out of memory",
    Reason.DISK_FULL: "disk full",
    Reason.LOST: "session lost",
    Reason.IMAGE_MISSING: "image missing",
    Reason.ENGINE_UNAVAILABLE: "Podman did not answer",
    Reason.DEPENDENCY_FAILED: "an earlier task failed",
    Reason.INTERRUPTED: "interrupted",
}
_OF_A_VISIT = frozenset({Reason.AGENT_ERROR, Reason.TIMEOUT, Reason.UNCLEAR_RESULT})
_HINTS = {
    "unknown address": "check the address in the prompt: `/task-edit {task} prompt`",
    "address not allowed": "it reaches public sites only; an admin may open others: `[egress] allow_private`",
    "connection refused": "open the site yourself; it may be down",
    "broken certificate": "open the site yourself; its certificate may have expired",
}
_AT_A_PLACE = _OF_A_VISIT | {Reason.BLOCKED, Reason.LOGIN_REQUIRED, Reason.SESSION_CRASHED, Reason.OUT_OF_MEMORY}


@dataclass(frozen=True, slots=True)
class Pattern:
    """A kind of failure (`navigation timeout`), the host it is about, and in how many of the last starts it came."""

    kind: str
    host: str | None
    count: int
    of_last: int
    hint: str | None

    @property
    def words(self) -> str:
        """`navigation timeout on kayak.com`"""
        return f"{self.kind} on {self.host}" if self.host else self.kind


async def pattern_of(session: AsyncSession, run: TaskRun) -> Pattern:
    """The kind of a run's failure, and how often the last attempts of the task's last five starts failed alike."""
    columns = (
        TaskRun.id,
        TaskRun.retry_of,
        TaskRun.status,
        TaskRun.reason,
        TaskRun.error_message,
        TaskRun.final_url,
        TaskRun.step_timings,
    )
    recent = await session.execute(
        select(*columns)
        .where(TaskRun.task_id == run.task_id, TaskRun.completed_at.is_not(None))
        .order_by(TaskRun.created_at.desc(), TaskRun.attempt.desc())
        .limit(_ATTEMPTS)
    )
    starts: dict[UUID, Any] = {}
    for row in recent:
        starts.setdefault(row.retry_of or row.id, row)
    last = list(starts.values())[:_STARTS]
    mine = failure_of(run)
    count = sum(row.status is RunStatus.FAILED and failure_of(row) == mine for row in last)
    kind, host = mine
    hint = _hint_for(kind, run, await session.get_one(Task, run.task_id))
    return Pattern(kind, host, count, len(last), hint or None)


def _hint_for(kind: str, run: TaskRun, task: Task) -> str:
    """The hint that fits the kind of failure; without one of its own that of the run's reason."""
    if kind == "navigation timeout":
        return hint_for(run, task, Reason.TIMEOUT)
    if kind == "address not allowed" and task.config.get("allowed_domains"):
        return f"let it visit the site: `/task-edit {task.task_name} allowed_domains`"
    return _HINTS.get(kind, "").format(task=task.task_name) or hint_for(run, task)


def failure_of(run: Any) -> tuple[str, str | None]:
    """Kind and host of a failure. `run`: a row with `reason`, `error_message`, `step_timings` and `final_url`."""
    reason = run.reason or Reason.AGENT_ERROR
    kind = _NAMES[reason]
    if reason in _OF_A_VISIT:
        said = f"{run.error_message or ''} {_last_error(run.step_timings)}"
        kind = next((name for pattern, name in _KINDS if pattern.search(said)), kind)
    try:
        host = urlsplit(run.final_url or "").hostname if reason in _AT_A_PLACE else None
    except ValueError:
        host = None
    return kind, host.removeprefix("www.") if host else None


def _last_error(steps: list[dict[str, Any]] | None) -> str:
    """What the last step said when it failed; nothing when it did not."""
    last = steps[-1] if steps else {}
    return "" if last.get("ok", True) else str(last.get("error") or "")
