"""When a task runs: cron text or one moment, behind the same two questions: when next, and how is that said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ccdtasks.core.calendar.cron import Cron, read_cron
from ccdtasks.core.calendar.oneshot import Once, is_oneshot, placed_twice, read_oneshot, stored_oneshot
from ccdtasks.core.calendar.timezones import moments_of, next_change, surprises_of, wall_of
from ccdtasks.errors import CcdError
from ccdtasks.times import local_text

_YEAR = timedelta(days=366)
_PLAIN = str.maketrans(
    {**dict.fromkeys("‐‑–—−", "-"), **dict.fromkeys("∗＊", "*"), **dict.fromkeys("\u200b\u2060\ufeff", None)}
)
_QUOTES = "\"'`“”„‘’«» \t\n"
_SPANS = [timedelta(minutes=10) * 6**power for power in range(9)]
_COUNTED = 100


@dataclass(frozen=True, slots=True)
class Timing:
    """A schedule in its timezone."""

    rule: Cron | Once
    zone: ZoneInfo

    @property
    def is_once(self) -> bool:
        return isinstance(self.rule, Once)

    @property
    def text(self) -> str:
        """As a task's row holds it."""
        return self.rule.text

    def next_after(self, moment: datetime) -> datetime | None:
        """The first time after `moment`, in UTC; None when there is none."""
        return self.rule.next_after(moment, self.zone)

    def last_until(self, moment: datetime, since: datetime) -> datetime | None:
        """The latest time after `since`, up to and including `moment`; None when there is none.

        Looks forward from further and further back, so that it can never differ from what `next_after` says.
        """
        for span in _SPANS:
            start = max(since, moment - span)
            found = None
            while (following := self.next_after(found or start)) is not None and following <= moment:
                found = following
            if found is not None or start == since:
                return found
        return None

    def count(self, first: datetime, last: datetime) -> int:
        """How many times lie between two of its times, both included; stops counting above 100."""
        number, moment = 1, first
        while moment < last and number <= _COUNTED:
            following = self.next_after(moment)
            if following is None:
                break
            number, moment = number + 1, following
        return number

    def words(self) -> str:
        """`At 06:00 and 18:00 every day`, `Once, on 2026-12-24 09:00 CET`."""
        if isinstance(self.rule, Once):
            return f"Once, on {local_text(self.rule.moment, self.zone.key)}"
        return self.rule.words()


@dataclass(frozen=True, slots=True)
class Preview:
    """What somebody sees before and after a schedule is saved. `remarks`: what clock changes do to it."""

    timing: Timing
    words: str
    times: Sequence[datetime]
    remarks: Sequence[str]


def typed_timing(text: str, zone: ZoneInfo, now: datetime) -> Timing:
    """What a person typed: cron, or a time that happens once. Raises Invalid that says what is wrong.

    Quotation marks around it are not meant, nor what phones and web pages make of a hyphen or a star.
    """
    plain = text.translate(_PLAIN).replace("\\*", "*").strip(_QUOTES)
    return Timing(read_oneshot(plain, zone, now) if is_oneshot(plain) else read_cron(plain), zone)


def stored_timing(text: str, zone: ZoneInfo) -> Timing:
    """What a task's row says."""
    return Timing(stored_oneshot(text) if is_oneshot(text) else read_cron(text), zone)


def words_of(text: str, zone_name: str) -> str:
    """A stored schedule in words; one that cannot be read any more as it stands."""
    try:
        return stored_timing(text, ZoneInfo(zone_name)).words()
    except (CcdError, KeyError, OSError, ValueError):
        return text


def preview(timing: Timing, start: datetime, count: int) -> Preview:
    """The next `count` times after `start`, in words and as moments."""
    times: list[datetime] = []
    while len(times) < count and (following := timing.next_after(times[-1] if times else start)) is not None:
        times.append(following)
    return Preview(timing, timing.words(), times, [*_remarks(timing, start), *surprises_of(timing.zone)])


def _remarks(timing: Timing, start: datetime) -> list[str]:
    """What the clock changes of the coming year do to fixed times."""
    if isinstance(timing.rule, Once):
        return [timing.rule.remark] if timing.rule.remark else []
    remarks: list[str] = []
    if not timing.rule.is_fixed:
        return remarks
    change, end = start, start + _YEAR
    while (following := next_change(timing.zone, change, end)) is not None:
        change = following
        remarks += _remark(timing.rule, change, timing.zone)
    return remarks


def _remark(cron: Cron, change: datetime, zone: ZoneInfo) -> list[str]:
    before, after = wall_of(change - timedelta(seconds=1), zone) + timedelta(seconds=1), wall_of(change, zone)
    low, high = min(before, after), max(before, after)
    touched: list[datetime] = []
    for wall in cron.walls_after(low - timedelta(seconds=1)):
        if wall >= high or len(touched) == 3:
            break
        touched.append(wall)
    if not touched:
        return []
    times = ", ".join(f"{wall:%H:%M}" for wall in touched)
    day, many = f"{touched[0]:%Y-%m-%d}", len(touched) > 1
    if moments_of(touched[0], zone):
        twice = f"On {day} the clocks are set back and {times} {'come' if many else 'comes'} twice: "
        return [f"{twice}it runs the first time only."] if placed_twice(touched[0], zone) else []
    return [f"On {day} the clocks are set forward over {times}: it runs once, at {after:%H:%M}."]
