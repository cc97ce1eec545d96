"""Cron text with the meaning of crontab(5): the one place that reads it, says it in words, and computes its times.

`cronsim` decides which times of the wall clock match. Where these lie in real time is decided here, since clocks are
changed: a time fixed to an hour happens once a day (soon after a gap when it falls into one, the first time where the
clock shows it twice); a wildcard in minute or hour follows real time through gaps and repetitions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from ccdtasks.core.text import clean_line
from ccdtasks.core.timezones import moments_of, next_change, wall_of
from ccdtasks.errors import Invalid

MAX_TEXT = 100
_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_WEEKDAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))}
_EXAMPLE = "five fields: minute, hour, day of month, month, weekday; 0 9 * * 1-5 is 9:00 from Monday to Friday"
_NUMBER = re.compile(r"[0-9]{1,6}\Z")
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)
_WRONG_ORDINALS = re.compile(r"\b(21|31|41|51|22|32|42|52|23|33|43|53)th\b")
_ENDINGS = {"1": "st", "2": "nd", "3": "rd"}


@dataclass(frozen=True, slots=True)
class _Field:
    """One of the five: what it is called, and the values it takes."""

    name: str
    low: int
    high: int
    names: dict[str, int]

    def check(self, text: str) -> str:
        """The field in the form that cronsim reads as crontab(5) means it. Raises Invalid("cron")."""
        return ",".join(self._term(term) for term in text.split(","))

    def _term(self, term: str) -> str:
        span, slash, step = term.partition("/")
        if slash and (not _NUMBER.match(step) or int(step) == 0):
            raise self._wrong(f"the step `{_shown(step)}` is not a whole number above 0", "write */15 for every 15th")
        if span == "*":
            return term
        first, dash, last = span.partition("-")
        low = self._value(first)
        high = self._value(last) if dash else self.high if slash else low
        if high < low:
            raise self._wrong(f"`{_shown(span)}` runs backwards", self._forwards(low, high))
        if low == high:  # cronsim takes 5-5/2 for 5/2
            return str(low)
        return f"{low}-{high}{slash}{step}"

    def _value(self, text: str) -> int:
        if text.upper() in self.names:
            return self.names[text.upper()]
        if not text:
            raise Invalid("cron", f"A part of the {self.name} field is empty.", _EXAMPLE)
        if not _NUMBER.match(text):
            raise self._no_such(text)
        if not self.low <= int(text) <= self.high:
            raise Invalid("cron", f"{self.name.capitalize()} {int(text)} is not between {self.low} and {self.high}.")
        return int(text)

    def _no_such(self, text: str) -> Invalid:
        near = get_close_matches(text[:3].upper(), list(self.names), n=3, cutoff=0.6)
        near.sort(key=lambda name: name[0] != text[0].upper())
        if self.names:
            example = near[0].capitalize() if near else next(iter(self.names)).capitalize()
            hint = f"did you mean {example}?" if near else f"write the first three letters, like {example}, or a number"
        else:
            hint = f"write numbers from {self.low} to {self.high}, or *"
        return Invalid("cron", f"There is no such {self.name}: `{_shown(text)}`.", hint)

    def _forwards(self, low: int, high: int) -> str:
        if self.names and high == 0:
            return f"write {low}-7"
        return f"write {low}-{self.high},{self.low}-{high}"

    def _wrong(self, what: str, hint: str) -> Invalid:
        return Invalid("cron", f"In the {self.name} field, {what}.", hint)


_FIELDS = (
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day of month", 1, 31, {}),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 7, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """A checked expression. `text`: as it was written; `expression`: the same in five plain fields."""

    text: str
    expression: str

    @property
    def is_fixed(self) -> bool:
        """Whether it names hours and minutes, and so happens once for each of them a day (cron(8))."""
        minute, hour = self.expression.split()[:2]
        return not minute.startswith("*") and not hour.startswith("*")

    def next_after(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        """The first time after `moment`, in UTC; None when there is none within 50 years."""
        return self._next_fixed(moment, zone) if self.is_fixed else self._next_real(moment, zone)

    def words(self) -> str:
        """`At 06:00 and 18:00 every day`."""
        said = str(CronSim(self.expression, datetime(2026, 1, 1)).explain())  # noqa: DTZ001  only its words are used
        return _WRONG_ORDINALS.sub(lambda found: found[1] + _ENDINGS[found[1][-1]], said)

    def walls_after(self, wall: datetime) -> Iterator[datetime]:
        """Every matching time of the wall clock after `wall`, naive, as if no clock were ever changed."""
        return CronSim(self.expression, wall)

    def _next_fixed(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        for wall in self.walls_after(wall_of(moment, zone)):
            found = placed(wall, zone)
            if found > moment:
                return found
        return None

    def _next_real(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        start, bound = wall_of(moment, zone), moment
        change = next_change(zone, moment, moment + _DAY)
        if change is not None:
            wall = next(self.walls_after(start), None)
            if wall is None:
                return None
            found = moment + (wall - start)
            if found < change:
                return found
            start, bound = wall_of(change, zone) - _SECOND, change - _SECOND
        for wall in self.walls_after(start):
            for found in moments_of(wall, zone):
                if found > bound:
                    return found
        return None


def placed(wall: datetime, zone: ZoneInfo) -> datetime:
    """When a fixed time of the wall clock happens: the first time it is shown, or the first minute after its gap."""
    while not (moments := moments_of(wall, zone)):
        wall += timedelta(minutes=1)
    return moments[0]


@lru_cache(maxsize=4096)
def read_cron(text: str) -> Cron:
    """The expression. Raises Invalid("cron") that says which field is wrong and why, or that it never happens."""
    typed = clean_line(text, MAX_TEXT + 1)
    if len(typed) > MAX_TEXT:
        raise Invalid("cron", f"The schedule is longer than {MAX_TEXT} characters.")
    plain = _expanded(typed)
    fields = plain.split()
    if len(fields) != len(_FIELDS):
        count = "is empty" if not fields else f"has {len(fields)} field{'' if len(fields) == 1 else 's'}"
        macro = f"@{plain.lower()}"
        hint = f"did you mean {macro}?" if macro in _MACROS else _EXAMPLE
        raise Invalid("cron", f"A cron expression has five fields, this one {count}.", hint)
    checked = " ".join(field.check(part) for field, part in zip(_FIELDS, fields, strict=True))
    try:
        found = next(CronSim(checked, datetime(2026, 1, 1)), None)  # noqa: DTZ001  any start will do
    except CronSimError:
        found = None
    if found is None:
        raise Invalid(
            "cron",
            f"`{_shown(typed)}` never happens: no month that it names has such a day.",
            "check the day of month and the month",
        )
    return Cron(typed, checked)


def _expanded(typed: str) -> str:
    if not typed.startswith("@"):
        return typed
    known = _MACROS.get(typed.lower())
    if known:
        return known
    if typed.lower() == "@reboot":
        raise Invalid("cron", "`@reboot` is no time.", "use @daily, or five fields")
    near = get_close_matches(typed.lower(), list(_MACROS), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(_MACROS)}"
    raise Invalid("cron", f"There is no shorthand `{_shown(typed)}`.", hint)


def _shown(text: str) -> str:
    return clean_line(text, 40).replace("`", "'")
