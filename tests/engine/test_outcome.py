"""What the end of a session is called."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ccdtasks.adapters.containers import ContainerState
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.engine.outcome import Cause, End, ModelSaid, Verdict, judge

NOW = datetime(2026, 1, 17, 15, 30, tzinfo=UTC)
COMPLETED = {"outcome": "completed", "result_submitted": True}


def _state(exit_code: int | None = 0, **facts: Any) -> ContainerState:
    return ContainerState(
        name="c", container_id="1", labels={}, status="exited", **{"running": False, **facts}, exit_code=exit_code
    )


def _judge(word: dict[str, Any] | None, state: ContainerState | None = None, **facts: Any) -> Verdict:
    return judge(End(state=state or _state(), last_word=word, memory_mib=3072, **facts), NOW)


def test_only_its_own_word_makes_a_session_completed() -> None:
    assert _judge(COMPLETED).status is RunStatus.COMPLETED
    assert _judge(None, _state(0)) == Verdict(
        RunStatus.FAILED, Reason.SESSION_CRASHED, "The browser session ended without a word (exit code 0)."
    )


def test_somebodys_stop_is_no_failure() -> None:
    assert _judge(None, cause=Cause(None)).status is RunStatus.CANCELLED
    assert _judge({"outcome": "stopped", "reason": "stopped"}, cause=Cause(None)).status is RunStatus.CANCELLED


def test_work_that_was_done_in_the_last_moment_counts() -> None:
    assert _judge(COMPLETED, cause=Cause(Reason.TIMEOUT, "late")).status is RunStatus.COMPLETED
    for word in ({"outcome": "stopped"}, {"outcome": "completed", "result_submitted": False}, None):
        assert _judge(word, cause=Cause(Reason.TIMEOUT, "late")) == Verdict(RunStatus.FAILED, Reason.TIMEOUT, "late")


def test_a_stop_from_outside_is_an_interruption() -> None:
    assert _judge({"outcome": "stopped", "reason": "stopped"}).reason is Reason.INTERRUPTED


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("agent_error", Reason.AGENT_ERROR),
        ("model_unavailable", Reason.MODEL_UNAVAILABLE),
        ("budget", Reason.BUDGET),
        ("max_turns", Reason.AGENT_ERROR),
        ("session_crashed", Reason.SESSION_CRASHED),
        ("timeout", Reason.TIMEOUT),
        ("made up", Reason.AGENT_ERROR),
        (["a", "list"], Reason.AGENT_ERROR),
        (None, Reason.AGENT_ERROR),
    ],
)
def test_the_sessions_reason_is_taken_over(said: Any, reason: Reason) -> None:
    verdict = _judge({"outcome": "failed", "reason": said, "message": "Because."})
    assert verdict == Verdict(RunStatus.FAILED, reason, "Because.")


def test_hostile_words_are_made_harmless() -> None:
    verdict = _judge({"outcome": "failed", "reason": "agent_error", "message": "\x1b[31m" + "x" * 5000})
    assert verdict.words is not None
    assert "\x1b" not in verdict.words
    assert len(verdict.words) == 500
    assert _judge({"outcome": "failed", "message": {"a": 1}}).words is None


def test_out_of_memory_is_certain_when_the_kernel_says_so() -> None:
    words = "The browser session used up its 3,072 MiB of memory."
    for verdict in (
        _judge(None, _state(137, oom_killed=True)),
        _judge(None, _state(1), oom_kills=1),
        _judge({"outcome": "failed", "reason": "session_crashed"}, oom_kills=2),
    ):
        assert verdict == Verdict(RunStatus.FAILED, Reason.OUT_OF_MEMORY, words)


def test_a_kill_that_was_not_ours_is_most_likely_memory() -> None:
    verdict = _judge(None, _state(137))
    assert verdict.reason is Reason.OUT_OF_MEMORY
    assert "most likely" in (verdict.words or "")


def test_no_container_or_a_dead_one_is_lost() -> None:
    assert judge(End(state=None, last_word=None), NOW).reason is Reason.LOST
    assert _judge(None, _state(None, running=True, pid_alive=False)).reason is Reason.LOST


def test_a_reboot_is_named() -> None:
    verdict = _judge(None, _state(None), is_rebooted=True)
    assert verdict.reason is Reason.LOST
    assert "restarted" in (verdict.words or "")


def test_a_usage_limit_that_our_gateway_saw_waits_until_it_is_lifted() -> None:
    until = NOW + timedelta(hours=3)
    for word in ({"outcome": "failed", "reason": "usage_limit"}, {"outcome": "failed", "reason": "agent_error"}, None):
        verdict = _judge(word, model=ModelSaid(limited_until=until))
        assert verdict == Verdict(RunStatus.QUEUED, Reason.MODEL_UNAVAILABLE, None, not_before=until)
    assert _judge(COMPLETED, model=ModelSaid(limited_until=until)).status is RunStatus.COMPLETED
    assert _judge(None, cause=Cause(None), model=ModelSaid(limited_until=until)).status is RunStatus.CANCELLED
    late = _judge({"outcome": "failed", "reason": "usage_limit"}, model=ModelSaid(limited_until=NOW))
    assert (late.status, late.reason) == (RunStatus.FAILED, Reason.MODEL_UNAVAILABLE)


@pytest.mark.parametrize("said", ["usage_limit", "model_auth"])
def test_a_session_cannot_stop_all_runs_by_what_it_says(said: str) -> None:
    word = {"outcome": "failed", "reason": said, "reset_at": (NOW + timedelta(hours=3)).isoformat()}
    verdict = _judge(word)
    assert (verdict.status, verdict.reason, verdict.not_before) == (RunStatus.FAILED, Reason.MODEL_UNAVAILABLE, None)


def test_a_refused_credential_is_what_the_gateway_saw() -> None:
    for word in ({"outcome": "failed", "reason": "agent_error", "message": "hm"}, None):
        verdict = _judge(word, model=ModelSaid(auth_failed=True))
        assert verdict.reason is Reason.MODEL_AUTH
        assert verdict.words == "Claude refused the API key, so all runs wait."
    for kind, said in ((None, "There is no key for Claude"), ("oauth_token", "refused the token")):
        assert said in (_judge(None, model=ModelSaid(kind, auth_failed=True)).words or "")
    verdict = _judge(None, model=ModelSaid(auth_failed=True, lacks_credit=True))
    assert "has no credit left" in (verdict.words or "")


def test_a_budget_that_ran_out_is_named() -> None:
    said = "This month's budget of $50.00 is used up ($50.02 spent)."
    for word in ({"outcome": "completed", "result_submitted": False}, {"outcome": "failed"}, None):
        assert _judge(word, model=ModelSaid(exhausted=said)) == Verdict(RunStatus.FAILED, Reason.BUDGET, said)
