from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from session.events import EventLog


def fail(error: OSError) -> None:
    raise error


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_events_are_numbered_dated_and_in_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path, 1000, fail, lambda: datetime(2026, 1, 17, 15, 30, 0, 123456, UTC))
    log.emit("progress", text="one")
    log.emit("progress", text="two")
    assert read(path) == [
        {"seq": 1, "at": "2026-01-17T15:30:00.123456Z", "type": "progress", "text": "one"},
        {"seq": 2, "at": "2026-01-17T15:30:00.123456Z", "type": "progress", "text": "two"},
    ]
    assert log.last_seq == 2
    log.close()


def test_a_text_too_long_for_a_line_is_cut_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path, 4096, fail)
    log.emit("agent_text", text="\U0001f4a1" * 100_000)
    log.emit("result", items=[{"lamp": "x" * 100, "price": n} for n in range(5000)])
    log.close()
    assert all(len(line) < 4096 for line in path.read_bytes().splitlines())
    text, result = read(path)
    assert text["cut"] is True
    assert text["text"].startswith("\U0001f4a1")
    assert result["cut"] is True
    assert result["items"][0]["price"] == 0


def test_half_an_emoji_does_not_break_the_log(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path, 4096, fail)
    log.emit("agent_text", text="half \ud83d")
    log.close()
    assert read(path)[0]["text"] == "half ?"


def test_a_full_disk_is_told_once_and_breaks_nothing_else() -> None:
    told: list[OSError] = []
    log = EventLog(Path("/dev/full"), 4096, told.append)
    log.emit("progress", text="one")
    log.emit("progress", text="two")
    log.close()
    assert [error.strerror for error in told] == ["No space left on device"]
    assert log.last_seq == 0
