"""Time as data: a clock that is passed in, and the few ways we write times for people."""

from __future__ import annotations

import time
from datetime import UTC, datetime, tzinfo
from typing import Protocol
from zoneinfo import ZoneInfo


class Clock(Protocol):
    """Where time comes from; tests pass one they can move."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go backwards within one boot."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()


def duration_text(seconds: float) -> str:
    """`38 s`, `2 m 38 s`, `1 h 5 m`: at most two units, rounded down, never negative."""
    total = max(0, int(seconds))
    hours, minutes, rest = total // 3600, total % 3600 // 60, total % 60
    if hours:
        return f"{hours} h {minutes} m" if minutes else f"{hours} h"
    if minutes:
        return f"{minutes} m {rest} s" if rest else f"{minutes} m"
    return f"{rest} s"


def size_text(size_bytes: int) -> str:
    """`812 B`, `5.2 KB`, `8.3 MB`: decimal units, as file managers and Discord show them."""
    value = float(size_bytes)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def local_text(moment: datetime, timezone: str) -> str:
    """`2026-01-18 06:00 PST`: for places that cannot show the reader's own clock; UTC for a timezone that is gone."""
    try:
        zone: tzinfo = ZoneInfo(timezone)
    except (KeyError, OSError, ValueError):
        zone = UTC
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")
