"""Results: what a hostile session may send, and what people get to see of it."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccdtasks.core.outcome.results import Value, read_result, stored_result
from ccdtasks.core.outcome.tables import csv_text
from ccdtasks.core.text import clean_json, clean_line, clean_text, clean_url, read_json_object
from ccdtasks.errors import Invalid

FLIGHTS = {
    "summary": "Cheapest: $342 (United)",
    "items": [{"airline": "United", "price": 342}, {"airline": "Delta", "stops": 1}],
    "values": {"lowest_price": {"number": 342, "unit": "USD"}, "options": 47},
    "alerts": [{"text": "2 options are under $400", "severity": "warning"}, "plain"],
    "files": ["flights.csv"],
    "evidence_url": "https://flights.example/?q=1",
}


def test_a_result_is_read_whole() -> None:
    result = read_result(FLIGHTS)
    assert result.values == {"lowest_price": Value(342, "USD"), "options": Value(47)}
    assert [alert.severity for alert in result.alerts] == ["warning", "info"]
    assert not result.is_empty
    assert not result.cut
    assert stored_result(json.loads(json.dumps(result.as_json()))) == result


@pytest.mark.parametrize("given_result", [{}, {"summary": " \n"}, {"items": [], "tables": {"a": []}}])
def test_nothing_is_an_empty_result(given_result: dict[str, Any]) -> None:
    assert read_result(given_result).is_empty


@pytest.mark.parametrize(
    "full", [{"summary": "No news."}, {"items": [{"a": 1}]}, {"values": {"x": 0}}, {"files": ["a"]}]
)
def test_something_is_a_result(full: dict[str, Any]) -> None:
    assert not read_result(full).is_empty


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"summary": 5}, "`summary` of the result must be text."),
        ({"items": "rows"}, "`items` of the result must be a list of rows."),
        ({"items": [1]}, "`each row of items` of the result must be an object of column names and values."),
        ({"tables": []}, None),
        ({"tables": [1]}, "`tables` of the result must be an object of tables by name."),
        ({"tables": {"a": 1}}, "`tables.a` of the result must be a list of rows."),
        ({"values": {"p": "cheap"}}, "`values.p` of the result must be a finite number, or {number, unit}."),
        ({"values": {"p": True}}, "`values.p` of the result must be a finite number, or {number, unit}."),
        ({"values": {"p": float("nan")}}, "`values.p` of the result must be a finite number, or {number, unit}."),
        ({"values": {"p": 10**400}}, "`values.p` of the result must be a finite number, or {number, unit}."),
        ({"alerts": [{"severity": "info"}]}, "`each alert` of the result must be text, or {text, severity}."),
        ({"files": [1]}, "`files` of the result must be a list of file names."),
    ],
)
def test_a_result_of_the_wrong_kind(wrong: dict[str, Any], sentence: str | None) -> None:
    if sentence is None:
        assert read_result(wrong).is_empty
        return
    with pytest.raises(Invalid) as caught:
        read_result(wrong)
    assert (caught.value.field, caught.value.message) == ("result", sentence)


def test_what_is_too_large_is_cut_and_said() -> None:
    result = read_result(
        {
            "summary": "s" * 30_000,
            "items": [{f"c{n}": n for n in range(100)}] * 21_000,
            "values": {f"v{n}": n for n in range(300)},
            "alerts": ["a"] * 60,
            "files": ["f"] * 200,
            "tables": {f"t{n}": [] for n in range(30)},
        }
    )
    assert len(result.summary) == 20_000
    assert len(result.items) == 20_000
    assert len(result.items[0]) == 60
    assert result.cut == (
        "the summary beyond 20,000 characters",
        "10 tables",
        "1,000 rows of items",
        "columns of items beyond 60",
        "100 values",
        "10 alerts",
        "100 files",
    )
    assert stored_result(result.as_json()) == result


def test_names_that_look_the_same_do_not_take_each_others_place() -> None:
    rows = [{"price ": 1, "price": 2, "n" * 90: 3, "n" * 91: 4}] * 2
    result = read_result(
        {"items": rows, "tables": {"a": [{"x": 1}], "a\n": [{"x": 2}]}, "values": {"v": 1, "v\x00": 2}}
    )
    assert [[*row.values()] for row in result.items] == [[1, 2, 3, 4]] * 2
    assert [*result.items[0]][:2] == ["price", "price (2)"]
    assert result.tables == {"a": [{"x": 1}], "a (2)": [{"x": 2}]}
    assert result.values == {"v": Value(1), "v (2)": Value(2)}


def test_a_long_cell_is_cut_and_said() -> None:
    result = read_result({"items": [{"article": "a" * 5000}, {"article": "b" * 3000}]})
    assert result.cut == ("texts of items beyond 2,000 characters",)


def test_numbers_beyond_what_json_readers_agree_on_are_kept() -> None:
    """Ids of parcels and posts have 18 digits and more, and a value may be counted in the smallest of units."""
    result = read_result(
        {
            "items": [{"parcel": 1876543210987654321, "post": -(10**30), "odd": 10**4000, "nan": float("nan")}],
            "values": {"wei": 12 * 10**18, "views": {"number": -(2**53), "unit": "views"}},
        }
    )
    assert result.items == [
        {"parcel": "1876543210987654321", "post": f"-1{'0' * 30}", "odd": "(a huge number)", "nan": None}
    ]
    assert result.values == {"wei": Value(12e18), "views": Value(float(-(2**53)), "views")}


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(FLIGHTS, ANY_JSON)))
def test_any_json_is_a_result_or_refused(sent: dict[str, Any]) -> None:
    try:
        result = read_result(sent)
    except Invalid:
        return
    text = json.dumps(result.as_json(), allow_nan=False)
    assert "\\u0000" not in text
    text.encode()
    csv_text(result.items)


@pytest.mark.parametrize(
    "formula",
    [
        "=1+1",
        "+1+1",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        " =1",
        '=HYPERLINK("http://evil.example","x")',
        "=cmd|' /C calc'!A0",
        "＝1+1",
    ],
)
def test_a_spreadsheet_runs_nothing(formula: str) -> None:
    text = csv_text([{formula: formula}])
    assert all(cell.startswith("'") for row in csv.reader(io.StringIO(text)) for cell in row)


@pytest.mark.parametrize("formula", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", " -cmd", "＝1"])
@pytest.mark.parametrize("separator", [";", "\t", "\n", "\r\n"])
def test_a_spreadsheet_that_splits_cells_elsewhere_runs_nothing_either(formula: str, separator: str) -> None:
    text = csv_text([{"a": f"x{separator}{formula}"}])
    pieces = [piece.strip(' "') for piece in re.split(r"[;\t\r\n]+", text.partition("\r\n")[2])]
    assert not any(piece.startswith(("=", "@", "+", "-", "＝")) for piece in pieces)


def test_lists_and_numbers_inside_of_a_cell_stay_as_they_are() -> None:
    text = "1; -5; +3\n- wool\n- silk; 2 + 2 = 4"
    assert csv_text([{"a": text}]) == f'a\r\n"{text}"\r\n'


def test_numbers_stay_numbers() -> None:
    text = csv_text([{"a": -5, "b": "-5.5", "c": "+3%", "d": "-1,200", "e": True, "f": None, "g": "a-b"}])
    assert text == 'a,b,c,d,e,f,g\r\n-5,-5.5,+3%,"-1,200",true,,a-b\r\n'


def test_rows_with_different_columns() -> None:
    assert csv_text(read_result(FLIGHTS).items) == "airline,price,stops\r\nUnited,342,\r\nDelta,,1\r\n"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://a.example/x", "https://a.example/x"),
        ("javascript:alert(1)", None),
        ("file:///etc/passwd", None),
        ("https://a b", None),
        ("https://a.example/\x00", None),
        ("https://a.example/" + "x" * 3000, None),
        (5, None),
    ],
)
def test_addresses(url: object, kept: str | None) -> None:
    assert clean_url(url) == kept


def test_texts_lose_what_harms() -> None:
    assert clean_text("a\x00b\x1bc\ud800d\te\r\nf", 100) == "abcd\te\nf"
    assert clean_text("abcdef", 4) == "abc…"
    assert clean_line(" a\n\n b ", 10) == "a b"


@given(ANY_JSON)
def test_cleaned_json_is_strict_json(value: Any) -> None:
    text = json.dumps(clean_json(value), allow_nan=False)
    assert "\\u0000" not in text
    text.encode("utf-8")


@pytest.mark.parametrize(
    "line", [b"", b"[1]", b"{", b"\xff{}", b"null", b"[" * 100_000, b'{"a":' * 50_000, b"1" * 10_000]
)
def test_lines_that_are_no_objects(line: bytes) -> None:
    assert read_json_object(line) is None
