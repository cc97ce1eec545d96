"""Times that happen once, as people type them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from ccdtasks.core.calendar.timing import preview, stored_timing, typed_timing
from ccdtasks.errors import Invalid

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 1, 17, 15, 30, 20, 500, tzinfo=UTC)  # 16:30 in Berlin


@pytest.mark.parametrize(
    ("typed", "moment"),
    [
        ("at 2026-12-24 09:00", "2026-12-24T08:00:00"),
        ("2026-12-24T09:00", "2026-12-24T08:00:00"),
        ("AT 2026-07-01, 9:05", "2026-07-01T07:05:00"),
        ("at 18:00", "2026-01-17T17:00:00"),
        ("at 9:00", "2026-01-18T08:00:00"),  # has passed today
        ("tomorrow 9:00", "2026-01-18T08:00:00"),
        ("tomorrow at 12am", "2026-01-17T23:00:00"),
        ("today 11:30 pm", "2026-01-17T22:30:00"),
        ("at 9:00 tomorrow", "2026-01-18T08:00:00"),
        ("9:00 tomorrow", "2026-01-18T08:00:00"),
        ("at 2026-12-24 09:00:30", "2026-12-24T08:00:30"),
        ("at 2026-12-24T08:00:00Z", "2026-12-24T08:00:00"),  # as --json shows it
        ("2026-12-24 09:00 UTC", "2026-12-24T09:00:00"),
        ("at 2026-12-24T09:00:00.000+05:30", "2026-12-24T03:30:00"),
        ('"tomorrow 9:00"', "2026-01-18T08:00:00"),
        ("in an hour", "2026-01-17T16:30:21"),
        ("in a day and 1.5 hours", "2026-01-18T17:00:21"),
        ("in 20m", "2026-01-17T15:50:21"),
        ("in 2h 30m", "2026-01-17T18:00:21"),
        ("in 2 hours and 5 minutes", "2026-01-17T17:35:21"),
        ("in 1w, 3 days", "2026-01-27T15:30:21"),
        ("at 2026-03-29 02:30", "2026-03-29T01:00:00"),
        ("at 2026-10-25 02:30", "2026-10-25T00:30:00"),
    ],
)
def test_what_is_understood(typed: str, moment: str) -> None:
    timing = typed_timing(typed, BERLIN, NOW)
    expected = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert timing.next_after(NOW) == expected
    assert timing.is_once
    stored = stored_timing(timing.text, ZoneInfo("Asia/Tokyo"))
    assert stored.next_after(NOW) == expected
    assert stored.next_after(expected) is None
    assert preview(timing, NOW, 5).times == [expected]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("today 9:00", "2026-01-17 09:00 CET has passed. (choose a time in the future)"),
        ("2020-01-01 9:00", "2020-01-01 09:00 CET has passed."),
        ("at 2032-01-01 9:00", "2032-01-01 09:00 CET is more than five years away."),
        ("in 999999w", "is more than five years away."),
        ("at 25:00", "25:00 is no time of day. (hours go from 0 to 23, minutes from 0 to 59)"),
        ("at 9:60", "9:60 is no time of day."),
        ("at 13pm", "13:00 pm is no time of day."),
        ("at 9", "`9` may be an hour or something else. (write 9:00)"),
        ("at 2026-02-30 9:00", "There is no 2026-02-30."),
        ("at 2026-13-01 9:00", "There is no 2026-13-01."),
        ("at noon", "`at noon` is no time. (write at 2026-12-24 09:00, tomorrow 9:00, or at 18:30)"),
        ("in", "`in` needs a length of time."),
        ("in 0m", "`in` needs a length of time."),
        ("in 5", "`5` is no length of time."),
        ("in -5m", "`-5m` is no length of time."),
        ("in 5x", "`x` is no unit of time."),
        ("in 5m 3m", "`5m 3m` names a unit twice."),
        ("tomorrow", "`tomorrow` is no time."),
        ("in 2 months", "Months and years are not all equally long. (say it in days or weeks)"),
        ("in a year", "Months and years are not all equally long."),
        ("in 1.h", "`1.h` is no length of time."),
        ("at 9:00:60", "9:00:60 is no time of day."),
        (
            "at 9:00 PST",
            "`PST` after a time is not understood. (say whose clock with the timezone, like Europe/Berlin)",
        ),
        ("at 2026-12-24 09:00 Europe/Berlin", "`Europe/Berlin` after a time is not understood."),
        ("at 9:00Z", "`Z` needs a date."),
        ("at 2026-12-24 09:00 +99:00", "There is no distance of +99:00 from UTC."),
        ("at 0001-01-01 00:00 +14:00", "There is no distance of +14:00 from UTC."),
    ],
)
def test_what_is_refused(typed: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        typed_timing(typed, BERLIN, NOW)
    assert said in str(caught.value)


def test_a_time_that_a_change_of_clocks_swallows_or_repeats_is_explained() -> None:
    assert preview(typed_timing("at 2026-03-29 02:30", BERLIN, NOW), NOW, 1).remarks == [
        "02:30 does not exist on that day, since the clocks are set forward; it runs at 03:00."
    ]
    assert preview(typed_timing("at 2026-10-25 02:30", BERLIN, NOW), NOW, 1).remarks == [
        "02:30 comes twice on that day, since the clocks are set back; it runs the first time."
    ]
