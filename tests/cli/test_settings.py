"""`ccdtasks settings`: the same acts as in Discord; a key never stands on a command line."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Command, Place

KEY = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG"
ANN = ("--user", "1001")


def test_settings_of_a_user_are_shown_and_changed(ccdtasks: Command) -> None:
    assert "pushes       not set up on this server" in ccdtasks("settings", "show").out
    ccdtasks("settings", "timezone", "Europe/Berlin", *ANN)
    ccdtasks("settings", "pushover-priority", "-2", "--sound", "bike", *ANN)
    shown = ccdtasks("settings", "pushover-notify-on", "error,complete", *ANN, "--json").json()
    assert (shown["user_id"], shown["timezone"], shown["priority"], shown["sound"], shown["events"]) == (
        "1001",
        "Europe/Berlin",
        -2,
        "bike",
        ["complete", "error"],
    )
    assert "priority     -2 (lowest: no alert at all)" in ccdtasks("settings", "show", *ANN).out
    assert "priority     0" in ccdtasks("settings", "show").out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("pushover-notify-on", "everything"), "invalid"),
        (("pushover-priority", "2", "--retry", "5"), "invalid"),
        (("timezone", "Atlantis"), "invalid"),
        (("pushover-disable",), "conflict"),
        (("pushover-test",), "unavailable"),
    ],
)
def test_mistakes_have_their_codes(ccdtasks: Command, words: tuple[str, ...], code: str) -> None:
    done = ccdtasks("settings", *words, "--json")
    assert done.error()["code"] == code


def test_a_key_is_read_from_standard_input_and_said_nowhere(ccdtasks: Command, place: Place) -> None:
    refused = ccdtasks("settings", "pushover-key", stdin=f"{KEY}\n")
    assert "not set up on this server" in refused.err
    with place.config.open("a") as file:
        file.write('\n[pushover]\ntoken = "azGDORePK8gMaC0QOYAMyEEuzJnyUi"\napi_url = "http://127.0.0.1:9"\n')
    away = ccdtasks("settings", "pushover-key", *ANN, stdin=f"{KEY}\n")
    assert "Pushover cannot be reached." in away.err
    assert KEY not in away.err + away.out + refused.err
