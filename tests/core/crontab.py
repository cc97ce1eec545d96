"""crontab(5) by brute force: every minute of real time, and every minute of the wall clock. Slow, hard to get wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def times(expression: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """All times after `start` up to `end`, in UTC, as crontab(5) and cron(8) of Debian describe them."""
    fields = expression.split()
    is_wild = fields[0].startswith("*") or fields[1].startswith("*")
    return sorted(set(_real(fields, zone, start, end) if is_wild else _fixed(fields, zone, start, end)))


def _real(fields: list[str], zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
    moment = start.replace(second=0, microsecond=0) + MINUTE
    while moment <= end:
        if _matches(fields, moment.astimezone(zone)):
            yield moment
        moment += MINUTE


def _fixed(fields: list[str], zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
    """Each time that the calendar has, once: when it is first shown, or as soon as the clock is past its gap."""
    wall = (start - timedelta(days=2)).replace(tzinfo=None, second=0, microsecond=0)
    while wall <= (end + timedelta(days=2)).replace(tzinfo=None):
        if _matches(fields, wall):
            shown = wall
            while (moment := shown.replace(tzinfo=zone).astimezone(UTC)).astimezone(zone).replace(tzinfo=None) != shown:
                shown += MINUTE
            if start < moment <= end:
                yield moment
        wall += MINUTE


def _matches(fields: list[str], shown: datetime) -> bool:
    minute, hour, day, month, weekday = (_values(*pair) for pair in zip(fields, RANGES, strict=True))
    if shown.minute not in minute or shown.hour not in hour or shown.month not in month:
        return False
    on_day, on_weekday = shown.day in day, shown.isoweekday() in weekday or shown.isoweekday() % 7 in weekday
    if fields[2].startswith("*") or fields[4].startswith("*"):
        return on_day and on_weekday
    return on_day or on_weekday


def _values(field: str, bounds: tuple[int, int]) -> set[int]:
    found: set[int] = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        low, dash, high = span.partition("-")
        first, last = bounds if span == "*" else (int(low), int(high) if dash else int(low))
        found |= set(range(first, last + 1, int(step or 1)))
    return found
