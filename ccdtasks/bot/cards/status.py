"""How a state looks: its sign, its colour and its word, the same everywhere in Discord."""

from __future__ import annotations

from dataclasses import dataclass

from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.db.models import TaskRun

GREY = 0x80848E
BLUE = 0x3B82F6
AMBER = 0xF59E0B
GREEN = 0x22A06B
RED = 0xD9363E
VIOLET = 0x8B5CF6


@dataclass(frozen=True, slots=True)
class Look:
    """Colour never carries meaning alone: the sign and the word stand beside it."""

    sign: str
    word: str
    colour: int


LOOKS: dict[RunStatus, Look] = {
    RunStatus.SCHEDULED: Look("◌", "planned", GREY),
    RunStatus.WAITING_DEPENDENCY: Look("◌", "waiting for another task", GREY),
    RunStatus.QUEUED: Look("◌", "waiting", GREY),
    RunStatus.STARTING: Look("▶", "starting", BLUE),
    RunStatus.RUNNING: Look("▶", "running", BLUE),
    RunStatus.NEEDS_HUMAN: Look("✋", "needs you", AMBER),
    RunStatus.COLLECTING: Look("▶", "finishing", BLUE),
    RunStatus.COMPLETED: Look("✓", "done", GREEN),
    RunStatus.FAILED: Look("✕", "failed", RED),
    RunStatus.CANCELLED: Look("■", "stopped", GREY),
}

OPEN_QUESTIONS: dict[Reason, Look] = {
    Reason.BLOCKED: Look("?", "refused as a robot", VIOLET),
    Reason.UNCLEAR_RESULT: Look("?", "result unclear", VIOLET),
    Reason.LOGIN_REQUIRED: Look("?", "login needed", VIOLET),
}

ADVICE: dict[Reason, str] = {
    Reason.BLOCKED: "That is no change of what you watch.",
    Reason.UNCLEAR_RESULT: "It does not count as a result.",
    Reason.MODEL_UNAVAILABLE: "Nothing is wrong with your task.",
    Reason.LOST: "Most likely the machine was restarted.",
    Reason.TIMEOUT: "What was found until then is kept.",
    Reason.BUDGET: "What was found until then is kept.",
}
"""What a failure means, for those whose own sentence leaves that open."""


def look_of(run: TaskRun) -> Look:
    """The look of a run's state; a failure that leaves a question open has a look of its own."""
    if run.status is RunStatus.FAILED and run.reason in OPEN_QUESTIONS:
        return OPEN_QUESTIONS[run.reason]
    return LOOKS[run.status]
