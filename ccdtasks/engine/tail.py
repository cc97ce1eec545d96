"""Reads a session's event log as it grows: complete lines, in order, each once, whatever the guest does to the file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ccdtasks.engine.guest import GuestFolder, Trap, parse_object

LINE_BYTES_MAX = 256 * 1024
"""Four times what the session promises: JSON escapes can make a text longer than it counted."""

LOG_BYTES_MAX = 256 << 20
_CHUNK_BYTES = 1 << 20
_TYPE = re.compile(r"[a-z][a-z_]{0,39}")


@dataclass(frozen=True, slots=True)
class EventLine:
    """One event of the session: `data` is what the line held besides seq, at and type."""

    seq: int
    at: datetime
    type: str
    data: dict[str, Any]


@dataclass(slots=True)
class Batch:
    """What one look brought: new events, the offset behind them, and what was wrong with the log."""

    events: list[EventLine] = field(default_factory=list)
    offset: int = 0
    warnings: list[str] = field(default_factory=list)
    has_more: bool = False


class EventTail:
    """Follows `events.jsonl` from `offset`; `seq` is the last event known, older ones are passed over.

    Blocking; call it in a thread. A log that was cut short is read from its start, and `seq` keeps what is known from
    being told twice.
    """

    def __init__(self, folder: GuestFolder, offset: int, seq: int, name: str = "events.jsonl") -> None:
        self._folder = folder
        self._name = name
        self._offset = offset
        self._seq = seq
        self._skips_line = False
        self._told: set[str] = set()

    def read(self, now: datetime, max_events: int = 100) -> Batch:
        """The next events, at most `max_events` of them. Never raises for what the guest did."""
        batch = Batch(offset=self._offset)
        try:
            with self._folder.open_file(self._name) as descriptor:
                self._read_from(descriptor, batch, now, max_events)
        except FileNotFoundError:
            pass
        except Trap as trap:
            self._warn(batch, f"The event log cannot be read: {trap}.")
        batch.offset = self._offset
        return batch

    def _read_from(self, descriptor: int, batch: Batch, now: datetime, max_events: int) -> None:
        size_bytes = os.fstat(descriptor).st_size
        if size_bytes < self._offset:
            self._warn(batch, "The session cut its event log short; it is read again from the start.")
            self._offset = 0
            self._skips_line = False
        if size_bytes > LOG_BYTES_MAX:
            self._warn(batch, "The event log is too large; what comes after its limit is not read.")
        end = min(size_bytes, LOG_BYTES_MAX)
        if self._offset >= end:
            return
        data = os.pread(descriptor, min(_CHUNK_BYTES, end - self._offset), self._offset)
        batch.has_more = self._offset + len(data) < end
        self._take(data, batch, now, max_events)

    def _take(self, data: bytes, batch: Batch, now: datetime, max_events: int) -> None:
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            if len(batch.events) >= max_events:
                batch.has_more = True
                self._offset += start
                return
            line = data[start:end]
            start = end + 1
            if self._skips_line:
                self._skips_line = False
            elif len(line) > LINE_BYTES_MAX:
                self._warn(batch, "A line of the event log was too long and was left out.")
            elif line.strip():
                self._take_line(line, batch, now)
        if len(data) - start > LINE_BYTES_MAX:
            if not self._skips_line:
                self._warn(batch, "A line of the event log was too long and was left out.")
            self._skips_line = True
            start = len(data)
        elif self._skips_line:
            start = len(data)
        self._offset += start

    def _take_line(self, line: bytes, batch: Batch, now: datetime) -> None:
        try:
            event = _event(parse_object(line), now)
        except Trap as trap:
            self._warn(batch, f"A line of the event log was left out: {trap}.")
            return
        if event.seq > self._seq:
            self._seq = event.seq
            batch.events.append(event)

    def _warn(self, batch: Batch, text: str) -> None:
        if text not in self._told:  # once a session: a guest must not fill our own log
            self._told.add(text)
            batch.warnings.append(text)


def _event(data: dict[str, Any], now: datetime) -> EventLine:
    seq, kind = data.pop("seq", None), data.pop("type", None)
    at = data.pop("at", None)
    if not isinstance(seq, int) or isinstance(seq, bool) or not 0 < seq < 1 << 53:
        raise Trap("its seq is not a positive number")
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        raise Trap("its type is not a word")
    return EventLine(seq, _moment(at, now), kind, data)


def _moment(text: Any, now: datetime) -> datetime:
    """The guest's own time if it is near ours, else ours: it must not be able to reorder a log."""
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return now
    return moment if abs(moment - now) < timedelta(days=2) else now
