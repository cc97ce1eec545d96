"""Foreign text in Discord: never over a limit, no link that hides where it leads, no call that nobody meant."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccdtasks.bot import text

NASTY = st.text(
    alphabet=st.sampled_from(list("*_~`|[]()<>@#&!:/\\- \n.0123456789aehnorvy\u202e\u200b😀")), max_size=300
)
_CALL = re.compile(r"@(everyone|here)|<(@[!&]?|#)\d+>|<a?:\w+:\d+>|<t:\d+|</\w+:\d+>")
_MASKED = re.compile(r"\]\(")


@given(NASTY, st.integers(1, 200))
def test_a_plain_line_formats_links_and_calls_nothing(foreign: str, limit: int) -> None:
    line = text.plain(foreign, limit)
    assert len(line) <= limit
    assert "\n" not in line
    assert not re.search(r"(?<!\\)(?:\\\\)*[*_~`|\[\]]", line)
    assert not _CALL.search(line)
    assert not re.match(r"(#|-#|>|-|\+|\d+\.) ", line)


@given(NASTY, st.integers(20, 400))
def test_markdown_keeps_its_shape_but_hides_no_address_and_calls_nobody(foreign: str, limit: int) -> None:
    shown = text.markdown(foreign, limit)
    assert len(shown) <= limit
    assert not _MASKED.search(shown)
    assert not _CALL.search(shown)
    assert shown.count("```") % 2 == 0
    assert "\u202e" not in shown


@given(NASTY, st.integers(4, 100))
def test_code_cannot_be_left(foreign: str, limit: int) -> None:
    shown = text.code(foreign, limit)
    assert len(shown) <= max(limit, 5)
    assert "`" not in shown.strip("`")


@given(NASTY, st.integers(12, 200))
def test_a_block_cannot_be_left(foreign: str, limit: int) -> None:
    shown = text.block(foreign, limit)
    assert len(shown) <= limit
    assert shown.count("```") == 2


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("see [your bank](https://evil.example/login)", "see your bank (https://evil.example/login)"),
        ("[https://a.example](https://a.example)", "https://a.example"),
        ("![x](https://a.example/x.png)", "x (https://a.example/x.png)"),
        ("[x](https://a.example/(y))", "[x]\u200b(https://a.example/(y))"),
        ("**bold** stays", "**bold** stays"),
        ("@everyone look", "@\u200beveryone look"),
        ("<@123> <#4>", "<\u200b@\u200b123> <\u200b#4>"),
        ("```\nnever closed", "```\nnever closed\n```"),
    ],
)
def test_markdown_of_strangers(foreign: str, shown: str) -> None:
    assert text.markdown(foreign) == shown


def test_an_address_is_clickable_only_when_it_is_one() -> None:
    assert text.address("https://shop.example/a?b=1") == "https://shop.example/a?b=1"
    assert text.address("javascript:alert(1)") == "`javascript:alert(1)`"
    assert text.address("https://shop.example@evil.example/") == "`https://shop.example@evil.example/`"


@given(st.text(max_size=300), st.integers(1, 100))
def test_a_cut_is_marked_and_fits(foreign: str, limit: int) -> None:
    cut = text.clamp(foreign, limit)
    assert len(cut) <= limit
    assert cut == foreign or cut.endswith("…")


@given(st.text(min_size=1, max_size=300))
def test_a_channel_name_is_one(foreign: str) -> None:
    name = text.channel_name(foreign)
    assert 1 <= len(name) <= 100
    assert name == name.lower()
    assert not re.search(r"\s", name)
