"""A run waits for somebody, and the shell shows what it asks and answers it."""

from __future__ import annotations

from typing import Any

from ccdtasks.app import open_core
from ccdtasks.config import Config, PathsConfig
from ccdtasks.core.access import SHELL
from ccdtasks.core.runs.claims import Claim
from tests.cli.conftest import Place, in_thread
from tests.stories import lines, running

COLOUR = {"type": "question", "request_id": "q1", "question": "Which\ncolour?", "choices": ["red", "blue"]}
LOGIN = {"type": "human_needed", "request_id": "h1", "reason": "login", "detail": "Please log in."}


async def _waiting(place: Place, *events: dict[str, Any]) -> Claim:
    async with open_core(Config(paths=PathsConfig(data_dir=place.data_dir))) as core:
        claimed = await running(core, "mugs", actor=SHELL)
        await core.claims.record(claimed, lines(*events), 1)
        return claimed


async def test_a_question_is_shown_and_answered(place: Place) -> None:
    run = (await _waiting(place, COLOUR)).run_id.hex[:8]
    assert "Which colour? (red, blue)" in (await in_thread(place.run, "runs")).out
    (row,) = (await in_thread(place.run, "runs", "--json")).json()
    assert (row["status"], row["asks"]["text"], row["asks"]["choices"]) == (
        "needs_human",
        "Which\ncolour?",
        ["red", "blue"],
    )
    done = await in_thread(place.run, "answer", run)
    assert done.code == 4
    assert done.err == "error: It asks a question, so it needs an answer. (hint: choose: red, blue)\n"
    done = await in_thread(place.run, "answer", run, "BLUE", "--json")
    assert done.json()["request"] == {
        "reason": "question",
        "text": "Which\ncolour?",
        "outcome": "answered",
        "answer": "blue",
        "answered_by": "shell",
    }
    assert done.json()["asks"] is None
    again = await in_thread(place.run, "answer", run, "red", "--json")
    assert again.code == 6
    assert again.error() == {"code": "conflict", "message": "That was answered already by the shell.", "hint": ""}


async def test_a_call_is_done_or_skipped(place: Place) -> None:
    run = (await _waiting(place, LOGIN, {**LOGIN, "request_id": "h2"})).run_id.hex[:8]
    assert f"mugs ({run}) hears that it is done and goes on." in (await in_thread(place.run, "answer", run)).out
    assert f"mugs ({run}) hears that it is skipped" in (await in_thread(place.run, "answer", run, "--skip")).out


async def test_something_is_said_to_a_run_that_works(place: Place) -> None:
    run = (await _waiting(place)).run_id.hex[:8]
    assert f"mugs ({run}) hears it in a moment." in (await in_thread(place.run, "say", run, "and hurry")).out
    assert (await in_thread(place.run, "say", run, "and hurry", "--json")).json()["task"] == "mugs"
    refused = await in_thread(place.run, "answer", run, "yes")
    assert (refused.code, refused.err) == (6, "error: This run does not wait for anybody.\n")
    assert (await in_thread(place.run, "say", "ffff0000", "hello")).code == 3
