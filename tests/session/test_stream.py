from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from session.events import EventLog
from session.steps import Steps, title
from session.stream import Heard, Ready, Retry, Stream, TurnEnd


def fail(error: OSError) -> None:
    raise error


class Told:
    """A stream and what it told so far."""

    def __init__(self, path: Path) -> None:
        self.path, self.now = path, 0.0
        self.log = EventLog(path, 65_536, fail)
        self.steps = Steps(self.log, lambda: self.now)
        self.stream = Stream(self.log, self.steps)

    def events(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.path.read_bytes().splitlines()]
        return [{key: value for key, value in line.items() if key not in ("seq", "at")} for line in lines]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path / "events.jsonl")


def said(*blocks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "assistant", "message": {"model": "claude-sonnet-5", "content": list(blocks)}, **more}


def result_of(call_id: str, content: Any, is_error: bool = False) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": call_id, "content": content, "is_error": is_error}
    return {"type": "user", "message": {"role": "user", "content": [block]}}


INIT = {
    "type": "system", "subtype": "init", "model": "claude-sonnet-5", "tools": ["Bash"], "session_id": "s",
    "claude_code_version": "2.1.197", "mcp_servers": [{"name": "ccdtasks", "status": "connected"}],
}  # fmt: skip


def test_the_agent_is_announced_once_though_each_turn_begins_with_init(told: Told) -> None:
    assert told.stream.take(INIT) == Ready([], "2.1.197")
    told.stream.take(INIT)
    assert told.events() == [
        {
            "type": "agent_started", "model": "claude-sonnet-5", "tools": ["Bash"],
            "mcp_servers": {"ccdtasks": "connected"}, "claude_session_id": "s",
        }
    ]  # fmt: skip


def test_a_tool_server_that_is_missing_is_named(told: Told) -> None:
    notice = told.stream.take({**INIT, "mcp_servers": [{"name": "playwright", "status": "failed"}]})
    assert notice == Ready(["playwright: failed"], "2.1.197")


def test_texts_and_steps_with_their_time(told: Told) -> None:
    told.stream.take(said({"type": "text", "text": "Let me look."}, {"type": "thinking", "thinking": "hm"}))
    use = {
        "type": "tool_use",
        "id": "t1",
        "name": "mcp__playwright__browser_navigate",
        "input": {"url": "https://a.example/x"},
    }
    told.stream.take(said(use))
    told.now = 0.8124
    told.stream.take(result_of("t1", [{"type": "text", "text": "no such host"}, {"type": "image"}], is_error=True))
    assert told.events() == [
        {"type": "agent_text", "text": "Let me look."},
        {
            "type": "step_started", "step": 1, "tool": "mcp__playwright__browser_navigate",
            "title": "Opening a.example", "url": "https://a.example/x",
        },
        {"type": "step_finished", "step": 1, "ok": False, "duration_ms": 812, "error": "no such host"},
    ]  # fmt: skip
    assert [(step.step, step.ok, step.duration_ms) for step in told.steps.finished] == [(1, False, 812)]


def test_steps_that_never_ended_are_ended_with_the_session(told: Told) -> None:
    told.stream.take(said({"type": "tool_use", "id": "t1", "name": "Bash", "input": {"description": "Sorting"}}))
    told.steps.end_all("stopped")
    assert told.events()[-1] == {"type": "step_finished", "step": 1, "ok": False, "duration_ms": 0, "error": "stopped"}


def test_our_own_reports_are_no_steps(told: Told) -> None:
    told.stream.take(said({"type": "tool_use", "id": "t1", "name": "mcp__ccdtasks__report_progress", "input": {}}))
    told.stream.take(result_of("t1", "told"))
    assert told.events() == []


def test_an_api_error_is_a_failed_turn_though_the_cli_calls_it_success(told: Told) -> None:
    told.stream.take({**said({"type": "text", "text": "API Error"}, error="server_error"), "isApiErrorMessage": True})
    turn = told.stream.take(
        {
            "type": "result", "subtype": "success", "is_error": True, "result": "API Error", "api_error_status": 529,
            "num_turns": 2, "total_cost_usd": 0.5, "modelUsage": {"m": {"inputTokens": 7, "outputTokens": 2}},
        }
    )  # fmt: skip
    assert turn == TurnEnd(
        is_error=True, subtype="success", api_error_status=529, error="server_error", text="API Error", num_turns=2,
        cost_usd=0.5, usage={"m": {"input": 7, "output": 2, "cache_read": 0, "cache_write": 0}},
    )  # fmt: skip
    assert told.events() == []


def test_retries_are_told_and_remembered(told: Told) -> None:
    retry = {"type": "system", "subtype": "api_retry", "max_retries": 2, "retry_delay_ms": 512.3, "error_status": 529}
    assert told.stream.take({**retry, "attempt": 1}) == Retry(529, 1, 2)
    told.stream.take({**retry, "attempt": 2})
    turn = told.stream.take({"type": "result", "subtype": "success", "is_error": True})
    assert isinstance(turn, TurnEnd)
    assert turn.retried_out
    assert told.events()[0] == {"type": "api_retry", "attempt": 1, "max_attempts": 2, "status": 529, "delay_ms": 512}


def test_a_used_up_limit_is_remembered_with_its_end(told: Told) -> None:
    told.stream.take({"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": 1_800_000_000}})
    turn = told.stream.take({"type": "result", "subtype": "success", "is_error": True, "result": "limit"})
    assert isinstance(turn, TurnEnd)
    assert turn.reset_at == 1_800_000_000


def test_messages_that_were_heard_and_types_from_the_future(told: Told) -> None:
    assert told.stream.take({"type": "user", "isReplay": True, "message": {"content": "hi"}}) == Heard()
    assert told.stream.take({"type": "hologram", "subtype": "3d"}) is None
    assert told.stream.take({}) is None


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("mcp__playwright__browser_click", {"element": "Buy button", "ref": "e1"}, "Clicking Buy button"),
        ("mcp__playwright__browser_type", {"element": "Password", "text": "hunter2"}, "Typing into Password"),
        ("mcp__playwright__browser_snapshot", {}, "Reading the page"),
        ("mcp__playwright__browser_navigate", {"url": "nonsense"}, "Opening a page"),
        ("mcp__playwright__browser_new_trick", {}, "New trick"),
        ("Bash", {"command": "ls"}, "Running a command"),
        ("Bash", {"description": "x" * 200}, "x" * 79 + "…"),
        ("Write", {"file_path": "/home/agent/work/prices.csv"}, "Writing prices.csv"),
        ("mcp__ccdtasks__request_human", {}, "Waiting for a person"),
    ],
)
def test_steps_have_plain_words_and_never_what_is_typed(tool: str, arguments: dict[str, Any], words: str) -> None:
    assert title(tool, arguments) == words
