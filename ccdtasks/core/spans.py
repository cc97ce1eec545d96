"""Lengths of time as people type them: `2h 30m`, `90 min`, `1.5 hours`, `a day`."""

from __future__ import annotations

import re
from datetime import timedelta

from ccdtasks.core.text import shown
from ccdtasks.errors import Invalid

_PART = re.compile(r"\s*(?:,|and)?\s*(\d{1,6}(?:\.\d{1,3})?|an?(?=\s))\s*([a-z]+)", re.ASCII | re.IGNORECASE)
_UNITS = {
    **dict.fromkeys(("w", "week", "weeks"), timedelta(weeks=1)),
    **dict.fromkeys(("d", "day", "days"), timedelta(days=1)),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), timedelta(hours=1)),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), timedelta(minutes=1)),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), timedelta(seconds=1)),
}
_UNEQUAL = re.compile(r"(mo|months?|y|yrs?|years?)\Z", re.IGNORECASE)
_LONGEST = timedelta(days=10 * 366)


def read_span(typed: str, field: str, hint: str) -> timedelta:
    """The length, ten years for anything longer; zero for nothing. Raises Invalid(field) with `hint`."""
    rest, total, units = typed.strip(), timedelta(), set()
    while rest:
        part = _PART.match(rest)
        if part is None:
            raise Invalid(field, f"`{shown(rest)}` is no length of time.", hint)
        unit = _UNITS.get(part[2].lower())
        if unit is None and _UNEQUAL.match(part[2]):
            raise Invalid(field, "Months and years are not all equally long.", "say it in days or weeks")
        if unit is None:
            raise Invalid(field, f"`{shown(part[2])}` is no unit of time.", "use m, h, d or w, as in 2h 30m")
        if unit in units:
            raise Invalid(field, f"`{shown(typed)}` names a unit twice.", hint)
        units.add(unit)
        total = min(total + (float(part[1]) if part[1][0].isdigit() else 1) * unit, _LONGEST)
        rest = rest[part.end() :].strip()
    return total
