"""When a result is worth telling."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ccdtasks.core.outcome.changes import Changes, ValueChange
from ccdtasks.core.outcome.results import Alert, Result, Value
from ccdtasks.core.outcome.rules import judge, limit_of, read_rule
from ccdtasks.errors import Invalid

THEN = datetime(2026, 11, 23, 7, tzinfo=UTC)
PRICE = Result(summary="x", values={"Lowest price": Value(342, "$"), "options": Value(3)})


def changes(*values: ValueChange) -> Changes:
    return Changes("r", THEN, values)


@pytest.mark.parametrize(
    ("rule", "parameters", "is_told"),
    [
        ("lowest_price < price_threshold", {"price_threshold": "$400"}, True),
        ("lowest_price < price_threshold", {"price_threshold": "300"}, False),
        ("lowest_price < price_threshold", {"price_threshold": "1,200.50"}, True),
        ("lowest_price < price_threshold * 0.5", {"price_threshold": "400 USD"}, False),
        ("300 < lowest_price <= 342 and not options == 0", {}, True),
        ("options > 5 or min(lowest_price, 400) == 342", {}, True),
        ("new_rows > 0", {}, True),
        ("alerts > 0", {}, False),
        ("airline == 'United' and lowest_price < 350", {"airline": "United"}, True),
    ],
)
def test_a_condition_over_values_and_parameters_decides(rule: str, parameters: dict[str, str], is_told: bool) -> None:
    assert judge(read_rule(rule), PRICE, None, parameters, 4).is_told is is_told


def test_the_value_of_the_run_before_can_be_compared_with() -> None:
    was = changes(ValueChange("Lowest price", 412, 342, "$"))
    rule = read_rule("lowest_price < previous_lowest_price * 0.9")
    assert judge(rule, PRICE, was, {}, 0).is_told
    same = judge(rule, PRICE, changes(), {}, 0)
    assert not same.is_told
    first = judge(rule, PRICE, None, {}, 0)
    assert first.is_told
    assert "no earlier run" in first.why
    in_euros = judge(rule, PRICE, changes(ValueChange("Lowest price", 412, 342, "$", "EUR")), {}, 0)
    assert in_euros.is_told
    assert "another unit" in in_euros.why


def test_change_and_alert_decide_without_a_condition() -> None:
    assert judge("change", PRICE, changes(ValueChange("options", 2, 3)), {}, 0).is_told
    assert not judge("change", PRICE, changes(), {}, 0).is_told
    assert judge("change", PRICE, None, {}, 0).is_told
    assert not judge("alert", PRICE, None, {}, 0).is_told
    assert judge("alert", Result(alerts=(Alert("cheap"),)), None, {}, 0).is_told
    assert judge("always", PRICE, changes(), {}, 0).is_told


@pytest.mark.parametrize(
    ("rule", "parameters", "why"),
    [
        ("lowest_price < price_treshold", {"price_threshold": "400"}, "did you mean price_threshold?"),
        ("lowest_price < price_threshold", {"price_threshold": "cheap"}, "price_threshold is no number"),
        ("lowest_price < price_threshold", {"price_threshold": "4k"}, "price_threshold is no number"),
        ("lowest_price / (options - 3) > 1", {}, "divides by zero"),
        ("seats > 3", {}, "no value or parameter seats"),
        ("lowest_price * 1e308 * 1e308 - lowest_price * 1e308 * 1e308 > 0", {}, "no value"),
    ],
)
def test_a_condition_that_cannot_be_evaluated_tells_and_says_why(
    rule: str, parameters: dict[str, str], why: str
) -> None:
    verdict = judge(read_rule(rule), PRICE, None, parameters, 0)
    assert verdict.is_told
    assert verdict.is_broken
    assert why in verdict.why


@pytest.mark.parametrize(
    "rule",
    [
        "", "sometimes", "changes", "lowest_price <", "lowest_price", "1 < 2", "9**9**9 > price", "price ** 2 > 3",
        "__import__('os').system('id') > price", "price.real > 1", "[p for p in price] > 1", "price[0] > 1",
        "(lambda: 1)() < price", "price < 'x' * 1000000 if price else 1", "f'{price}' == ''", "max(price, key=min) > 1",
        "price << 1000000000 > 1", "price > 1" + " + 1" * 200, "(" * 90 + "price" + ")" * 90 + " > 1; 1", "price := 3",
        "b'' < price", "price < 1j", "price in (1, 2)", "price is None", "x" * 301, "\x00 < price",
    ],
)  # fmt: skip
def test_what_is_no_condition_is_refused_with_an_example(rule: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_rule(rule)
    assert caught.value.field == "notify"
    assert "lowest_price < price_threshold" in (caught.value.hint or "")


def test_words_are_read_in_any_case() -> None:
    assert read_rule("  Always ") == "always"
    assert read_rule("lowest_price   <  400") == "lowest_price < 400"


def test_the_number_that_a_rule_compares_with_is_known_for_the_chart() -> None:
    limit = limit_of("lowest_price < price_threshold and options > 1", [*PRICE.values], {"price_threshold": "$400"})
    assert limit is not None
    assert (limit.value_name, limit.number, limit.name) == ("Lowest price", 400, "price_threshold")
    written = limit_of("350 > lowest_price", [*PRICE.values], {})
    assert written is not None
    assert written.number == 350
    assert limit_of("change", [*PRICE.values], {}) is None


@pytest.mark.parametrize(
    ("value", "parameters", "number"),
    [
        ("lowest_price", {"price_threshold": "$400"}, 400),
        ("lowest_price", {"threshold": "400"}, 400),
        ("lowest_price", {"seats_threshold": "3", "price_threshold": "1.200,50 €"}, 1200.5),
        ("options", {"price_threshold": "400"}, None),
        ("lowest_price", {"price_threshold": "cheap"}, None),
        ("lowest_price", {"max_price": "400"}, None),
    ],
)
def test_without_a_rule_a_parameter_may_be_the_threshold_of_a_value(
    value: str, parameters: dict[str, str], number: float | None
) -> None:
    limit = limit_of("always", [value, "other"], parameters)
    assert (limit and limit.number) == number
