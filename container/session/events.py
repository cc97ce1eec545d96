"""The log of what happened: `guest/events.jsonl`, which the host follows while the session runs."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# How an event that is too long is cut: longest text and longest list that stay, step by step until the line fits.
_CUTS = ((8_192, 200), (2_048, 50), (512, 20), (128, 5), (32, 1))


def utc_now() -> datetime:
    return datetime.now(UTC)


class EventLog:
    """Appends events with a gap-free `seq`; each line is in the file before `emit` returns.

    When the file takes no more (the host's disk is full), `on_broken` is called once and nothing more is written.
    """

    def __init__(
        self,
        path: Path,
        max_line_bytes: int,
        on_broken: Callable[[OSError], None],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._max_line_bytes = max_line_bytes
        self._on_broken = on_broken
        self._now = now
        self._is_broken = False
        self.last_seq = 0

    def emit(self, kind: str, /, **data: Any) -> None:
        """Write one event. Texts and lists that make it longer than a line may be are cut, and `cut` says so."""
        if self._is_broken:
            return
        head = {"seq": self.last_seq + 1, "at": timestamp(self._now()), "type": kind}
        line = _fit({**head, **data}, self._max_line_bytes)
        try:
            while line:  # a write may take only a part
                line = line[os.write(self._file, line) :]
        except OSError as error:
            self._is_broken = True
            self._on_broken(error)
        else:
            self.last_seq += 1

    def close(self) -> None:
        """Make sure that a power cut cannot take the last lines."""
        with contextlib.suppress(OSError):
            os.fsync(self._file)
        os.close(self._file)


def timestamp(moment: datetime) -> str:
    """`2026-01-17T15:30:00.123456Z`"""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _fit(event: dict[str, Any], max_bytes: int) -> bytes:
    line = _encode(event)
    for text, items in _CUTS:
        if len(line) <= max_bytes:
            break
        line = _encode({**_cut(event, text, items), "cut": True})
    return line


def _encode(event: dict[str, Any]) -> bytes:
    # A lone surrogate (half an emoji, cut by a model) has no UTF-8 form.
    text = json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace") + b"\n"


def _cut(value: Any, text: int, items: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= text else value[:text] + "\u2026"
    if isinstance(value, list):
        return [_cut(item, text, items) for item in value[:items]]
    if isinstance(value, dict):
        kept = list(value.items())[: max(items, 20)]
        return {_cut(key, text, items): _cut(item, text, items) for key, item in kept}
    return value
