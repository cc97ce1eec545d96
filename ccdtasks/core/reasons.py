"""Why runs fail, in words for a home user, and which failures are worth another try."""

from __future__ import annotations

import random
from datetime import timedelta

from ccdtasks.core.taskconfig import Retries
from ccdtasks.db.enums import Reason

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
    Reason.TIMEOUT: "a longer timeout may help: /task-edit",
    Reason.BUDGET: "raise `budget_usd` of the task: /task-edit",
    Reason.BLOCKED: "a rarer schedule may help, or a visit of your own first: /task-login",
    Reason.LOGIN_REQUIRED: "log in once, and its runs stay logged in: /task-login",
    Reason.UNCLEAR_RESULT: "say in the prompt what counts as an answer: /task-edit",
    Reason.AGENT_ERROR: "/task-logs shows where it got stuck",
    Reason.MODEL_AUTH: "fix `[claude] api_key`, then `ccdtasks doctor`",
    Reason.IMAGE_MISSING: "build it with `ccdtasks image build`",
    Reason.ENGINE_UNAVAILABLE: "`ccdtasks doctor` says what is wrong",
    Reason.DISK_FULL: "make room, then start the task again",
    Reason.OUT_OF_MEMORY: "raise `[podman] memory_mib`",
}

_SHORTEST_S = 5.0


def backoff(retries: Retries, attempt: int, lot: random.Random) -> timedelta:
    """How long to wait after the failed `attempt` (from 1): drawn by lot below a bound that doubles up to the cap."""
    bound = min(retries.cap_s, retries.backoff_s * 2 ** min(attempt - 1, 30))
    return timedelta(seconds=max(min(_SHORTEST_S, bound), lot.uniform(0, bound)))
