"""Times that happen once, as people type them: `at 2026-12-24 09:00`, `tomorrow 9:00`, `in 2h 30m`.

Also `at 2026-12-24T08:00:00Z`, as they are stored and exported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from ccdtasks.core.calendar.cron import placed
from ccdtasks.core.calendar.timezones import wall_of
from ccdtasks.core.spans import read_span
from ccdtasks.core.text import clean_line, shown
from ccdtasks.errors import Invalid
from ccdtasks.times import local_text

_FARTHEST = timedelta(days=5 * 366)
_AT = re.compile(
    r"(?:at\s+)?(?:(?P<date>\d{4}-\d{1,2}-\d{1,2})(?:\s*,\s*|\s+|t)|(?P<day>today|tomorrow)\s+(?:at\s+)?|at\s+)"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.\d+)?)?)?\s*(?P<half>am|pm)?"
    r"\s*(?P<offset>z|utc|gmt|[+-]\d{2}:?\d{2})?\Z",
    re.ASCII | re.IGNORECASE,
)
_AT_HINT = "write at 2026-12-24 09:00, tomorrow 9:00, or at 18:30"
_IN_HINT = "write in 20m, in 2h 30m, or in 3 days"
_DAYS = ("today", "tomorrow")
_WORDS = ("at", "in", *_DAYS)
_STORED = "at "


@dataclass(frozen=True, slots=True)
class Once:
    """One moment in UTC. `remark`: what was done about a time that a clock change swallows or shows twice."""

    moment: datetime
    remark: str = ""

    @property
    def text(self) -> str:
        """As it is stored: unmistakable, whatever becomes of timezones."""
        return f"{_STORED}{self.moment:%Y-%m-%dT%H:%M:%SZ}"

    def next_after(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        """The moment, as long as it lies ahead."""
        return self.moment if self.moment > moment else None


def is_oneshot(text: str) -> bool:
    """Whether it is meant as a time that happens once, and not as cron."""
    words = text.strip().lower().split()
    return bool(words) and (words[0] in _WORDS or words[-1] in _DAYS or bool(re.match(r"\d{4}-", words[0])))


def stored_oneshot(text: str) -> Once:
    """The time that a task's row holds."""
    return Once(datetime.strptime(text.removeprefix(_STORED), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC))


def read_oneshot(text: str, zone: ZoneInfo, now: datetime) -> Once:
    """What somebody typed, read on the clock of `zone`. Raises Invalid("time"), also for a time that has passed."""
    typed = clean_line(text, 100)
    once = _span(typed, now) if typed.lower().startswith("in ") or typed.lower() == "in" else _wall(typed, zone, now)
    if once.moment <= now:
        raise Invalid("time", f"{local_text(once.moment, zone.key)} has passed.", "choose a time in the future")
    if once.moment > now + _FARTHEST:
        raise Invalid(
            "time", f"{local_text(once.moment, zone.key)} is more than five years away.", "choose an earlier one"
        )
    return once


def _span(typed: str, now: datetime) -> Once:
    """`in 2h 30m`: so much time passes, whatever the clocks on the wall do."""
    total = read_span(typed[2:], "time", _IN_HINT)
    if not total:
        raise Invalid("time", "`in` needs a length of time.", _IN_HINT)
    moment = now + total
    return Once(moment.replace(microsecond=0) + timedelta(seconds=bool(moment.microsecond)))


def _wall(typed: str, zone: ZoneInfo, now: datetime) -> Once:
    """A time that a clock in `zone` shows, or one that names its distance from UTC."""
    found = _AT.match(_day_first(typed))
    if found is None:
        raise _no_time(typed)
    clock, today = _clock(found), wall_of(now, zone).date()
    if found["offset"]:
        return _exact(found, clock)
    if found["date"]:
        return _placed(datetime.combine(_date(found["date"]), clock), zone)
    if found["day"]:
        return _placed(datetime.combine(today + timedelta(days=found["day"].lower() == "tomorrow"), clock), zone)
    once = _placed(datetime.combine(today, clock), zone)
    return once if once.moment > now else _placed(datetime.combine(today + timedelta(days=1), clock), zone)


def _day_first(typed: str) -> str:
    """`tomorrow 9:00` for `at 9:00 tomorrow`."""
    words = typed.split()
    if words[-1].lower() not in _DAYS:
        return typed
    return " ".join([words[-1], *(word for word in words[:-1] if word.lower() not in ("at", "on"))])


def _no_time(typed: str) -> Invalid:
    time_of_day, _, place = typed.rpartition(" ")
    if _AT.match(time_of_day) and place[:1].isalpha():
        hint = "say whose clock with the timezone, like Europe/Berlin"
        return Invalid("time", f"`{shown(place)}` after a time is not understood.", hint)
    return Invalid("time", f"`{shown(typed)}` is no time.", _AT_HINT)


def _exact(found: re.Match[str], clock: time) -> Once:
    if not found["date"]:
        raise Invalid("time", f"`{found['offset']}` needs a date.", "write at 2026-12-24T09:00Z")
    offset = found["offset"].lower()
    offset = "+0000" if offset in ("z", "utc", "gmt") else offset.replace(":", "")
    try:
        moment = datetime.strptime(f"{_date(found['date'])} {clock} {offset}", "%Y-%m-%d %H:%M:%S %z")
        return Once(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        raise Invalid("time", f"There is no distance of {found['offset']} from UTC.", _AT_HINT) from None


def _clock(found: re.Match[str]) -> time:
    hour, half = int(found["hour"]), (found["half"] or "").lower()
    minute, second = int(found["minute"] or 0), int(found["second"] or 0)
    clock = f"{found['hour']}:{minute:02}{f':{second:02}' if second else ''}{' ' + half if half else ''}"
    if found["minute"] is None and not half:
        raise Invalid("time", f"`{found['hour']}` may be an hour or something else.", f"write {hour}:00")
    if half and not 1 <= hour <= 12:
        raise Invalid("time", f"{clock} is no time of day.", "with am or pm, hours go from 1 to 12")
    hour = hour % 12 + 12 * (half == "pm") if half else hour
    if hour > 23 or minute > 59 or second > 59:
        raise Invalid("time", f"{clock} is no time of day.", "hours go from 0 to 23, minutes from 0 to 59")
    return time(hour, minute, second)


def _date(text: str) -> date:
    year, month, day = map(int, text.split("-"))
    try:
        return date(year, month, day)
    except ValueError:
        raise Invalid("time", f"There is no {text}.", "write the date as year-month-day: 2026-12-24") from None


def _placed(wall: datetime, zone: ZoneInfo) -> Once:
    moment = placed(wall, zone)
    shown = wall_of(moment, zone)
    if shown != wall:
        remark = f"{wall:%H:%M} does not exist on that day, since the clocks are set forward; it runs at {shown:%H:%M}."
        return Once(moment, remark)
    if placed_twice(wall, zone):
        return Once(
            moment, f"{wall:%H:%M} comes twice on that day, since the clocks are set back; it runs the first time."
        )
    return Once(moment)


def placed_twice(wall: datetime, zone: ZoneInfo) -> bool:
    """Whether a clock in `zone` shows `wall` twice."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return first < second
