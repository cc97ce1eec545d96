"""Cron: what is refused and how that is said, words, and times against crontab(5) by brute force."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ccdtasks.core.calendar.cron import MAX_TEXT, read_cron
from ccdtasks.core.calendar.cronfields import FIELDS, Field
from ccdtasks.core.calendar.timing import Timing, preview, typed_timing
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


def following_if_any(expression: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """The same; none of an expression that is refused since it never happens, like the 30th of February."""
    try:
        return following(expression, zone, start, end)
    except Invalid as refused:
        if "never happens" in refused.message:
            return []
        raise


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
        ("0 0 L * *", "There is no such day of month: `L`.", "crontab has no last day"),
        ("0 0 15W * *", "There is no such day of month: `15W`.", "no nearest weekday"),
        ("0 0 * * 5#3", "There is no such weekday: `5#3`.", "no second Friday"),
        ("0 0 ? * *", "There is no such day of month: `?`.", "write * for any day"),
        ("H 0 * * *", "There is no such minute: `H`.", "write numbers from 0 to 59, or *"),
        ("1,,2 0 * * *", "A part of the minute field is empty.", "five fields"),
        ("0 22-6 * * *", "In the hour field, `22-6` runs backwards.", "write 22-23,0-6"),
        ("0 0 * * fri-sun", "In the weekday field, `fri-sun` runs backwards.", "write 5-7"),
        ("0 0 * * 7-0", "In the weekday field, `7-0` runs backwards.", "write 7"),
        ("0 0 * * 7-2", "In the weekday field, `7-2` runs backwards.", "write 0-2"),
        ("0 0 * * fri-mon", "In the weekday field, `fri-mon` runs backwards.", "write 5-6,0-1"),
        ("0 0 * nov-jan *", "In the month field, `nov-jan` runs backwards.", "write 11-12,1"),
        ("*/0 * * * *", "In the minute field, the step `0` is not a whole number above 0.", "every 15th"),
        ("*/x * * * *", "In the minute field, the step `x` is not a whole number above 0.", "every 15th"),
        ("0 9 * *", "A cron expression has five fields, this one has 4 fields.", "five fields: minute, hour"),
        (
            "0 0 9 * * *",
            "A cron expression has five fields, this one has 6 fields.",
            "leave the seconds out: five fields",
        ),
        ("", "A cron expression has five fields, this one is empty.", "five fields"),
        ("0 0 31 2 *", "`0 0 31 2 *` never happens: no month that it names has such a day.", "check the day"),
        ("0 0 31 4,6,9,11 *", "`0 0 31 4,6,9,11 *` never happens: no month that it names has such a day.", ""),
        ("Daily", "A cron expression has five fields, this one has 1 field.", "did you mean @daily?"),
        ("every monday at 9", "A cron expression has five fields, this one has 4 fields.", "at 2026-12-24 09:00 is"),
        (
            "9:05",
            "A cron expression has five fields, this one has 1 field.",
            "write 5 9 * * * for every day, or at 9:05",
        ),
        ("6 pm", "A cron expression has five fields, this one has 2 fields.", "write 0 18 * * * for every day, or at"),
        ("12am", "A cron expression has five fields, this one has 1 field.", "write 0 0 * * * for every day"),
        ("@every 5m", "There is no shorthand `@every`.", "write */5 * * * *"),
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
        ("0 9 13 * 5", "At 09:00 on the 13th day of month or on Friday"),
        ("0 9 1,15 * mon-wed", "At 09:00 on the first and the 15th day of month or on Monday through Wednesday"),
        ("0 9 1-31 * 1", "At 09:00 every day"),  # one of the two always fits
        ("0 9 13 * 0-7", "At 09:00 every day"),
        ("0 9 1-31 2 1", "At 09:00 every day in February"),
        ("0 9 *,5 * 1", "At 09:00 on Monday"),  # begins with a star: both must fit
        ("0 9 */2 * 1", "At 09:00 on every second day of month if it's on Monday"),
        ("0 9 */40 * 1", "At 09:00 on the first day of month if it's on Monday"),
        ("0 9 * * 0,7", "At 09:00 on Sunday"),
        ("0 9 * * */3", "At 09:00 on Sunday, Wednesday, and Saturday"),
        ("*/90 * * * *", "At the start of every hour"),  # not every 90 minutes
        ("*/45 * * * *", "At minutes 0 and 45 of every hour"),
        ("5/20 * * * *", "At minutes 5, 25, and 45 of every hour"),
        ("*/7 * * * *", "Every seventh minute of every hour"),
        ("0 */6 * * *", "At 00:00, 06:00, 12:00, and 18:00 every day"),
        ("0 */25 * * *", "At 00:00 every day"),
        ("0 0 1 jan-mar/2 *", "At 00:00 on the first day of January and March"),
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


def test_what_is_set_while_the_clock_shows_an_hour_again_waits_for_tomorrow() -> None:
    again = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)  # a quarter past two for the second time
    assert following("30 2 * * *", BERLIN, again, again + timedelta(days=1, hours=1)) == [
        datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
    ]


def test_the_latest_time_is_none_before_the_schedule_was_set() -> None:
    daily, nine = Timing(read_cron("0 9 * * *"), BERLIN), datetime(2026, 1, 17, 8, tzinfo=UTC)
    assert daily.last_until(NOW, nine) is None
    assert daily.last_until(NOW, nine - timedelta(seconds=1)) == nine


@pytest.mark.parametrize("macro", sorted(crontab.MACROS))
def test_shorthands_equal_crontab_by_brute_force(macro: str) -> None:
    start = datetime(2025, 12, 20, tzinfo=UTC)
    end = start + timedelta(days=45)  # a new year, two months, six weeks
    assert following(macro, BERLIN, start, end) == crontab.times(macro, BERLIN, start, end) != []
    for zone, days in DAYS.items():
        for day in days:
            start = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(hours=15)
            end, place = start + timedelta(hours=50), ZoneInfo(zone)
            assert following(macro, place, start, end) == crontab.times(macro, place, start, end), zone


def test_what_changes_of_clocks_do_is_said_before() -> None:
    shown = preview(typed_timing("30 2 * * *", BERLIN, NOW), NOW, 2)
    assert shown.remarks == [
        "On 2026-03-29 the clocks are set forward over 02:30: it runs once, at 03:00.",
        "On 2026-10-25 the clocks are set back and 02:30 comes twice: it runs the first time only.",
    ]
    assert preview(typed_timing("30 4 * * *", BERLIN, NOW), NOW, 2).remarks == []
    assert preview(typed_timing("*/30 * * * *", BERLIN, NOW), NOW, 2).remarks == []


@pytest.mark.parametrize(
    "typed",
    ['"0 9 * * 1-5"', "“0 9 * * 1-5”", "`0 9 * * 1–5`", " 0 9 ∗ ∗ 1−5\n", "\u200b0 9 \\* \\* 1-5", "'0\t9 * * 1-5'"],
)
def test_what_phones_and_web_pages_make_of_it_is_understood(typed: str) -> None:
    timing = typed_timing(typed, BERLIN, NOW)
    assert " ".join(timing.text.split()) == "0 9 * * 1-5"
    assert timing.words() == "At 09:00 on Monday through Friday"


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


CASES = st.sampled_from([str.lower, str.upper, str.capitalize])


def terms(low: int, high: int, top: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    """Terms of a field; values up to `top` are drawn more often than not, since clocks change at night.

    `names`: of the values from `low` on; half of the values are written so.
    """
    number = st.integers(low, high) | st.integers(low, min(high, top))

    def written(value: int) -> st.SearchStrategy[str]:
        named = names[value - low] if value - low < len(names) else None
        return st.just(str(value)) | CASES.map(lambda case: case(named)) if named else st.just(str(value))

    value = number.flatmap(written)
    spans = st.tuples(number, number).map(sorted).flatmap(lambda pair: st.tuples(*map(written, pair))).map("-".join)
    steps = st.integers(1, 20).map(lambda step: f"/{step}")
    stepped = st.tuples(spans | value, steps).map("".join)
    several = st.lists(value | spans | stepped, min_size=1, max_size=3).map(",".join)
    return st.just("*") | st.tuples(st.just("*"), steps).map("".join) | several


def near(low: int, high: int, wanted: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    """Terms of a field; mostly such that hold on the day in question, or nothing would ever be compared."""
    some = terms(low, high, high, names)
    return st.one_of(st.just("*"), st.just(str(wanted)), some.map(lambda term: f"{term},{wanted}"), some)


@st.composite
def schedules(draw: st.DrawFn) -> tuple[str, ZoneInfo, datetime]:
    """An expression, and a day in a zone on which it is looked at."""
    zone = draw(st.sampled_from(sorted(DAYS)))
    day = datetime.fromisoformat(draw(st.sampled_from(DAYS[zone])))
    if draw(st.integers(0, 9)) == 0:
        return draw(CASES)(draw(st.sampled_from(sorted(crontab.MACROS)))), ZoneInfo(zone), day
    fields = (
        draw(terms(0, 59, 59)),
        draw(terms(0, 23, 4)),
        draw(near(1, 31, day.day)),
        draw(near(1, 12, day.month, tuple(crontab.MONTHS))),
        draw(near(0, 7, day.isoweekday(), tuple(crontab.WEEKDAYS))),
    )
    return " ".join(fields), ZoneInfo(zone), day


@settings(max_examples=600 if os.environ.get("CCDTEST_COMPLETE") else 100, deadline=None)
@given(drawn=schedules(), seconds=st.integers(0, 36 * 3600))
def test_times_equal_crontab_by_brute_force(drawn: tuple[str, ZoneInfo, datetime], seconds: int) -> None:
    expression, zone, day = drawn
    assume(len(expression) <= MAX_TEXT)
    start = day.replace(tzinfo=UTC) - timedelta(hours=24) + timedelta(seconds=seconds)
    end = start + timedelta(hours=40)
    expected = crontab.times(expression, zone, start, end)
    assert following_if_any(expression, zone, start, end) == expected
    if expected:
        assert Timing(read_cron(expression), zone).last_until(end, start) == expected[-1]


@settings(max_examples=300, deadline=None)
@given(data=st.data(), field=st.sampled_from(FIELDS))
def test_what_is_read_out_has_the_same_values(data: st.DataObject, field: Field) -> None:
    names = tuple(crontab.WEEKDAYS if field.high == 7 else crontab.MONTHS if field.high == 12 else ())
    checked = field.check(data.draw(terms(field.low, field.high, field.high, names)))
    assert field.values(field.told(checked)) == field.values(checked)


@pytest.mark.slow
def test_a_year_of_days_in_five_zones_equals_brute_force() -> None:
    for zone in map(ZoneInfo, ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "UTC")):
        start, end = NOW, NOW + timedelta(days=366)
        for expression in ("30 2 * * *", "15 0 * * 1-5", "*/20 2 29-31,1-2 * sun", "0 1-3 13 mar,NOV Fri", "@monthly"):
            assert following(expression, zone, start, end) == crontab.times(expression, zone, start, end)
