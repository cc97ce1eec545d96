"""A clock that tests move by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class MoveableClock:
    """Stands still until it is moved; wall clock and monotonic clock move apart, as on a real machine."""

    def __init__(self, start: datetime = datetime(2026, 1, 17, 15, 30, tzinfo=UTC)) -> None:
        self._now = start
        self._monotonic_s = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def advance(self, **duration: float) -> datetime:
        """Time passes: `advance(minutes=5)`; gives the new wall time."""
        passed = timedelta(**duration)
        self._now += passed
        self._monotonic_s += passed.total_seconds()
        return self._now

    def set(self, moment: datetime) -> None:
        """Somebody sets the wall clock; the monotonic one does not notice."""
        self._now = moment
