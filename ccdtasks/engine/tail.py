"""Reads a session's event log as it grows: complete lines, in order, each once, whatever the guest does to the file."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from ccdtasks.engine.guest import GuestFolder, Trap

LINE_BYTES_MAX = 66 * 1024
"""What the session promises, and a little for its line's own frame."""

LOG_BYTES_MAX = 256 << 20
_CHUNK_BYTES = 1 << 20


@dataclass(slots=True)
class Batch:
    """What one look brought: complete lines, the offset behind them, and what was wrong with the log."""

    offset: int
    lines: list[bytes] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    has_more: bool = False


class EventTail:
    """Follows a log from `offset`, in bytes; what lies before it is known and never read again.

    Blocking; call it in a thread. A log that was cut short or exchanged is gone on with from where we were.
    """

    def __init__(self, folder: GuestFolder, offset: int, name: str = "events.jsonl") -> None:
        self._folder = folder
        self._name = name
        self._offset = offset
        self._skips_line = False
        self._told: set[str] = set()

    def read(self, max_lines: int = 100) -> Batch:
        """The next lines, at most `max_lines` of them. Never raises for what the guest did."""
        batch = Batch(self._offset)
        try:
            with self._folder.open_file(self._name) as descriptor:
                self._read_from(descriptor, batch, max_lines)
        except FileNotFoundError:
            pass
        except Trap as trap:
            self._warn(batch, f"The event log cannot be read: {trap}.")
        batch.offset = self._offset
        return batch

    def _read_from(self, descriptor: int, batch: Batch, max_lines: int) -> None:
        size_bytes = os.fstat(descriptor).st_size
        if size_bytes < self._offset:
            self._warn(batch, "The session cut its event log short.")
        if size_bytes > LOG_BYTES_MAX:
            self._warn(batch, "The event log is too large; what comes after its limit is not read.")
        end = min(size_bytes, LOG_BYTES_MAX)
        if self._offset < end:
            data = os.pread(descriptor, min(_CHUNK_BYTES, end - self._offset), self._offset)
            before = self._offset
            self._take(data, batch, max_lines)
            batch.has_more = self._offset > before and self._offset < end

    def _take(self, data: bytes, batch: Batch, max_lines: int) -> None:
        start = 0
        while len(batch.lines) < max_lines and (end := data.find(b"\n", start)) >= 0:
            line = data[start:end]
            start = end + 1
            if self._skips_line:
                self._skips_line = False
            elif len(line) > LINE_BYTES_MAX:
                self._warn_long(batch)
            elif line.strip():
                batch.lines.append(line)
        if len(batch.lines) < max_lines and len(data) - start > (0 if self._skips_line else LINE_BYTES_MAX):
            # The rest is one line without an end that is too long already: pass over it piece by piece.
            self._skips_line = True
            self._warn_long(batch)
            start = len(data)
        self._offset += start

    def _warn_long(self, batch: Batch) -> None:
        self._warn(batch, "A line of the event log was too long and was left out.")

    def _warn(self, batch: Batch, text: str) -> None:
        if text not in self._told:  # once a session: a guest must not fill our own log
            self._told.add(text)
            batch.warnings.append(text)
