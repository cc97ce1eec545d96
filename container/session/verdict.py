"""What follows from the way a turn of the agent ended. Pure: no clock, no process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from session import prompt
from session.events import timestamp
from session.stream import Retry, TurnEnd

MAX_CONTINUES = 2


@dataclass(frozen=True)
class Ending:
    """How the session ends; the words of `exit.json`."""

    outcome: Literal["completed", "failed", "stopped"]
    reason: str | None = None
    message: str | None = None
    reset_at: str | None = None


@dataclass(frozen=True)
class Say:
    """Go on: give the agent this message, after a pause."""

    text: str
    why: str
    after_s: float = 0


@dataclass
class Patience:
    """How often we already kept the agent going."""

    reminded: bool = False
    continued: int = 0


def after_turn(turn: TurnEnd, has_result: bool, patience: Patience) -> Say | Ending:
    """Whether the session goes on after a turn, and how it ends otherwise. Counts in `patience`."""
    if not turn.is_error:
        if has_result or patience.reminded:
            return Ending("completed")
        patience.reminded = True
        return Say(prompt.REMINDER, "reminded")
    ending = failure(turn)
    if has_result and ending.reason != "session_crashed":
        return Ending("completed")  # all that failed came after the work was handed in
    # An answer that broke off half way is not asked for again by the CLI; one that never began is, ten times.
    if ending.reason == "model_unavailable" and not turn.retried_out and patience.continued < MAX_CONTINUES:
        patience.continued += 1
        return Say(prompt.CONTINUE, "continued", after_s=2.0 * patience.continued)
    return ending


def after_crash(patience: Patience, has_result: bool, exit_code: int | None) -> Say | Ending:
    """The CLI ended without a word: it is started once more on its saved conversation."""
    if has_result:
        return Ending("completed")
    if patience.continued < 1:
        patience.continued += 1
        return Say(prompt.CONTINUE, "restarted")
    return Ending("failed", "session_crashed", f"The agent's program ended unexpectedly (exit code {exit_code}).")


def on_retry(retry: Retry) -> Ending | None:
    """Retrying a refused credential is pointless; the CLI would do so for three minutes."""
    if retry.status == 401:
        return Ending("failed", "model_auth", "The model API refused the credential.")
    return None


def failure(turn: TurnEnd) -> Ending:
    """The reason of a turn that ended in an error."""
    text = " ".join(turn.text.split())[:500]
    if turn.subtype == "error_max_turns":
        return Ending("failed", "max_turns", "The agent used up its number of turns.")
    if turn.subtype == "error_max_budget_usd":
        return Ending("failed", "budget", "The agent used up its budget.")
    return _api_failure(turn, text) or Ending("failed", "agent_error", text or "The agent failed.")


def _api_failure(turn: TurnEnd, text: str) -> Ending | None:
    status, lower = turn.api_error_status, text.lower()
    ending = None
    if turn.reset_at is not None or "hit your limit" in lower or "usage limit" in lower:
        ending = Ending("failed", "usage_limit", text, _reset(turn.reset_at))
    elif "budget" in lower and "used up" in lower:  # our gateway's words, before an answer or in the middle of one
        ending = Ending("failed", "budget", "The budget is used up.")
    elif "run is over" in lower:
        ending = Ending("stopped", "stopped", "The run is over.")
    elif turn.error == "billing_error" or "credit balance" in lower:
        ending = Ending("failed", "model_auth", "The model account has no credit left.")
    elif status in (401, 403) or turn.error == "authentication_failed" or "not logged in" in lower:
        ending = Ending("failed", "model_auth", f"The model API refused the credential: {text}")
    elif status == 429 or turn.error == "rate_limit":
        ending = Ending("failed", "usage_limit", text)
    elif (status is not None and status >= 500) or turn.error == "server_error" or _broke_off(lower):
        ending = Ending("failed", "model_unavailable", f"The model API did not answer: {text}")
    return ending


def _broke_off(lower: str) -> bool:
    """Words of the CLI for a connection that was lost; it gives no status then."""
    signs = ("connection closed", "connection error", "overloaded", "timed out", "unable to connect", "econn")
    return "api error" in lower and any(sign in lower for sign in signs)


def _reset(epoch_s: int | None) -> str | None:
    return timestamp(datetime.fromtimestamp(epoch_s, UTC)) if epoch_s is not None else None
