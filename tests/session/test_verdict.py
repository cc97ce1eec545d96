from __future__ import annotations

from typing import Any

import pytest

from session.stream import Retry, TurnEnd
from session.verdict import Ending, Patience, Say, after_crash, after_turn, failure, on_retry


def broken(text: str = "", **facts: Any) -> TurnEnd:
    return TurnEnd(is_error=True, subtype=facts.pop("subtype", "success"), text=text, **facts)


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        (broken(subtype="error_max_turns"), "max_turns"),
        (broken(subtype="error_max_budget_usd"), "budget"),
        (broken("API Error: 401 invalid x-api-key", api_error_status=401), "model_auth"),
        (broken("Not logged in · Please run /login"), "model_auth"),
        (broken("Invalid API key", error="authentication_failed"), "model_auth"),
        (broken("Credit balance is too low", api_error_status=400, error="billing_error"), "model_auth"),
        (broken("API Error: The run's budget of $5 is used up", api_error_status=403), "budget"),
        (broken("API Error: The run is over.", api_error_status=403), "stopped"),
        (broken("API Error: 403 permission", api_error_status=403), "model_auth"),
        (broken("You've hit your limit · resets 3pm", api_error_status=429, reset_at=1_800_000_000), "usage_limit"),
        (broken("API Error: 429", api_error_status=429, error="rate_limit"), "usage_limit"),
        (broken("API Error: 529 Overloaded", api_error_status=529), "model_unavailable"),
        (broken("API Error: Connection closed mid-response"), "model_unavailable"),
        (broken("API Error: Unable to connect to API (ECONNREFUSED)", error="unknown"), "model_unavailable"),
        (broken("API Error: 404 model not found", api_error_status=404, error="model_not_found"), "agent_error"),
        (broken("Prompt is too long", terminal_reason="blocking_limit"), "agent_error"),
    ],
)
def test_each_way_to_fail_has_its_reason(turn: TurnEnd, reason: str) -> None:
    assert failure(turn).reason == reason


def test_a_used_up_limit_says_when_it_ends() -> None:
    assert failure(broken("hit your limit", reset_at=1_800_000_000)).reset_at == "2027-01-15T08:00:00.000000Z"


def test_an_agent_that_forgets_the_result_is_reminded_once() -> None:
    patience, done = Patience(), TurnEnd(is_error=False, subtype="success")
    first = after_turn(done, False, patience)
    assert isinstance(first, Say)
    assert "submit_result" in first.text
    assert after_turn(done, False, patience) == Ending("completed")


def test_an_answer_that_broke_off_is_continued_twice_and_then_given_up() -> None:
    patience, cut = Patience(), broken("API Error: Connection closed mid-response")
    assert isinstance(after_turn(cut, False, patience), Say)
    assert isinstance(after_turn(cut, False, patience), Say)
    ending = after_turn(cut, False, patience)
    assert isinstance(ending, Ending)
    assert ending.reason == "model_unavailable"


def test_a_model_that_the_cli_asked_ten_times_is_not_asked_again() -> None:
    ending = after_turn(broken("API Error: 529", api_error_status=529, retried_out=True), False, Patience())
    assert isinstance(ending, Ending)


def test_what_breaks_after_the_result_was_handed_in_does_not_matter() -> None:
    assert after_turn(broken("API Error: 529", api_error_status=529), True, Patience()) == Ending("completed")
    assert after_crash(Patience(), True, 137) == Ending("completed")


def test_a_cli_that_dies_is_started_once_more() -> None:
    patience = Patience()
    assert isinstance(after_crash(patience, False, 137), Say)
    ending = after_crash(patience, False, 137)
    assert isinstance(ending, Ending)
    assert ending.reason == "session_crashed"
    assert "137" in (ending.message or "")


def test_a_refused_credential_is_not_tried_for_three_minutes() -> None:
    ending = on_retry(Retry(401, 1, 10))
    assert ending is not None
    assert ending.reason == "model_auth"
    assert on_retry(Retry(529, 1, 10)) is None
