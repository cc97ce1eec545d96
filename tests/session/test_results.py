from __future__ import annotations

from typing import Any

import pytest

from session.results import ResultError, check


def taken(**arguments: Any) -> dict[str, Any]:
    return check({"summary": "ok", **arguments}, lambda name: f"out-{name}")


def refused(**arguments: Any) -> str:
    with pytest.raises(ResultError) as caught:
        taken(**arguments)
    return str(caught.value)


def test_a_whole_result_comes_back_in_the_form_of_the_contract() -> None:
    assert taken(
        summary=" **342** ",
        items=[{"airline": "United", "price": 342}, {"airline": "Delta", "price": None}],
        tables={"stops": [{"city": "LAX"}]},
        values={"lowest_price": {"number": 342, "unit": "USD"}, "options": 47},
        alerts=["cheap", {"text": "gone soon", "severity": "critical"}],
        files=["prices.csv"],
        evidence_url="https://shop.example/x",
    ) == {
        "summary": "**342**",
        "items": [{"airline": "United", "price": 342}, {"airline": "Delta", "price": None}],
        "tables": {"stops": [{"city": "LAX"}]},
        "values": {"lowest_price": {"number": 342, "unit": "USD"}, "options": {"number": 47, "unit": None}},
        "alerts": [{"text": "cheap", "severity": "info"}, {"text": "gone soon", "severity": "critical"}],
        "files": ["out-prices.csv"],
        "evidence_url": "https://shop.example/x",
    }


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"summary": "  "}, "summary must be a text"),
        ({"summary": "x" * 20_001}, "at most 20000"),
        ({"items": {"a": 1}}, "items must be a list of objects"),
        ({"items": [{"a": 1, "b": 2}, {"a": 1}]}, "items[1] lacks the column 'b'"),
        ({"items": [{"a": 1}, {"a": 1, "c": 2}]}, "items[1] has the column 'c'"),
        ({"items": [{"a": [1]}]}, "items[0].a must be a text"),
        ({"items": [{"a": float("nan")}]}, "items[0].a is not a number"),
        ({"items": [{}]}, "named columns"),
        ({"tables": {"t": [{"a": 1}, {}]}}, "tables.t[1] lacks the column 'a'"),
        ({"values": {"price": "342"}}, "values.price must be a number"),
        ({"values": {"price": float("inf")}}, "values.price must be a number"),
        ({"values": {"price": True}}, "values.price must be a number"),
        ({"values": {"price": {"number": 1, "unit": 2}}}, "values.price.unit"),
        ({"alerts": [{"text": "x", "severity": "loud"}]}, "alerts[0] needs a text and a severity"),
        ({"files": "prices.csv"}, "files must be a list"),
        ({"evidence_url": "shop.example"}, "evidence_url must be the full address"),
        ({"evidence_url": "file:///etc/passwd"}, "evidence_url must be the full address"),
        ({"price": 3}, "'price' is not a field"),
    ],
)
def test_a_mistake_is_named(arguments: dict[str, Any], complaint: str) -> None:
    assert complaint in refused(**arguments)


def test_all_mistakes_are_named_at_once() -> None:
    complaint = refused(values={"price": "x"}, evidence_url="x")
    assert "values.price" in complaint
    assert "evidence_url" in complaint


def test_no_file_is_copied_for_a_result_that_is_refused() -> None:
    given: list[str] = []
    with pytest.raises(ResultError):
        check({"summary": "", "files": ["a.csv"]}, lambda name: given.append(name) or name)
    assert given == []
