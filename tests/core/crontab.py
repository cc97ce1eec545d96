"""crontab(5) by brute force: every minute of real time, and every minute of the wall clock. Slow, hard to get wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
NAMES = {name: number for number, name in enumerate(MONTHS, 1)} | {name: number for number, name in enumerate(WEEKDAYS)}
MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


@dataclass(frozen=True)
class Table:
    """The values of the five fields, and how the two fields of days go together."""

    minutes: set[int]
    hours: set[int]
    days: set[int]
    months: set[int]
    weekdays: set[int]
    is_wild: bool
    both_must_fit: bool

    def matches(self, shown: datetime) -> bool:
        if shown.minute not in self.minutes or shown.hour not in self.hours or shown.month not in self.months:
            return False
        on_day = shown.day in self.days
        on_weekday = shown.isoweekday() in self.weekdays or shown.isoweekday() % 7 in self.weekdays
        return (on_day and on_weekday) if self.both_must_fit else (on_day or on_weekday)


def times(expression: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """All times after `start` up to `end`, in UTC, as crontab(5) and cron(8) of Debian describe them."""
    table = read(expression)
    return sorted(set(_real(table, zone, start, end) if table.is_wild else _fixed(table, zone, start, end)))


def read(expression: str) -> Table:
    """What the text says, macros and names and all."""
    fields = MACROS.get(expression.lower(), expression.lower()).split()
    return Table(
        *(_values(*pair) for pair in zip(fields, RANGES, strict=True)),
        is_wild=fields[0].startswith("*") or fields[1].startswith("*"),
        both_must_fit=fields[2].startswith("*") or fields[4].startswith("*"),
    )


def _real(table: Table, zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
    moment = start.replace(second=0, microsecond=0) + MINUTE
    while moment <= end:
        if table.matches(moment.astimezone(zone)):
            yield moment
        moment += MINUTE


def _fixed(table: Table, zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
    """Each time that the calendar has, once: when it is first shown, or as soon as the clock is past its gap."""
    wall = (start - timedelta(days=2)).replace(tzinfo=None, second=0, microsecond=0)
    while wall <= (end + timedelta(days=2)).replace(tzinfo=None):
        if table.matches(wall):
            shown = wall
            while (moment := shown.replace(tzinfo=zone).astimezone(UTC)).astimezone(zone).replace(tzinfo=None) != shown:
                shown += MINUTE
            if start < moment <= end:
                yield moment
        wall += MINUTE


def _values(field: str, bounds: tuple[int, int]) -> set[int]:
    found: set[int] = set()
    for term in field.split(","):
        span, slash, step = term.partition("/")
        low, dash, high = span.partition("-")
        if span == "*":
            first, last = bounds
        else:
            first = _number(low)
            last = _number(high) if dash else bounds[1] if slash else first
        found |= set(range(first, last + 1, int(step or 1)))
    return found


def _number(text: str) -> int:
    return NAMES[text] if text in NAMES else int(text)
