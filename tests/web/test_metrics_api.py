"""Figures by the API: those of one's own tasks, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

from tests.stories import claim, completed, lines, queue
from tests.web.conftest import ALICE, BOB, Site


async def _found(site: Site, price: float) -> None:
    await queue(site.core, actor=ALICE)
    claimed = await claim(site.core)
    await site.core.claims.running(claimed)
    result = {"type": "result", "summary": "=1+1", "values": {"price": price}}
    await site.core.claims.record(claimed, lines(result), 100)
    await site.core.claims.collecting(claimed)
    await site.core.claims.finish(claimed, completed())
    await site.core.claims.removed(claimed)


async def _get(site: Site, path: str, headers: dict[str, str]) -> tuple[int, str, Any]:
    async with site.browser.get(f"{site.url}/api/v1{path}", headers=headers) as answer:
        is_json = answer.content_type == "application/json"
        return answer.status, answer.content_type, await answer.json() if is_json else await answer.text()


async def test_figures_of_a_task_and_of_all(site: Site) -> None:
    for price in (5, 3):
        await _found(site, price)
    mine, his = await site.api(), await site.api(BOB)
    status, _, shape = await _get(site, "/tasks/ticket-checker/metrics?timeframe=week", mine)
    assert (status, shape["runs"], shape["success_rate"], len(shape["periods"])) == (200, 2, 1.0, 7)
    assert (await _get(site, "/metrics", mine))[2]["runs"] == 2
    assert (await _get(site, "/metrics", his))[2]["runs"] == 0
    assert (await _get(site, "/tasks/ticket-checker/metrics", his))[0] == 403
    assert (await _get(site, "/tasks/ticket-checker/metrics", {}))[0] == 401
    status, _, shape = await _get(site, "/tasks/ticket-checker/metrics?timeframe=year", mine)
    assert (status, shape["error"]["field"]) == (422, "timeframe")


async def test_a_history_by_pages_and_as_csv(site: Site) -> None:
    for price in (5, 4, 3):
        await _found(site, price)
    mine = await site.api()
    _, _, page = await _get(site, "/tasks/ticket-checker/history?limit=2", mine)
    _, _, rest = await _get(site, f"/tasks/ticket-checker/history?limit=2&after={page['next']}", mine)
    assert (len(page["items"]), len(rest["items"]), rest["next"]) == (2, 1, None)
    _, kind, text = await _get(site, "/tasks/ticket-checker/history?format=csv", mine)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert (kind, len(rows), rows[0]["summary"]) == ("text/csv", 3, "'=1+1")


async def test_the_course_of_a_number(site: Site) -> None:
    for price in (5, 3):
        await _found(site, price)
    _, _, shape = await _get(site, "/tasks/ticket-checker/values/price", await site.api())
    assert [point["number"] for point in shape["points"]] == [5, 3]
    status, _, shape = await _get(site, "/tasks/ticket-checker/values/prize", await site.api())
    assert (status, shape["error"]["hint"]) == (404, "it has price")
