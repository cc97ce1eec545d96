"""What is new since the last good run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from ccdtasks.amounts import amount_text, change_text
from ccdtasks.core.outcome.changes import Changes, compare, stored_changes
from ccdtasks.core.outcome.results import read_result

THEN = datetime(2026, 11, 23, 7, tzinfo=UTC)
FLIGHTS = [
    {"rank": 1, "flight": "UA 1175", "airline": "United", "price": "$412"},
    {"rank": 2, "flight": "DL 480", "airline": "Delta", "price": "$431"},
    {"rank": 3, "flight": "UA 300", "airline": "United", "price": "$455"},
]


def changed(before: dict[str, Any], now: dict[str, Any]) -> Changes:
    return compare(read_result(before), read_result(now), "r", THEN)


def test_values_are_told_with_sign_and_base() -> None:
    found = changed(
        {"values": {"lowest_price": {"number": 412, "unit": "$"}, "options": 5, "seats": 3}},
        {"values": {"lowest_price": {"number": 378, "unit": "$"}, "options": 5, "stops": 1}},
    )
    assert found.lines() == ["lowest_price: $412 → $378 (−8 %)", "stops: 1 (new)", "seats: gone (was 3)"]


def test_amounts_in_different_units_are_never_reckoned_with_each_other() -> None:
    """A shop that shows dollars today and euros tomorrow did not become cheaper."""
    in_dollars = {"values": {"price": {"number": 342, "unit": "USD"}, "fee": {"number": 5, "unit": "$"}}}
    in_euros = {"values": {"price": {"number": 315, "unit": "EUR"}, "fee": {"number": 5, "unit": "USD"}}}
    found = changed(in_dollars, in_euros)
    assert found.lines() == ["price: $342 → €315"]
    assert stored_changes({"changes": json.loads(json.dumps(found.as_json()))}) == found
    same_number = {"values": {"price": {"number": 342, "unit": "EUR"}}}
    assert changed({"values": {"price": {"number": 342, "unit": "USD"}}}, same_number).lines() == ["price: $342 → €342"]


def test_rows_are_known_by_what_names_them_whatever_their_order_and_rank() -> None:
    now = [
        {"rank": 1, "flight": "UA 300", "airline": "United", "price": "$390"},
        {"rank": 2, "flight": "UA 1175", "airline": "United", "price": "$412"},
        {"rank": 3, "flight": "HA 11", "airline": "Hawaiian", "price": "$440"},
    ]
    found = changed({"items": FLIGHTS}, {"items": now})
    assert found.lines() == ["1 new row: HA 11", "1 row gone: DL 480", "UA 300: price $455 → $390 (−14 %)"]
    assert found.new_rows == 1


def test_the_same_rows_in_another_order_are_nothing_new() -> None:
    assert changed({"items": FLIGHTS}, {"items": FLIGHTS[::-1]}).is_empty
    renumbered = [{**row, "rank": 9, "checked at": "10:00"} for row in FLIGHTS]
    assert changed({"items": FLIGHTS}, {"items": renumbered}).is_empty


def test_without_a_name_rows_are_new_or_gone_as_often_as_they_are_there() -> None:
    row = {"price": 3, "seats": 1}
    found = changed({"items": [row, row]}, {"items": [row, {"price": 4, "seats": 1}]})
    assert found.lines() == ["1 new row: 4, 1", "1 row gone: 3, 1"]


def test_further_tables_are_compared_under_their_names() -> None:
    found = changed(
        {"items": FLIGHTS, "tables": {"hotels": [{"name": "Ala Moana"}]}},
        {"items": FLIGHTS, "tables": {"hotels": [{"name": "Ala Moana"}, {"name": "Prince"}]}},
    )
    assert found.lines() == ["1 new row in hotels: Prince"]


def test_prose_alone_is_compared_as_prose_and_never_beside_data() -> None:
    assert changed({"summary": "All  quiet"}, {"summary": "all quiet"}).is_empty
    assert changed({"summary": "All quiet"}, {"summary": "Smoke"}).lines() == ["What it says is different."]
    assert changed({"summary": "a", "values": {"x": 1}}, {"summary": "b", "values": {"x": 1}}).is_empty


def test_thousands_of_changes_are_counted_and_the_first_are_named() -> None:
    before = [{"name": f"thing {number}", "price": number} for number in range(5000)]
    now = [{"name": f"thing {number}", "price": number + 1} for number in range(2500, 10_000)]
    found = changed({"items": before}, {"items": now})
    (table,) = found.tables
    assert (table.added_count, table.removed_count, table.changed_count) == (5000, 2500, 2500)
    assert len(json.dumps(found.as_json())) < 20_000
    assert found.lines()[0] == "5,000 new rows: thing 5000, thing 5001, thing 5002, …"
    assert found.lines()[-1] == "2,497 more rows changed"


def test_changes_are_the_same_after_they_were_stored() -> None:
    found = changed({"items": FLIGHTS, "values": {"x": 1}}, {"items": [{**FLIGHTS[0], "price": "$1"}], "values": {}})
    stored = json.loads(json.dumps({"changes": found.as_json()}))
    assert stored_changes(stored) == found
    assert stored_changes(None) is None


def test_numbers_are_written_as_people_write_them() -> None:
    assert change_text(412, 378) == "412 → 378 (−8 %)"
    assert change_text(0, 5, "€") == "€0 → €5"
    assert change_text(-2, 2, "°C") == "−2 °C → 2 °C"
    assert amount_text(-3.5, "$") == "−$3.50"
    assert amount_text(1_211.5, "USD") == "$1,211.50"
    assert [amount_text(number, "EUR") for number in (12, 0.5, 0.034, 9.999)] == ["€12", "€0.50", "€0.034", "€10"]
    assert amount_text(12, "CHF") == "12 CHF"
    assert amount_text(2847) == "2,847"
    assert amount_text(3905, "s") == "1 h 5 m"
    assert amount_text(8_300_000, "bytes") == "8.3 MB"
    assert amount_text(1_200_000, "€", short=True) == "€1.2 M"
    assert amount_text(0.00034) == "0.00034"
    assert amount_text(1.5e18) == "1.50e18"
