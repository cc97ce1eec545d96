"""Timezones as people type them: places are found and completed; letters and distances lead to a place."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from ccdtasks.core.calendar.timezones import complete_zone, find_zone, typed_zone, zone_names
from ccdtasks.core.calendar.timing import preview, typed_timing
from ccdtasks.errors import Invalid
from ccdtasks.times import local_text

NOW = datetime(2026, 1, 17, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        (" europe/berlin\n", "Europe/Berlin"),
        ("America/Los Angeles", "America/Los_Angeles"),
        ("utc", "UTC"),
        ("US/Pacific", "US/Pacific"),
    ],
)
def test_a_place_is_found_however_it_is_written(typed: str, found: str) -> None:
    assert typed_zone(typed).key == found


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("PST", "did you mean America/Los_Angeles?"),
        ("pdt", "did you mean America/Los_Angeles?"),
        ("CST", "did you mean America/Chicago or Asia/Shanghai?"),
        ("IST", "did you mean Asia/Kolkata or Europe/Dublin or Asia/Jerusalem?"),
        ("CEST", "did you mean Europe/Berlin or Europe/Paris?"),
        ("new york", "did you mean America/New_York?"),
        ("Europe/Berln", "did you mean Europe/Berlin"),
        ("America", "add the city"),
        ("UTC+1", "name a place"),
        ("-08:00", "name a place"),
        ("../../etc/passwd", "use a name like"),
        ("localtime", "use a name like"),
        ("right/Europe/Berlin", "use a name like"),
        ("", "use a name like"),
        ("x" * 1000, "use a name like"),
        ("Zürich", "use a name like"),
    ],
)
def test_what_is_no_place_is_refused_with_the_one_that_was_meant(typed: str, hint: str) -> None:
    with pytest.raises(Invalid) as caught:
        typed_zone(typed)
    assert caught.value.field == "timezone"
    assert hint in caught.value.hint


def test_what_was_stored_by_an_earlier_release_can_still_be_read() -> None:
    assert find_zone("Factory").key == "Factory"


def test_letters_complete_to_the_places_that_are_meant() -> None:
    names = zone_names()
    assert complete_zone(names, "pst")[:2] == ["America/Los_Angeles", "PST8PDT"]
    assert complete_zone(names, "EST")[:2] == ["America/New_York", "EST"]
    assert complete_zone(names, "los")[0] == "America/Los_Angeles"
    for typed in ("", "a", "cet"):
        offered = complete_zone(names, typed)
        assert len(offered) == len(set(offered)) <= 25


def test_letters_without_summer_time_say_so() -> None:
    """Nine o'clock EST is ten in New York all summer."""
    (remark,) = preview(typed_timing("0 9 * * *", typed_zone("EST"), NOW), NOW, 5).remarks
    assert remark == "EST has no summer time; America/New_York has, so choose that for a clock there."
    assert preview(typed_timing("0 9 * * *", typed_zone("America/New_York"), NOW), NOW, 5).remarks == []


def test_a_sign_that_means_its_opposite_is_said() -> None:
    for name, said in (("Etc/GMT+1", "1 h behind UTC"), ("Etc/GMT-11", "11 h ahead of UTC")):
        shown = preview(typed_timing("0 9 * * *", typed_zone(name), NOW), NOW, 1)
        assert shown.remarks == [f"{name} is {said}, whatever its sign seems to say."]
    assert shown.times[0].hour == 22


def test_a_timezone_that_is_gone_is_shown_as_utc() -> None:
    assert local_text(NOW, "Mars/Olympus") == "2026-01-17 15:30 UTC"


def test_a_machine_without_timezones_of_its_own_knows_them_all() -> None:
    """A small container image has none: no schedule may rest on them."""
    code = "from ccdtasks.core.calendar import timezones as t"
    code += "; print(t.typed_zone('europe/berlin').key, len(t.zone_names()) > 300)"
    env = {**os.environ, "PYTHONTZPATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["Europe/Berlin", "True"]
