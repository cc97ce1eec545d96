"""Charts follow a result, never hold it up, and never fail it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ccdtasks.adapters.painter import Painter
from ccdtasks.adapters.storage import LocalStore, Stored
from ccdtasks.core import Core
from ccdtasks.core.figures.cleanups import Wanted
from ccdtasks.core.records.artifacts import ArtifactDraft
from ccdtasks.core.runs.claims import Claim
from ccdtasks.core.runs.trends import Trend, finding
from ccdtasks.db.enums import ArtifactKind, RunStatus
from ccdtasks.engine.charting import ChartingLoop, chart_of
from ccdtasks.engine.keeping import Keeper
from ccdtasks.errors import NotFound
from tests.clock import MoveableClock
from tests.people import ANN
from tests.stories import all_messages, claim, completed, lines, make_task


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
async def loop(core: Core, tmp_path: Path) -> AsyncIterator[ChartingLoop]:
    with ThreadPoolExecutor(1) as threads:
        store = LocalStore(tmp_path / "store")
        yield ChartingLoop(core, Keeper(core, store, None, threads), Painter(tmp_path / "cache"))
        await store.close()


async def ended(core: Core, values: dict[str, Any], typed: str = "") -> Claim:
    await core.runs.start(ANN, "ticket-checker", typed)
    claimed = await claim(core)
    await core.claims.created(claimed, "c" * 64)
    await core.claims.running(claimed)
    await core.claims.record(claimed, lines({"type": "result", "summary": "x", "values": values}), 100)
    await core.claims.collecting(claimed)
    assert (await core.claims.finish(claimed, completed())).status is RunStatus.COMPLETED
    await core.claims.removed(claimed)
    return claimed


async def test_a_chart_is_kept_with_the_run_and_its_message_is_told_anew(
    core: Core, clock: MoveableClock, loop: ChartingLoop
) -> None:
    await make_task(core, notify="seats < 100")
    await ended(core, {"price": 412, "seats": 3})
    clock.advance(days=1)
    last = await ended(core, {"price": 378, "seats": 2})
    (before,) = [row for row in await all_messages(core) if row.task_run_id == last.run_id and row.key == "result"]
    await loop.draw_wanted()
    (chart,) = [each for each in await core.artifacts.of(last.run_id) if each.kind is ArtifactKind.CHART]
    assert (chart.name, chart.content_type) == ("chart.png", "image/png")
    (after,) = [row for row in await all_messages(core) if row.task_run_id == last.run_id and row.key == "result"]
    assert after.revision == before.revision + 1
    assert await core.charting.wanted() == []


async def test_the_main_value_is_what_the_rule_is_about_with_its_limit(core: Core, clock: MoveableClock) -> None:
    await make_task(core, prompt="Find {most=4}", notify="seats < most")
    for seats in (9, 5):
        last = await ended(core, {"price": 412, "seats": seats})
        clock.advance(days=1)
    trends = await core.charting.of(last.run_id)
    assert trends is not None
    chart = chart_of(trends)
    assert [line.name for line in chart.lines] == ["seats", "price"]
    assert chart.threshold is not None
    assert (chart.threshold.number, chart.threshold.label) == (4, "most")
    assert chart.title == "Seats, last 2 runs: lowest so far"


@pytest.mark.parametrize(
    ("rule", "prompt", "expected"),
    [
        ("price < 400", "Find it", (400, "")),
        ("price < most", "Find {most=7}", (7, "most")),
        ("always", "Find {price_threshold=300}", (300, "price_threshold")),
        ("always", "Find it", None),
    ],
)
async def test_the_chart_of_a_result_and_that_over_time_have_the_same_limit(
    core: Core, clock: MoveableClock, rule: str, prompt: str, expected: tuple[float, str] | None
) -> None:
    await make_task(core, prompt=prompt, notify=rule)
    for price in (412, 378):
        last = await ended(core, {"price": price})
        clock.advance(days=1)
    trends = await core.charting.of(last.run_id)
    series = await core.metrics.series(ANN, "ticket-checker", "price")
    assert trends is not None
    assert trends.limit == series.threshold
    assert (trends.limit and (trends.limit.number, trends.limit.name)) == expected


async def test_runs_with_other_values_are_another_line(core: Core) -> None:
    await make_task(core, prompt="Find {where=SFO}")
    await ended(core, {"price": 412})
    other = await ended(core, {"price": 90}, "where:LAX")
    assert await core.charting.of(other.run_id) is None


async def test_what_was_counted_in_another_unit_is_no_part_of_the_line(core: Core) -> None:
    await make_task(core)
    for number, unit in ((412, "USD"), (380, "EUR"), (378, "$")):
        last = await ended(core, {"price": {"number": number, "unit": unit}})
    trends = await core.charting.of(last.run_id)
    assert trends is not None
    assert [number for _, number in trends.trends[0].points] == [412, 378]


async def test_what_cannot_be_drawn_is_left_out_and_not_tried_for_ever(core: Core, tmp_path: Path) -> None:
    await make_task(core)
    await ended(core, {"price": 412})
    last = await ended(core, {"price": 378})
    (tmp_path / "no-store").touch()
    with ThreadPoolExecutor(1) as threads:
        keeper = Keeper(core, LocalStore(tmp_path / "no-store/store"), None, threads)
        await ChartingLoop(core, keeper, Painter(tmp_path / "cache")).draw_wanted()
    assert await core.charting.wanted() == []
    assert (await core.runs.load(last.run_id)).run.status is RunStatus.COMPLETED


async def test_a_run_that_is_cleaned_up_before_its_chart_is_drawn_stops_nothing(core: Core) -> None:
    gone = uuid4()
    assert await core.charting.of(gone) is None
    assert not await core.charting.drawn(gone, ArtifactDraft("chart.png", ArtifactKind.CHART, "image/png", 9))


class CleanedUpMeanwhile(LocalStore):
    """A store that takes so long that the run is cleaned up before it answers."""

    def __init__(self, root: Path, clean_up: Callable[[], Awaitable[None]]) -> None:
        super().__init__(root)
        self._clean_up = clean_up

    async def put(self, key: str, descriptor: int, *, content_type: str, max_bytes: int) -> Stored:
        stored = await super().put(key, descriptor, content_type=content_type, max_bytes=max_bytes)
        await self._clean_up()
        return stored


async def test_a_chart_of_a_run_that_was_cleaned_up_while_it_was_drawn_is_not_left_behind(
    core: Core, clock: MoveableClock, tmp_path: Path
) -> None:
    await make_task(core)
    await ended(core, {"price": 412})
    last = await ended(core, {"price": 378})
    clock.advance(days=1)

    async def clean_up() -> None:
        await core.tasks.delete(ANN, "ticket-checker")
        plan = await core.cleanups.plan(ANN, "ticket-checker", Wanted())
        await core.cleanups.start(ANN, plan.task.id, plan.rule)
        while work := await core.cleanups.next_work():
            await core.cleanups.remove(work)

    with ThreadPoolExecutor(1) as threads:
        keeper = Keeper(core, CleanedUpMeanwhile(tmp_path / "store", clean_up), None, threads)
        await ChartingLoop(core, keeper, Painter(tmp_path / "cache")).draw_wanted()
    with pytest.raises(NotFound):
        await core.runs.load(last.run_id)
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


async def test_the_title_says_the_finding(clock: MoveableClock) -> None:
    def said(*numbers: float) -> str:
        days = [clock.now() + timedelta(days=place) for place in range(len(numbers))]
        return finding(Trend("lowest_price", "$", tuple(zip(days, numbers, strict=True))))

    assert said(412, 378, 342) == "Lowest price, last 2 days: lowest so far"
    assert said(342, 378, 412) == "Lowest price, last 2 days: highest so far"
    assert said(400, 342, 342) == "Lowest price, last 2 days: still $342"
    assert said(400, 200, 300, 330) == "Lowest price, last 3 days: +10 %"
    assert said(4, 0, 0, -2, 9, 1) == "Lowest price, last 5 days: −89 %"
