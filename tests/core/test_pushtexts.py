"""What a push says, and that it fits."""

from __future__ import annotations

import pytest

from ccdtasks.core.phone.pushtexts import MESSAGE, TITLE, address, clip, plain, tried
from tests.clock import MoveableClock

FAMILY = "👨‍👩‍👧‍👦"


@pytest.mark.parametrize(
    ("text", "limit", "cut"),
    [
        ("short", 5, "short"),
        ("one two three", 9, "one two…"),
        ("onetwothree", 6, "onetw…"),
        ("ab👍🏽cd", 4, "ab…"),  # not a thumb without its skin tone
        (f"x{FAMILY}y", 5, "x…"),  # not half of a family
        ("cafe\u0301s", 5, "caf…"),  # not an e without its accent
        ("☃️☃️☃️", 4, "☃️…"),
    ],
)
def test_what_is_cut_is_cut_well(text: str, limit: int, cut: str) -> None:
    assert clip(text, limit) == cut
    assert len(clip(text, limit)) <= limit


@pytest.mark.parametrize("length", [MESSAGE - 1, MESSAGE, MESSAGE + 1, 5000])
def test_nothing_exceeds_its_limit(length: int) -> None:
    assert len(clip("ß" * length, MESSAGE)) == min(length, MESSAGE)
    assert len(clip(FAMILY * length, TITLE)) <= TITLE


def test_markdown_is_shown_without_its_marks() -> None:
    text = "# Found\n\n**Cheapest:** `$342` ([United](https://u.example/x))\n- 2 options\n> *under* $400"
    assert plain(text) == "Found\nCheapest: $342 (United)\n2 options\nunder $400"


def test_an_address_that_does_not_fit_is_left_out() -> None:
    assert address("https://discord.com/channels/1/2") == "https://discord.com/channels/1/2"
    assert address("https://example.com/" + "x" * 600) is None
    assert address("javascript:alert(1)") is None


def test_a_test_says_that_nothing_is_wrong(clock: MoveableClock) -> None:
    assert "Nothing is wrong." in tried(clock.now()).message
