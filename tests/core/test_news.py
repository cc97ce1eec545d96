"""From a result to what is told of it: compared, judged by the rule, kept with the run."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccdtasks.core import Core
from ccdtasks.core.outcome.changes import compare, stored_changes
from ccdtasks.core.outcome.results import read_result
from ccdtasks.core.outcome.rules import judge
from ccdtasks.db.enums import ArtifactKind, Reason, RunStatus
from ccdtasks.errors import CcdError
from tests.clock import MoveableClock
from tests.people import ANN, BOB
from tests.stories import FINAL_PNG, claim, completed, lines, make_task, told


async def ended(core: Core, found: dict[str, Any], typed: str = "") -> UUID:
    await core.runs.start(ANN, "ticket-checker", typed)
    claimed = await claim(core)
    await core.claims.created(claimed, "c" * 64)
    await core.claims.running(claimed)
    await core.claims.record(claimed, lines({"type": "result", "summary": "x"}), 100)
    await core.claims.take_result(claimed, {"summary": "x", **found})
    await core.claims.collecting(claimed)
    await core.claims.finish(claimed, completed())
    await core.claims.removed(claimed)
    return claimed.run_id


async def test_a_run_keeps_what_is_new_and_what_its_rule_said(core: Core, clock: MoveableClock) -> None:
    await make_task(core, notify="change")
    first = await ended(core, {"values": {"price": 412}})
    clock.advance(days=1)
    second = await ended(core, {"values": {"price": 378}})
    third = await ended(core, {"values": {"price": 378}})
    news = [(await core.runs.load(run_id)).run.news or {} for run_id in (first, second, third)]
    assert [each["is_told"] for each in news] == [True, True, False]
    found = stored_changes(news[1])
    assert found is not None
    assert found.since_run_id == str(first)
    assert found.lines() == ["price: 412 → 378 (−8 %)"]
    assert "result" in await told(core, second)
    assert "result" not in await told(core, third)
    assert (await told(core, third))["opening"]["ended"] == "completed"


async def test_a_failed_run_between_is_no_base(core: Core) -> None:
    await make_task(core, **{"retries": {"attempts": 1}})
    first = await ended(core, {"values": {"price": 412}})
    empty = await ended(core, {"summary": ""})
    assert (await core.runs.load(empty)).run.reason is Reason.UNCLEAR_RESULT
    last = await ended(core, {"values": {"price": 400}})
    found = stored_changes((await core.runs.load(last)).run.news)
    assert found is not None
    assert found.since_run_id == str(first)


async def test_a_condition_over_a_parameter_that_a_person_typed(core: Core) -> None:
    await make_task(core, prompt="Under {limit=$400}", notify="price < limit")
    quiet = await ended(core, {"values": {"price": 450}})
    loud = await ended(core, {"values": {"price": 450}}, 'limit:"$1,000"')
    assert "result" not in await told(core, quiet)
    assert "result" in await told(core, loud)


async def test_ten_thousand_rows_are_taken_whole_and_looked_at_by_the_page(core: Core) -> None:
    await make_task(core)
    rows = [{"name": f"thing {number}", "price": number} for number in range(10_000)]
    run_id = await ended(core, {"items": rows, "tables": {"hotels": [{"name": "Prince"}]}})
    result = await core.runs.result(run_id)
    assert result is not None
    assert result.items == rows
    view = await core.runs.brief(run_id)
    assert [(table.outline.name, table.outline.count, len(table.rows)) for table in view.tables] == [
        (None, 10_000, 5),
        ("hotels", 1, 1),
    ]
    _, outlines, page = await core.runs.rows(ANN, run_id, 0, 9_995, 10)
    assert len(outlines) == 2
    assert [*page.rows] == rows[9_995:]
    with pytest.raises(CcdError):
        await core.runs.rows(BOB, run_id, 0, 0, 10)


async def test_no_picture_no_good_run(core: Core) -> None:
    await make_task(core, **{"retries": {"attempts": 1}})
    await core.runs.start(ANN, "ticket-checker")
    claimed = await claim(core)
    await core.claims.running(claimed)
    await core.claims.record(claimed, lines({"type": "result", "summary": "x"}), 100)
    await core.claims.collecting(claimed)
    fake = type(FINAL_PNG)("final.png", ArtifactKind.DOWNLOAD, "application/octet-stream", 20)
    run_end = await core.claims.finish(claimed, completed(artifacts=[fake]))
    assert (run_end.status, run_end.reason) == (RunStatus.FAILED, Reason.UNCLEAR_RESULT)


CELL = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
TABLE = st.lists(st.dictionaries(st.sampled_from(["name", "price", "id", "a b", ""]), CELL, max_size=4), max_size=5)
VALUES = st.dictionaries(
    st.text(max_size=8), st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=3
)
RESULTS = st.fixed_dictionaries(
    {
        "summary": st.text(max_size=20),
        "items": TABLE,
        "values": VALUES,
        "tables": st.dictionaries(st.text(max_size=4), TABLE, max_size=2),
    }
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    RESULTS,
    RESULTS,
    st.sampled_from(["change", "alert", "price < limit", "a_b > previous_a_b * 2", "rows / new_rows > 1"]),
)
def test_any_two_results_can_be_compared_and_judged(before: dict[str, Any], now: dict[str, Any], rule: str) -> None:
    try:
        old, new = read_result(before), read_result(now)
    except CcdError:
        return
    found = compare(old, new, "r", MoveableClock().now())
    assert all(isinstance(line, str) for line in found.lines())
    assert stored_changes({"changes": found.as_json()}) == found
    assert compare(new, new, "r", MoveableClock().now()).is_empty
    judge(rule, new, found, {"limit": "$400"}, 1)
