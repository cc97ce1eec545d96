"""What a session's end means: from its last word, its container and our own doing to one reason in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ccdtasks.adapters.containers import ContainerState
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.engine.guest import printable

_KILLED = 137  # 128 + SIGKILL
_WORDS_MAX = 500
_KEY_REFUSED = "Claude refused the API key, so all runs wait."
_OAUTH_REFUSED = "Claude refused the token in `[claude] oauth_token`, so all runs wait."
_NO_KEY = "There is no key for Claude in the configuration, so all runs wait."
NO_CREDIT = "The Claude account has no credit left, so all runs wait until there is some."

_REASONS = {
    "agent_error": Reason.AGENT_ERROR,
    "model_unavailable": Reason.MODEL_UNAVAILABLE,
    "usage_limit": Reason.MODEL_UNAVAILABLE,
    "model_auth": Reason.MODEL_UNAVAILABLE,
    "budget": Reason.BUDGET,
    "max_turns": Reason.AGENT_ERROR,
    "session_crashed": Reason.SESSION_CRASHED,
    "timeout": Reason.TIMEOUT,
    "stopped": Reason.INTERRUPTED,
}
"""What a session says of its end. A refused credential or a usage limit concerns all runs, so it counts only when our
gateway saw it too; a session that says it alone has failed alone."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why we ended a session ourselves. Without a `reason` somebody asked for it."""

    reason: Reason | None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the run ends. `not_before`: it is put back into the queue until then instead."""

    status: RunStatus
    reason: Reason | None = None
    words: str | None = None
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class ModelSaid:
    """What the model gateway of a session saw: a refused credential, an empty account, a limit, a budget used up.

    `credential`: the kind of the one that it has, `api_key` or `oauth_token`; None without any.
    """

    credential: str | None = "api_key"
    auth_failed: bool = False
    lacks_credit: bool = False
    limited_until: datetime | None = None
    exhausted: str | None = None


@dataclass(frozen=True, slots=True)
class End:
    """A session that is over, as we saw it.

    `state` is None when there is no container any more. `last_word`: `exit.json`, None without one. `oom_kills`: the
    kernel's, while it could be asked. `is_rebooted`: the machine was restarted since the session began.
    """

    state: ContainerState | None
    last_word: Mapping[str, Any] | None
    cause: Cause | None = None
    oom_kills: int = 0
    memory_mib: int = 0
    is_rebooted: bool = False
    model: ModelSaid = ModelSaid()


def judge(end: End, now: datetime) -> Verdict:
    """The verdict. Completed only by the session's own last word; Podman's exit code alone proves nothing."""
    if end.cause is not None and end.cause.reason is None:
        return Verdict(RunStatus.CANCELLED)
    word = end.last_word
    if word is not None and word.get("outcome") == "completed" and word.get("result_submitted") is True:
        return Verdict(RunStatus.COMPLETED)  # even when we were about to end it: the work is done
    if end.cause is not None:
        return Verdict(RunStatus.FAILED, end.cause.reason, end.cause.words)
    known = _by_model(end.model, now)
    if known is not None:
        return known
    return _by_last_word(word, end) if word is not None else _by_traces(end)


def _by_model(said: ModelSaid, now: datetime) -> Verdict | None:
    """What the gateway knows is the cause, whatever the session makes of it."""
    if said.exhausted is not None:
        return Verdict(RunStatus.FAILED, Reason.BUDGET, said.exhausted)
    if said.auth_failed:
        return Verdict(RunStatus.FAILED, Reason.MODEL_AUTH, _words_of_refusal(said))
    if said.limited_until is not None and said.limited_until > now:
        return Verdict(RunStatus.QUEUED, Reason.MODEL_UNAVAILABLE, not_before=said.limited_until)
    return None


def _words_of_refusal(said: ModelSaid) -> str:
    if said.credential is None:
        return _NO_KEY
    if said.lacks_credit:
        return NO_CREDIT
    return _OAUTH_REFUSED if said.credential == "oauth_token" else _KEY_REFUSED


def _by_last_word(word: Mapping[str, Any], end: End) -> Verdict:
    said = word.get("reason")
    words = _words(word.get("message"))
    if word.get("outcome") == "completed":
        return Verdict(RunStatus.COMPLETED)  # the core finds what evidence is lacking
    reason = _REASONS.get(said, Reason.AGENT_ERROR) if isinstance(said, str) else Reason.AGENT_ERROR
    if reason is Reason.INTERRUPTED:
        return Verdict(RunStatus.FAILED, reason, "The session was ended from outside.")
    if reason is Reason.SESSION_CRASHED and end.oom_kills:
        return _out_of_memory(end, is_sure=True)
    return Verdict(RunStatus.FAILED, reason, words)


def _by_traces(end: End) -> Verdict:
    """No last word: the session did not end by itself."""
    state = end.state
    if end.is_rebooted:
        return Verdict(RunStatus.FAILED, Reason.LOST, "The machine was restarted while the task ran.")
    if state is None:
        return Verdict(RunStatus.FAILED, Reason.LOST, "The container of the run is gone; somebody may have removed it.")
    if state.running:
        return Verdict(RunStatus.FAILED, Reason.LOST, "The container of the run died without a trace.")
    if state.oom_killed or end.oom_kills:
        return _out_of_memory(end, is_sure=True)
    if state.exit_code == _KILLED:
        return _out_of_memory(end, is_sure=False)
    code = f"exit code {state.exit_code}" if state.exit_code is not None else "no exit code"
    return Verdict(RunStatus.FAILED, Reason.SESSION_CRASHED, f"The browser session ended without a word ({code}).")


def _out_of_memory(end: End, *, is_sure: bool) -> Verdict:
    limit = f"its {end.memory_mib:,} MiB of memory"
    how = f"used up {limit}" if is_sure else f"was killed, most likely because it used up {limit}"
    return Verdict(RunStatus.FAILED, Reason.OUT_OF_MEMORY, f"The browser session {how}.")


def _words(message: object) -> str | None:
    return printable(message)[:_WORDS_MAX] if isinstance(message, str) and message.strip() else None
