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
from cronsim.explain import Expression

from ccdtasks.amounts import counted
from ccdtasks.core.calendar.cronfields import DAY, EXAMPLE, FIELDS, WEEKDAY
from ccdtasks.core.calendar.timezones import moments_of, next_change, wall_of
from ccdtasks.core.text import clean_line, shown
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
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)
_WRONG_ORDINALS = re.compile(r"\b(21|31|41|51|22|32|42|52|23|33|43|53)th\b")
_CLOCK = re.compile(r"([01]?\d|2[0-3])(?:[:.]([0-5]\d) ?([ap]m)?| ?([ap]m))\Z", re.ASCII | re.IGNORECASE)
_ENDINGS = {"1": "st", "2": "nd", "3": "rd"}


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
        """`At 06:00 and 18:00 every day`; `... on the 13th day of month or on Friday`."""
        fields = self.expression.split()
        day, weekday = fields[2], fields[4]
        both_must_fit = day.startswith("*") or weekday.startswith("*")
        told = [field.told(part) for field, part in zip(FIELDS, fields, strict=True)]
        if not both_must_fit and (DAY.is_full(day) or WEEKDAY.is_full(weekday)):
            told[2] = told[4] = "*"  # either is enough, and one of them always is
        expression = Expression(told)
        expression.day_and = both_must_fit
        said = expression.explain().replace(" and on ", " or on ")
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
    fields = _expanded(typed).split()
    if len(fields) != len(FIELDS):
        count = "is empty" if not fields else f"has {counted(len(fields), 'field')}"
        raise Invalid("cron", f"A cron expression has five fields, this one {count}.", _five(fields))
    checked = " ".join(field.check(part) for field, part in zip(FIELDS, fields, strict=True))
    try:
        found = next(CronSim(checked, datetime(2026, 1, 1)), None)  # noqa: DTZ001  any start will do
    except CronSimError:
        found = None
    if found is None:
        raise Invalid(
            "cron",
            f"`{shown(typed)}` never happens: no month that it names has such a day.",
            "check the day of month and the month",
        )
    return Cron(typed, checked)


def _five(fields: list[str]) -> str:
    """What somebody may have meant who wrote more or fewer than five fields."""
    macro = "@" + "".join(fields).lower()
    if macro in _MACROS:
        return f"did you mean {macro}?"
    clock = _CLOCK.match(" ".join(fields))
    if clock:
        half = (clock[3] or clock[4] or "").lower()
        hour = int(clock[1]) % 12 + 12 * (half == "pm") if half else int(clock[1])
        typed = f"{int(clock[1])}:{clock[2] or '00'}{half}"
        return f"write {int(clock[2] or 0)} {hour} * * * for every day, or at {typed} for once"
    if len(fields) == 6:
        return f"leave the seconds out: {EXAMPLE}"
    is_prose = any(each.isalpha() for each in fields)
    return f"{EXAMPLE}; at 2026-12-24 09:00 is that time once" if is_prose else EXAMPLE


def _expanded(typed: str) -> str:
    if not typed.startswith("@"):
        return typed
    known = _MACROS.get(typed.lower())
    if known:
        return known
    if typed.lower() == "@reboot":
        raise Invalid("cron", "`@reboot` is no time.", "use @daily, or five fields")
    if typed.lower().startswith("@every"):
        raise Invalid("cron", "There is no shorthand `@every`.", "write */5 * * * * for every five minutes")
    near = get_close_matches(typed.lower(), list(_MACROS), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(_MACROS)}"
    raise Invalid("cron", f"There is no shorthand `{shown(typed)}`.", hint)
