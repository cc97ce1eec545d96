"""Names of files that strangers chose: nothing lost, nothing escapes, nothing lies."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccdtasks.core.filenames import free_name


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("prices.csv", "prices.csv"),
        ("Preise für Öl.csv", "Preise für Öl.csv"),
        ("✈️ flights 🇩🇪 👨‍👩‍👧.csv", "✈️ flights 🇩🇪 👨‍👩‍👧.csv"),
        ("हिन्दी.txt", "हिन्दी.txt"),
        ("價格.xlsx", "價格.xlsx"),
        ("دليل الأسعار.csv", "دليل الأسعار.csv"),
        ("sub/folder/a.csv", "a.csv"),
        ("..\\..\\windows\\a.csv", "a.csv"),
        ("/etc/passwd", "passwd"),
        ("..", "file"),
        ("", "file"),
        (".", "file"),
        (".bashrc", "bashrc"),
        ("a b\tc\nd.txt", "a b c d.txt"),
        ("a\x00b\x1b[31m.txt", "ab[31m.txt"),
        ('a"<b>|c?*:`.txt', "a__b__c____.txt"),
        ("trailing. . ", "trailing"),
    ],
)
def test_a_name_stays_as_far_as_it_can(given_name: str, kept: str) -> None:
    assert free_name(given_name, set()) == kept


@pytest.mark.parametrize(
    "control", ["\u202e", "\u202d", "\u2066", "\u2067", "\u200e", "\u200f", "\u061c", "\ufeff", "\u2028"]
)
def test_no_name_shows_another_ending_than_it_has(control: str) -> None:
    assert free_name(f"holiday{control}gpj.exe", set()).replace(" ", "") == "holidaygpj.exe"


def test_names_that_become_the_same_are_both_kept() -> None:
    taken: set[str] = set()
    for name in ("a/x.csv", "b/x.csv", "x\u202e.csv", "é.txt", "é.txt"):
        taken.add(free_name(name, taken))
    assert taken == {"x.csv", "x (2).csv", "x (3).csv", "é.txt", "é (2).txt"}


@given(st.text(max_size=400), st.sets(st.text(max_size=5)))
def test_every_name_is_one_that_a_disk_takes(name: str, taken: set[str]) -> None:
    made = free_name(name, taken)
    assert made not in taken
    assert 0 < len(os.fsencode(made)) <= 255
    assert "/" not in made
    assert made not in (".", "..")
    assert not any(
        unicodedata.bidirectional(sign) in ("RLO", "LRO", "RLE", "LRE", "RLI", "LRI", "FSI") for sign in made
    )


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    taken: set[str] = set()
    for _ in range(500):
        name = free_name("👩‍🚀" * 300 + "." + "𠀀" * 300, taken)
        (tmp_path / name).write_text("x")
        taken.add(name)
    assert len(list(tmp_path.iterdir())) == 500
