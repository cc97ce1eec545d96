"""The five fields of cron text: what each takes, what is wrong with one, and how it is best read out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from ccdtasks.core.text import shown
from ccdtasks.errors import Invalid

EXAMPLE = "five fields: minute, hour, day of month, month, weekday; 0 9 * * 1-5 is 9:00 from Monday to Friday"
_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_WEEKDAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))}
_NUMBER = re.compile(r"[0-9]{1,6}\Z")
_QUARTZ = re.compile(r"\?|LW?|\w+(?:L|W|#\w+)\Z", re.IGNORECASE)
_NO_QUARTZ = "write * for any day; crontab has no last day, no nearest weekday and no second Friday"
_LISTED = 5
"""A step with no more values than this is said by its values: `*/45` is no three quarters of an hour."""


@dataclass(frozen=True, slots=True)
class Field:
    """One of the five: what it is called, and the values it takes."""

    name: str
    low: int
    high: int
    names: dict[str, int]

    def check(self, text: str) -> str:
        """The field in the form that cronsim reads as crontab(5) means it. Raises Invalid("cron")."""
        return ",".join(self._term(term) for term in text.split(","))

    def values(self, checked: str) -> set[int]:
        """The values of a checked field; Sunday is 0."""
        return {value for term in checked.split(",") for value in self._values(term)}

    def is_full(self, checked: str) -> bool:
        """Whether it takes every value, however that is written."""
        return self.values(checked) == self._folded(range(self.low, self.high + 1))

    def told(self, checked: str) -> str:
        """The same values in a form that reads well: what a step comes to, where that is little or odd."""
        if self.is_full(checked):
            return "*"
        terms = dict.fromkeys(each for term in checked.split(",") for each in self._told(term))
        return ",".join(terms)

    def _told(self, term: str) -> list[str]:
        values = self._values(term)
        span, slash, step = term.partition("/")
        is_even = span == "*" and self.name == "minute" and 60 % int(step or 1) == 0
        if len(values) == 1 or (slash and not is_even and (len(values) <= _LISTED or self.names is _WEEKDAYS)):
            return [str(value) for value in sorted(values)]
        return [term]

    def _values(self, term: str) -> set[int]:
        span, _, step = term.partition("/")
        low, dash, high = span.partition("-")
        first, last = (self.low, self.high) if span == "*" else (int(low), int(high) if dash else int(low))
        return self._folded(range(first, last + 1, int(step or 1)))

    def _folded(self, values: range) -> set[int]:
        return {value % 7 for value in values} if self.names is _WEEKDAYS else set(values)

    def _term(self, term: str) -> str:
        span, slash, step = term.partition("/")
        if slash and (not _NUMBER.match(step) or int(step) == 0):
            raise self._wrong(f"the step `{shown(step)}` is not a whole number above 0", "write */15 for every 15th")
        if span == "*":
            return term
        first, dash, last = span.partition("-")
        low = self._value(first)
        high = self._value(last) if dash else self.high if slash else low
        if high < low:
            raise self._wrong(f"`{shown(span)}` runs backwards", self._forwards(low, high))
        if low == high:  # cronsim takes 5-5/2 for 5/2
            return str(low)
        return f"{low}-{high}{slash}{step}"

    def _value(self, text: str) -> int:
        if text.upper() in self.names:
            return self.names[text.upper()]
        if not text:
            raise Invalid("cron", f"A part of the {self.name} field is empty.", EXAMPLE)
        if not _NUMBER.match(text):
            raise self._no_such(text)
        if not self.low <= int(text) <= self.high:
            raise Invalid("cron", f"{self.name.capitalize()} {int(text)} is not between {self.low} and {self.high}.")
        return int(text)

    def _no_such(self, text: str) -> Invalid:
        near = get_close_matches(text[:3].upper(), list(self.names), n=3, cutoff=0.6)
        near.sort(key=lambda name: name[0] != text[0].upper())
        if self.name in ("day of month", "weekday") and _QUARTZ.match(text):
            hint = _NO_QUARTZ
        elif self.names:
            example = near[0].capitalize() if near else next(iter(self.names)).capitalize()
            hint = f"did you mean {example}?" if near else f"write the first three letters, like {example}, or a number"
        else:
            hint = f"write numbers from {self.low} to {self.high}, or *"
        return Invalid("cron", f"There is no such {self.name}: `{shown(text)}`.", hint)

    def _forwards(self, low: int, high: int) -> str:
        """The same range in an order that crontab takes: `22-23,0-6`, `6-7`, `5-6,0-1`."""
        if self.names is not _WEEKDAYS:
            return f"write {_span(low, self.high)},{_span(self.low, high)}"
        if high == 0:
            return f"write {_span(low, 7)}"
        return f"write {_span(0, high)}" if low == 7 else f"write {_span(low, 6)},{_span(0, high)}"

    def _wrong(self, what: str, hint: str) -> Invalid:
        return Invalid("cron", f"In the {self.name} field, {what}.", hint)


MINUTE = Field("minute", 0, 59, {})
HOUR = Field("hour", 0, 23, {})
DAY = Field("day of month", 1, 31, {})
MONTH = Field("month", 1, 12, _MONTHS)
WEEKDAY = Field("weekday", 0, 7, _WEEKDAYS)
FIELDS = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"
