"""The report of a run: tables in every order, the log by kind and words, values over time; all of it page by page."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from ccdtasks.core import Core
from ccdtasks.core.outcome.results import read_result
from ccdtasks.core.outcome.resulttables import Order
from ccdtasks.core.records.runlog import PAGE_LINES, Wanted
from ccdtasks.core.runs.claims import Claim
from ccdtasks.core.runs.reports import PAGE_ROWS, Report, ReportWanted, TableView
from ccdtasks.db.enums import Reason
from ccdtasks.db.models import TaskRun
from ccdtasks.errors import NotFound
from tests.clock import MoveableClock
from tests.stories import claim, completed, fail, lines, running


async def _finish(core: Core, claimed: Claim, **result: Any) -> None:
    await core.claims.record(claimed, lines({"type": "result", **result}, first=1_000_000), 100)
    await core.claims.collecting(claimed)
    await core.claims.finish(claimed, completed())
    await core.claims.removed(claimed)


async def _done(core: Core, *events: dict[str, Any], **result: Any) -> Claim:
    claimed = await running(core)
    await core.claims.record(claimed, lines(*events), 50)
    await _finish(core, claimed, **result)
    return claimed


async def _column(core: Core, claimed: Claim, order: Order, place: int = 0, start: int = 0) -> list[Any]:
    """The first column of a table as a reader sees it in that order."""
    report = await core.reports.load(claimed.run_id, ReportWanted(tables={place: TableView(order, start)}))
    (table,) = [each for each in report.tables if each.outline.place == place]
    return [row.get(table.outline.columns[0]) for row in table.rows]


async def test_a_table_is_handed_out_by_the_page(core: Core) -> None:
    rows = [{"n": number, "name": f"thing {number}"} for number in range(2 * PAGE_ROWS + 7)]
    claimed = await _done(core, summary="Many.", items=rows)
    assert await _column(core, claimed, Order()) == [*range(PAGE_ROWS)]
    assert await _column(core, claimed, Order(0, is_descending=True)) == [*range(2 * PAGE_ROWS + 6, PAGE_ROWS + 6, -1)]
    assert await _column(core, claimed, Order(), start=2 * PAGE_ROWS) == [*range(2 * PAGE_ROWS, 2 * PAGE_ROWS + 7)]
    assert await _column(core, claimed, Order(), start=10**9) == [2 * PAGE_ROWS + 6]
    report = await core.reports.load(claimed.run_id)
    assert report.tables[0].outline.count == len(rows)
    assert report.result is not None
    assert report.result.summary == "Many."


@pytest.mark.parametrize(
    ("cells", "in_order"),
    [
        (["$9.50", "$100", None, "$1,299.00", ""], ["$9.50", "$100", "$1,299.00", None, ""]),
        (["1.299,00 €", "89 €", "−4 €"], ["−4 €", "89 €", "1.299,00 €"]),
        ([3, 20, 100.5, -7], [-7, 3, 20, 100.5]),
        (["Gate 10", "gate 9", "Bus"], ["Bus", "gate 9", "Gate 10"]),
        (["2026-01-17", "2025-12-31"], ["2025-12-31", "2026-01-17"]),
        (["17 Jan", "3 Feb"], ["3 Feb", "17 Jan"]),
        ([True, False], [False, True]),
        (["é", "z", "a", '"quoted" \\ %'], ['"quoted" \\ %', "a", "z", "é"]),
    ],
)
async def test_rows_are_put_in_the_order_that_people_expect(core: Core, cells: list[Any], in_order: list[Any]) -> None:
    claimed = await _done(core, items=[{"cell": cell, "other": 1} for cell in cells])
    empty = sum(cell in (None, "") for cell in cells)
    assert await _column(core, claimed, Order(0)) == in_order
    turned = in_order[: len(cells) - empty][::-1] + in_order[len(cells) - empty :]
    assert await _column(core, claimed, Order(0, is_descending=True)) == turned


async def test_tables_and_columns_keep_their_order_and_odd_names(core: Core) -> None:
    tables = {"zebra": [{"z": 1, 'a "b" \' $.c': 2}], 'an "odd" one': [{"x": 1}], "a": [{"y": 5}]}
    claimed = await _done(core, items=[{"price": 1, "by": "United"}], tables=tables)
    report = await core.reports.load(claimed.run_id)
    seen = {each.outline.name: [*each.outline.columns] for each in report.tables}
    assert [*seen] == [None, "zebra", 'an "odd" one', "a"]
    assert seen[None] == ["price", "by"]
    assert seen["zebra"] == ["z", 'a "b" \' $.c']
    (zebra,) = [each for each in report.tables if each.outline.name == "zebra"]
    asked = ReportWanted(tables={zebra.outline.place: TableView(Order(1))})
    report = await core.reports.load(claimed.run_id, asked)
    assert [each.rows for each in report.tables if each.outline.name == "zebra"] == [tables["zebra"]]


async def test_a_result_of_an_earlier_version_shows_its_columns(core: Core) -> None:
    claimed = await _done(core, items=[{"a": 1}, {"b": 2, "a": 3}])
    async with core.db.write() as session:
        run = await session.get_one(TaskRun, claimed.run_id)
        run.result_data = {name: value for name, value in (run.result_data or {}).items() if name != "columns"}
    report = await core.reports.load(claimed.run_id)
    assert [*report.tables[0].outline.columns] == ["a", "b"]


async def test_a_column_that_is_not_there_changes_nothing(core: Core) -> None:
    claimed = await _done(core, items=[{"a": 2}, {"a": 1}])
    assert await _column(core, claimed, Order(7)) == [2, 1]


LOG = [
    {"type": "step_started", "step": 1, "title": "Opening shop.example"},
    {"type": "step_finished", "step": 1, "ok": True, "duration_ms": 5},
    {"type": "step_finished", "step": 2, "ok": False, "error": "100% Sold_out: Café «Zoë»"},
    {"type": "step_finished", "step": 3, "ok": "odd", "error": "x"},
    {"type": "warning", "text": "tab crashed", "what": "tab_crashed"},
    {"type": "page_loaded", "url": "https://shop.example/", "title": "Shop"},
]


async def _log(core: Core, claimed: Claim, **wanted: Any) -> list[str]:
    report = await core.reports.load(claimed.run_id, ReportWanted(log=Wanted(from_end=False, **wanted)))
    return [str(line.data.get("step") or line.data.get("what") or line.type) for line in report.log.lines]


async def test_the_log_is_read_by_kind_and_by_words(core: Core) -> None:
    claimed = await _done(core, *LOG, summary="Done.")
    assert await _log(core, claimed) == ["1", "1", "2", "3", "tab_crashed", "page_loaded", "result"]
    assert await _log(core, claimed, kind="problems") == ["2", "3", "tab_crashed"]
    assert await _log(core, claimed, kind="pages") == ["page_loaded"]
    assert await _log(core, claimed, kind="nonsense") == await _log(core, claimed)
    assert await _log(core, claimed, words="SHOP.example") == ["1", "page_loaded"]
    assert await _log(core, claimed, words="Café «Zoë»") == ["2"]
    assert await _log(core, claimed, words="100%") == ["2"]
    assert await _log(core, claimed, words="d_o") == ["2"]
    assert await _log(core, claimed, words="title") == []  # the words of the log, not the names of its fields
    assert await _log(core, claimed, words="crashed", kind="pages") == []


async def test_pages_of_the_log_follow_each_other_without_a_gap(core: Core) -> None:
    claimed = await running(core)
    await core.claims.record(claimed, lines(*({"type": "x", "step": n} for n in range(1, 2 * PAGE_LINES + 11))), 50)

    async def page(**wanted: Any) -> tuple[list[int], Report]:
        report = await core.reports.load(claimed.run_id, ReportWanted(log=Wanted(**wanted)))
        return [line.data["step"] for line in report.log.lines], report

    latest, report = await page()  # it still runs: its latest lines are of interest
    assert latest == [*range(PAGE_LINES + 11, 2 * PAGE_LINES + 11)]
    assert (report.log.has_earlier, report.log.has_later, report.log.count) == (True, False, 2 * PAGE_LINES + 10)
    before, report = await page(before=report.log.lines[0].at)
    assert before == [*range(11, PAGE_LINES + 11)]
    assert report.log.has_earlier
    assert report.log.has_later
    first, report = await page(before=report.log.lines[0].at)
    assert first == [*range(1, 11)]
    assert not report.log.has_earlier
    following, report = await page(after=report.log.lines[-1].at)
    assert following == before
    assert report.log.has_later


async def test_values_are_shown_over_the_last_good_runs(core: Core, clock: MoveableClock) -> None:
    for price in (412, 378, 342):
        await _done(core, values={"lowest_price": {"number": price, "unit": "USD"}})
        clock.advance(days=1)
    broken = await running(core)
    await core.claims.record(broken, lines({"type": "result", "values": {"lowest_price": 1}}), 10)
    await fail(core, broken, Reason.BLOCKED)
    last = await _done(core, values={"lowest_price": {"number": 360, "unit": "USD"}, "seats": 4})
    history = (await core.reports.load(last.run_id)).history
    assert [point.number for point in history["lowest_price"]] == [412, 378, 342, 360]
    assert [point.number for point in history["seats"]] == [4]
    async with core.db.read() as session:
        first = await session.get_one(TaskRun, last.run_id)
    assert history["seats"][0].at == first.completed_at


async def test_runs_that_looked_for_something_else_are_no_part_of_the_course(core: Core) -> None:
    other = await _done(core, values={"lowest_price": 90})
    async with core.db.write() as session:
        (await session.get_one(TaskRun, other.run_id)).parameters = {"destination": "LAX"}
    last = await _done(core, values={"lowest_price": 412})
    history = (await core.reports.load(last.run_id)).history
    assert [point.number for point in history["lowest_price"]] == [412]


async def test_every_try_of_a_start_is_there(core: Core, clock: MoveableClock) -> None:
    first = await running(core)
    await fail(core, first)
    clock.advance(hours=2)
    second = await claim(core)
    for run_id in (first.run_id, second.run_id):
        report = await core.reports.load(run_id)
        assert [(each.run_id, each.attempt) for each in report.attempts] == [(first.run_id, 1), (second.run_id, 2)]
    assert report.attempts[0].reason is Reason.SESSION_CRASHED


async def test_a_run_that_has_nothing_yet(core: Core) -> None:
    claimed = await running(core)
    report = await core.reports.load(claimed.run_id)
    assert (report.result, [*report.tables], report.log.count) == (None, [], 0)
    with pytest.raises(NotFound):
        await core.reports.load(uuid4())


async def test_a_large_result_is_not_read_whole(core: Core) -> None:
    claimed = await running(core)
    result = read_result({"items": [{"text": "x" * 500, "n": number} for number in range(3000)]})
    async with core.db.write() as session:
        (await session.get_one(TaskRun, claimed.run_id)).result_data = result.as_json()
    report = await core.reports.load(claimed.run_id)
    assert "result_data" not in vars(report.run)
    assert len(report.tables[0].rows) == PAGE_ROWS
