"""Cron: what is refused and how that is said, words, and times against crontab(5) by brute force."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdtasks.core.cron import read_cron
from ccdtasks.core.timing import Timing, preview, typed_timing
from ccdtasks.errors import Invalid
from tests.core import crontab

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 1, 17, 15, 30, tzinfo=UTC)


def following(expression: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """Our own times in the same span."""
    cron, found, moment = read_cron(expression), [], start
    while (after := cron.next_after(moment, zone)) is not None and after <= end:
        assert after > moment
        found.append(after)
        moment = after
    return found


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("61 * * * *", "Minute 61 is not between 0 and 59.", ""),
        ("0 24 * * *", "Hour 24 is not between 0 and 23.", ""),
        ("0 0 32 * *", "Day of month 32 is not between 1 and 31.", ""),
        ("0 0 0 * *", "Day of month 0 is not between 1 and 31.", ""),
        ("0 0 * 13 *", "Month 13 is not between 1 and 12.", ""),
        ("0 0 * * 8", "Weekday 8 is not between 0 and 7.", ""),
        ("0 0 * * Mundy", "There is no such weekday: `Mundy`.", "did you mean Mon?"),
        ("0 0 * Juno *", "There is no such month: `Juno`.", "did you mean Jun?"),
        ("x 0 * * *", "There is no such minute: `x`.", "write numbers from 0 to 59, or *"),
        ("0 0 L * *", "There is no such day of month: `L`.", "write numbers from 1 to 31, or *"),
        ("1,,2 0 * * *", "A part of the minute field is empty.", "five fields"),
        ("0 22-6 * * *", "In the hour field, `22-6` runs backwards.", "write 22-23,0-6"),
        ("0 0 * * fri-sun", "In the weekday field, `fri-sun` runs backwards.", "write 5-7"),
        ("*/0 * * * *", "In the minute field, the step `0` is not a whole number above 0.", "every 15th"),
        ("*/x * * * *", "In the minute field, the step `x` is not a whole number above 0.", "every 15th"),
        ("0 9 * *", "A cron expression has five fields, this one has 4 fields.", "five fields: minute, hour"),
        ("0 0 9 * * *", "A cron expression has five fields, this one has 6 fields.", "five fields: minute, hour"),
        ("", "A cron expression has five fields, this one is empty.", "five fields"),
        ("0 0 31 2 *", "`0 0 31 2 *` never happens: no month that it names has such a day.", "check the day"),
        ("0 0 31 4,6,9,11 *", "`0 0 31 4,6,9,11 *` never happens: no month that it names has such a day.", ""),
        ("Daily", "A cron expression has five fields, this one has 1 field.", "did you mean @daily?"),
        ("@dayly", "There is no shorthand `@dayly`.", "did you mean @daily?"),
        ("@reboot", "`@reboot` is no time.", "use @daily"),
        ("٣ * * * *", "There is no such minute: `٣`.", ""),
        ("* " * 60, "The schedule is longer than 100 characters.", ""),
        ("`x` @everyone * * *", "There is no such minute: `'x'`.", ""),
    ],
)
def test_a_wrong_expression_says_which_field_and_why(text: str, said: str, hint: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_cron(text)
    assert caught.value.message == said
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 6,18 * * *", "At 06:00 and 18:00 every day"),
        ("0 9 * * mon-fri", "At 09:00 on Monday through Friday"),
        ("@daily", "At 00:00 every day"),
        ("@HOURLY", "At the start of every hour"),
        ("*/15 * * * *", "Every 15th minute of every hour"),
        ("0 9 21 * *", "At 09:00 on the 21st day of every month"),
        ("0 9 1,22,23,31 * *", "At 09:00 on the first, the 22nd, the 23rd, and the 31st day of month"),
        ("0 9 13 * 5", "At 09:00 on the 13th day of month and on Friday"),
        ("0   9 * *\t7", "At 09:00 on Sunday"),
        ("5-5/2 4 * * *", "At 04:05 every day"),
    ],
)
def test_words(text: str, words: str) -> None:
    assert read_cron(text).words() == words


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("0 9 * * 0", "2026-01-18 09:00"),  # Sunday
        ("0 9 * * 7", "2026-01-18 09:00"),
        ("0 9 * * sun", "2026-01-18 09:00"),
        ("0 9 * * 1-5", "2026-01-19 09:00"),  # Monday
        ("0 9 * * 6-7", "2026-01-18 09:00"),
        ("0 9 13 * 5", "2026-01-23 09:00"),  # a Friday comes before the 13th
        ("0 9 */2 * 1", "2026-01-19 09:00"),  # a star: odd days that are Mondays
        ("0 9 */5 * 1", "2026-01-26 09:00"),
        ("0 0 29 2 *", "2028-02-29 00:00"),
        ("@yearly", "2027-01-01 00:00"),
        ("0 0 1 jan,jul *", "2026-07-01 00:00"),
        ("50/5 * * * *", "2026-01-17 16:50"),
    ],
)
def test_fields_mean_what_crontab_says(text: str, first: str) -> None:
    found = read_cron(text).next_after(NOW, BERLIN)
    assert found is not None
    assert f"{found.astimezone(BERLIN):%Y-%m-%d %H:%M}" == first


@pytest.mark.parametrize(
    ("text", "day", "hours"),
    [
        ("30 2 * * *", "2026-03-29", ["03:00+0200"]),  # in the gap: once, as soon as it is over
        ("0,30 2 * * *", "2026-03-29", ["03:00+0200"]),
        ("30 2 * * *", "2026-10-25", ["02:30+0200"]),  # in the fold: the first time only
        ("0 * * * *", "2026-03-29", ["00:00+0100", "01:00+0100", "03:00+0200", "04:00+0200"]),
        ("0 * * * *", "2026-10-25", ["00:00+0200", "01:00+0200", "02:00+0200", "02:00+0100", "03:00+0100"]),
        ("*/30 2 * * *", "2026-03-29", []),  # a wildcard follows real time: there is no such hour
        ("*/30 2 * * *", "2026-10-25", ["02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100"]),
    ],
)
def test_changes_of_clocks_in_berlin(text: str, day: str, hours: list[str]) -> None:
    start = datetime.fromisoformat(day).replace(tzinfo=BERLIN).astimezone(UTC) - timedelta(seconds=1)
    found = [moment.astimezone(BERLIN) for moment in following(text, BERLIN, start, start + timedelta(hours=24))]
    same_day = [f"{moment:%H:%M%z}" for moment in found if f"{moment:%Y-%m-%d}" == day]
    assert same_day[: len(hours) or 1] == hours


def test_what_changes_of_clocks_do_is_said_before() -> None:
    shown = preview(typed_timing("30 2 * * *", BERLIN, NOW), NOW, 2)
    assert shown.remarks == [
        "On 2026-03-29 the clocks are set forward over 02:30: it runs once, at 03:00.",
        "On 2026-10-25 the clocks are set back and 02:30 comes twice: it runs the first time only.",
    ]
    assert preview(typed_timing("30 4 * * *", BERLIN, NOW), NOW, 2).remarks == []
    assert preview(typed_timing("*/30 * * * *", BERLIN, NOW), NOW, 2).remarks == []


DAYS = {
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),  # half an hour
    "Africa/Cairo": ("2026-04-24", "2026-10-29"),  # at midnight
    "America/Havana": ("2026-03-08", "2026-11-01"),
    "Pacific/Chatham": ("2026-04-05", "2026-09-27"),  # at 2:45
    "Asia/Kolkata": ("2026-05-05",),
    "Pacific/Apia": ("2011-12-30",),  # a day that never was
    "UTC": ("2026-02-28",),
}


def terms(low: int, high: int, top: int) -> st.SearchStrategy[str]:
    """Terms of a field; values up to `top` are drawn more often than not, since clocks change at night."""
    value = st.integers(low, high) | st.integers(low, min(high, top))
    spans = st.tuples(value, value).map(sorted).map(lambda pair: f"{pair[0]}-{pair[1]}")
    steps = st.integers(1, 20).map(lambda step: f"/{step}")
    single = st.lists(value.map(str) | spans | st.builds("".join, st.tuples(spans, steps)), min_size=1, max_size=3)
    return st.just("*") | st.builds("".join, st.tuples(st.just("*"), steps)) | single.map(",".join)


@settings(max_examples=150 if os.environ.get("CCDTEST_COMPLETE") else 40, deadline=None)
@given(
    place=st.sampled_from([(zone, day) for zone, days in DAYS.items() for day in days]),
    minute=terms(0, 59, 59),
    hour=terms(0, 23, 4),
    near=st.sampled_from(["*", "*", "{d}", "{d}", "{b},{d}", "*/2"]),
    month=st.sampled_from(["*", "*", "1-12", "*/2"]),
    weekday=st.sampled_from(["*", "*", "0", "7", "1-5", "5-7", "*/3"]),
    seconds=st.integers(0, 36 * 3600),
)
def test_times_equal_crontab_by_brute_force(  # noqa: PLR0917
    place: tuple[str, str], minute: str, hour: str, near: str, month: str, weekday: str, seconds: int
) -> None:
    zone, day = ZoneInfo(place[0]), datetime.fromisoformat(place[1])
    date = near.format(d=day.day, b=(day - timedelta(days=1)).day)
    expression = f"{minute} {hour} {date} {month} {weekday}"
    start = day.replace(tzinfo=UTC) - timedelta(hours=24) + timedelta(seconds=seconds)
    end = start + timedelta(hours=40)
    expected = crontab.times(expression, zone, start, end)
    assert following(expression, zone, start, end) == expected
    if expected:
        assert Timing(read_cron(expression), zone).last_until(end, start) == expected[-1]


@pytest.mark.slow
def test_a_year_of_days_in_five_zones_equals_brute_force() -> None:
    for zone in map(ZoneInfo, ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "UTC")):
        start, end = NOW, NOW + timedelta(days=366)
        for expression in ("30 2 * * *", "15 0 * * 1-5"):
            assert following(expression, zone, start, end) == crontab.times(expression, zone, start, end)
