"""Numbers as pages write them, and that no text of a page keeps the reader busy."""

from __future__ import annotations

import pytest

from ccdtasks.core.numbers import read_number


@pytest.mark.parametrize(
    ("text", "number", "unit"),
    [
        ("$1,299.00", 1299, "$"),
        ("1.299,00 €", 1299, "€"),
        ("1 299,00\u00a0€", 1299, "€"),
        ("1'299.50 CHF", 1299.5, "CHF"),
        ("−4 %", -4, "%"),
        ("$ -5", -5, "$"),
        ("  12  ", 12, ""),
        ("3,5 km/h", 3.5, "km/h"),
    ],
)
def test_a_number_and_its_unit(text: str, number: float, unit: str) -> None:
    found = read_number(text)
    assert found is not None
    assert (found[0], found[1].strip()) == (number, unit)


@pytest.mark.parametrize("text", ["", "cheap", "2 for 1", "2026-01-17", "12:30", "1" * 2000])
def test_other_words_are_no_number(text: str) -> None:
    assert read_number(text) is None


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    ("text", "found"),
    [
        (" " * 2000, None),
        ("$" + " " * 1998 + "x", None),
        ("\n" * 2000, None),
        ("1" + " " * 1999, (1, " !")),
        ("1." * 1000, None),
    ],
)
def test_a_cell_full_of_spaces_is_read_at_once(text: str, found: tuple[float, str] | None) -> None:
    """It took half a minute, in which nothing else ran; a page can put a hundred of them into a table."""
    assert read_number(f"{text}!") == found
