"""Schedules from the shell."""

from __future__ import annotations

import re

from tests.cli.conftest import Command

BERLIN = ("--timezone", "Europe/Berlin", "--from", "2026-03-28T12:00+01:00")


def test_cron_says_what_an_expression_means(ccdtasks: Command) -> None:
    shown = ccdtasks("cron", "30 2 * * *", *BERLIN, "--count", "2")
    assert shown.code == 0
    assert shown.out.splitlines() == [
        "At 02:30 every day, Europe/Berlin time.",
        "  2026-03-29 03:00 CEST",
        "  2026-03-30 02:30 CEST",
        "On 2026-03-29 the clocks are set forward over 02:30: it runs once, at 03:00.",
        "On 2026-10-25 the clocks are set back and 02:30 comes twice: it runs the first time only.",
        "On 2027-03-28 the clocks are set forward over 02:30: it runs once, at 03:00.",
    ]
    told = ccdtasks("cron", "30 2 * * *", *BERLIN, "--count", "2", "--json").json()
    assert told["times"] == ["2026-03-29T01:00:00+00:00", "2026-03-30T00:30:00+00:00"]
    assert told["local_times"] == ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
    assert (told["schedule"], told["timezone"], told["words"]) == ("30 2 * * *", "Europe/Berlin", "At 02:30 every day")
    once = ccdtasks("cron", "in 2h", *BERLIN, "--json").json()
    assert once["times"] == ["2026-03-28T13:00:00+00:00"]


def test_cron_says_what_is_wrong(ccdtasks: Command) -> None:
    for words, code, said in (
        (("61 * * * *",), 4, "error: Minute 61 is not between 0 and 59."),
        (("0 0 31 2 *",), 4, "never happens"),
        (("@daily", "--timezone", "Berlin"), 4, "(hint: did you mean Europe/Berlin?)"),
        (("@daily", "--from", "soon"), 4, "“soon” is no time."),
        (("@daily", "--from", "9999-12-31"), 4, "9999-12-31 is too far away."),
        (("@daily", "--from", "0001-01-01T00:00+14:00"), 4, "is too far away."),
        (("@daily", "--count", "0"), 2, "Invalid value for '--count'"),
    ):
        done = ccdtasks("cron", *words)
        assert (done.code, done.out) == (code, ""), words
        assert said in done.err, words
    assert ccdtasks("cron", "61 * * * *", "--json").error()["field"] == "cron"


def test_a_task_is_scheduled_paused_resumed_and_unscheduled(ccdtasks: Command) -> None:
    ccdtasks("task", "create", "ticket-checker", "Fly from {origin} to {to=HNL}")
    refused = ccdtasks("task", "schedule", "ticket-checker", "@daily")
    assert refused.code == 4
    assert "`origin` would be empty. (hint: give them with the schedule, which keeps them: origin=...)" in refused.err
    made = ccdtasks("task", "schedule", "ticket-checker", "0 6 * * *", "origin=SFO", "--timezone", "America/New_York")
    assert made.code == 0
    assert made.out.startswith("✓ ticket-checker is scheduled.\nAt 06:00 every day, America/New_York time.\n  20")
    shown = ccdtasks("task", "show", "ticket-checker").out
    assert "At 06:00 every day, America/New_York time, with origin=SFO" in shown
    told = ccdtasks("task", "show", "ticket-checker", "--json").json()
    assert (told["schedule"], told["timezone"], told["paused"]) == ("0 6 * * *", "America/New_York", False)
    assert told["next_run_at"].endswith("+00:00")
    assert re.search(r"next run +20\d\d-\d\d-\d\d 06:00 E[SD]T", shown)  # on the clock of the schedule
    assert re.search(r" 06:00 E[SD]T", ccdtasks("task", "list").out)
    kept = ccdtasks("task", "schedule", "ticket-checker")
    assert (kept.code, "0 6 * * * set" in kept.out) == (0, True)
    moved = ccdtasks("task", "schedule", "ticket-checker", "--timezone", "Asia/Tokyo", "--json").json()
    assert (moved["schedule"], moved["timezone"]) == ("0 6 * * *", "Asia/Tokyo")
    rows = ccdtasks("task", "schedule", "ticket-checker", "--limit", "5", "--json").json()["history"]
    assert [(row["action"], row["by"]) for row in rows] == [("updated", "shell"), ("created", "shell")]
    assert ccdtasks("task", "pause", "ticket-checker").code == 0
    assert "paused" in ccdtasks("task", "list").out
    again = ccdtasks("task", "pause", "ticket-checker")
    assert (again.code, "ccdtasks task resume ticket-checker" in again.err) == (6, True)
    resumed = ccdtasks("task", "resume", "ticket-checker", "--json").json()
    assert len(resumed["preview"]["times"]) == 5
    assert "has no schedule any more" in ccdtasks("task", "unschedule", "ticket-checker").out
    assert ccdtasks("task", "unschedule", "ticket-checker").code == 6
