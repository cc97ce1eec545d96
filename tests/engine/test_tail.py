"""The tail of an event log that grows, breaks off, and is written by somebody who means harm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ccdtasks.engine import tail
from ccdtasks.engine.guest import GuestFolder
from ccdtasks.engine.tail import EventTail


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def _tail(log: Path, offset: int = 0) -> EventTail:
    return EventTail(GuestFolder(log.parent), offset)


def _append(log: Path, data: bytes) -> None:
    with log.open("ab") as file:
        file.write(data)


def test_no_log_yet_is_nothing(log: Path) -> None:
    assert _tail(log).read().lines == []


def test_each_line_comes_once_and_in_order(log: Path) -> None:
    follow = _tail(log)
    _append(log, b"1\n2\n")
    assert follow.read().lines == [b"1", b"2"]
    assert follow.read().lines == []
    _append(log, b"3\n")
    assert follow.read().lines == [b"3"]


def test_a_partial_line_waits_for_its_end(log: Path) -> None:
    follow = _tail(log)
    _append(log, b"1\n2")
    first = follow.read()
    assert (first.lines, first.offset) == ([b"1"], 2)
    _append(log, b"2\n")
    assert follow.read().lines == [b"22"]


def test_a_new_follower_goes_on_from_the_offset(log: Path) -> None:
    _append(log, b"1\n2\n3\n")
    offset = _tail(log).read(max_lines=2).offset
    assert _tail(log, offset).read().lines == [b"3"]


def test_a_batch_has_a_size(log: Path) -> None:
    _append(log, b"1\n2\n3\n")
    follow = _tail(log)
    batch = follow.read(max_lines=2)
    assert batch.lines == [b"1", b"2"]
    assert batch.has_more
    batch = follow.read(max_lines=2)
    assert batch.lines == [b"3"]
    assert not batch.has_more


def _drain(follow: EventTail) -> tuple[list[bytes], list[str]]:
    lines, warnings = [], []
    while True:
        batch = follow.read()
        lines += batch.lines
        warnings += batch.warnings
        if not batch.has_more:
            return lines, warnings


def test_an_endless_line_is_passed_over_with_one_warning(log: Path) -> None:
    _append(log, b"1\n" + b"x" * (3 << 20) + b"\n2\n" + b"y" * (2 << 20) + b"\n3\n")
    lines, warnings = _drain(_tail(log))
    assert lines == [b"1", b"2", b"3"]
    assert warnings == ["A line of the event log was too long and was left out."]


def test_an_endless_line_that_still_grows_is_passed_over(log: Path) -> None:
    follow = _tail(log)
    for _ in range(5):
        _append(log, b"x" * 300_000)
        assert _drain(follow)[0] == []
    _append(log, b"\n2\n")
    assert _drain(follow)[0] == [b"2"]


def test_a_gigabyte_line_is_read_in_pieces(log: Path) -> None:
    """Sparse: it takes no disk, as a guest would do it; only the part below the limit of a log is looked at."""
    _append(log, b"1\n")
    os.truncate(log, 1 << 30)
    lines, warnings = _drain(_tail(log))
    assert lines == [b"1"]
    assert any("too large" in warning for warning in warnings)


def test_nuls_and_binary_are_lines_like_others(log: Path) -> None:
    _append(log, b"\0\0\n\xff\xfe\n")
    assert _tail(log).read().lines == [b"\0\0", b"\xff\xfe"]


def test_a_log_cut_short_tells_nothing_twice(log: Path) -> None:
    follow = _tail(log)
    _append(log, b"1\n2\n3\n")
    follow.read()
    log.write_bytes(b"1\n")
    batch = follow.read()
    assert batch.lines == []
    assert batch.warnings == ["The session cut its event log short."]
    assert follow.read().warnings == []


@pytest.mark.parametrize("trap", ["link", "pipe", "folder"])
def test_a_trap_in_the_place_of_the_log_neither_hangs_nor_leaks(log: Path, trap: str) -> None:
    secret = log.parent / "secret"
    secret.write_bytes(b"secret\n")
    if trap == "link":
        log.symlink_to(secret)
    elif trap == "pipe":
        os.mkfifo(log)
    else:
        log.mkdir()
    follow = _tail(log)
    batch = follow.read()
    assert batch.lines == []
    assert len(batch.warnings) == 1
    assert "cannot be read" in batch.warnings[0]
    assert follow.read().warnings == []


def test_a_log_beyond_its_limit_is_not_followed(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "LOG_BYTES_MAX", 4)
    _append(log, b"1\n2\n3\n4\n")
    lines, warnings = _drain(_tail(log))
    assert lines == [b"1", b"2"]
    assert len(warnings) == 1
