"""Why runs fail, in words for a home user, and which failures are worth another try."""

from __future__ import annotations

import random
from datetime import timedelta
from math import ceil

from ccdtasks.core.definition.taskconfig import Retries, read_config
from ccdtasks.db.enums import Reason
from ccdtasks.db.models import Task, TaskRun

RETRIED = frozenset(
    {
        Reason.TIMEOUT,
        Reason.AGENT_ERROR,
        Reason.UNCLEAR_RESULT,
        Reason.MODEL_UNAVAILABLE,
        Reason.SESSION_CRASHED,
        Reason.OUT_OF_MEMORY,
        Reason.LOST,
        Reason.ENGINE_UNAVAILABLE,
        Reason.INTERRUPTED,
    }
)
"""Failures that may pass by themselves. A wrong key, a spent budget, a missing image, a full disk or a login do not."""

WORDS: dict[Reason, str] = {
    Reason.TIMEOUT: "The run took longer than its time limit.",
    Reason.BUDGET: "The run used up its budget.",
    Reason.BLOCKED: "The site refused the visit as a robot.",
    Reason.LOGIN_REQUIRED: "The site asks for a login.",
    Reason.UNCLEAR_RESULT: "The run ended without an answer that can be trusted.",
    Reason.AGENT_ERROR: "Claude gave up before it had a result.",
    Reason.MODEL_AUTH: "Claude refused the API key, so all runs wait.",
    Reason.MODEL_UNAVAILABLE: "Claude did not answer.",
    Reason.SESSION_CRASHED: "The browser session crashed.",
    Reason.OUT_OF_MEMORY: "The browser session ran out of memory.",
    Reason.DISK_FULL: "The disk is full.",
    Reason.LOST: "The browser session disappeared.",
    Reason.IMAGE_MISSING: "The session image is missing.",
    Reason.ENGINE_UNAVAILABLE: "Podman did not start the browser session.",
    Reason.DEPENDENCY_FAILED: "A task that this one needs has failed.",
    Reason.INTERRUPTED: "The run was interrupted.",
}
"""What is said when the run itself left no better words."""

WORDS_OF_LIMIT = "Claude's usage limit is reached."
"""Why all runs wait until a moment that front ends add in their own way."""

HINTS: dict[Reason, str] = {
    Reason.TIMEOUT: "a longer timeout may help: `/task-edit {task} timeout {timeout}`",
    Reason.BUDGET: "allow it more: `/task-edit {task} budget {budget}`",
    Reason.BLOCKED: "{rarer}",
    Reason.LOGIN_REQUIRED: "it cannot log in yet, so name pages that need no login: `/task-edit {task} prompt`",
    Reason.UNCLEAR_RESULT: "say in the prompt what counts as an answer: `/task-edit {task} prompt`",
    Reason.AGENT_ERROR: "see where it got stuck: `/task-logs {run}`",
    Reason.MODEL_AUTH: "fix `[claude] api_key`, then `ccdtasks doctor`",
    Reason.IMAGE_MISSING: "build it with `ccdtasks image build`",
    Reason.ENGINE_UNAVAILABLE: "`ccdtasks doctor` says what is wrong",
    Reason.DISK_FULL: "make room, then start the task again",
    Reason.OUT_OF_MEMORY: "give sessions more memory: `[podman] memory_mib` in the configuration",
}
"""What may help, with the gaps that `hint_for` fills."""


def hint_for(run: TaskRun, task: Task, reason: Reason | None = None) -> str:
    """What may help against a failure, as the very command to type; empty when nothing is known to.

    `reason`: another one than the run's own.
    """
    hint = HINTS.get(reason or run.reason or Reason.AGENT_ERROR, "")
    return hint.format(
        task=task.task_name,
        run=str(run.id)[:8],
        timeout=_longer_s(run, task),
        budget=_more_usd(run, task),
        rarer=_rarer(task),
    )


def _rarer(task: Task) -> str:
    if task.schedule_cron is None:
        return "wait some hours before the next try"
    return f"a rarer schedule may help: `/task-schedule {task.task_name} @daily`"


def _longer_s(run: TaskRun, task: Task) -> int:
    """Twice the time that was too short, an hour at least, in whole hours."""
    short_s = max(run.duration_seconds or 0, read_config(task.config).timeout_s or 0)
    return min(24, max(1, -(-2 * short_s // 3600))) * 3600


def _more_usd(run: TaskRun, task: Task) -> int:
    """Twice the money that was too little, in whole dollars."""
    return min(1000, max(1, ceil(2 * max(run.cost_usd or 0, read_config(task.config).budget_usd or 0))))


_SHORTEST_S = 5.0


def backoff(retries: Retries, attempt: int, lot: random.Random) -> timedelta:
    """How long to wait after the failed `attempt` (from 1): drawn by lot below a bound that doubles up to the cap."""
    bound = min(retries.cap_s, retries.backoff_s * 2 ** min(attempt - 1, 30))
    return timedelta(seconds=max(min(_SHORTEST_S, bound), lot.uniform(0, bound)))
