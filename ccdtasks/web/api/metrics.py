"""`/api/v1/metrics`, `/api/v1/tasks/{task}/metrics|history|values/{value}`: figures as JSON, or with `?format=csv`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast, get_args

from aiohttp import web

from ccdtasks.core.figures.metrics import Timeframe
from ccdtasks.core.figures.metrictables import period_rows, report_shape, run_rows, series_rows, series_shape
from ccdtasks.core.outcome.results import Table
from ccdtasks.core.outcome.tables import csv_text
from ccdtasks.core.runs.shapes import run_row_shape
from ccdtasks.errors import Invalid
from ccdtasks.web.api.asking import answer, answer_page, limit_in
from ccdtasks.web.auth import actor_of
from ccdtasks.web.context import CORE


async def show_metrics(request: web.Request) -> web.Response:
    """The figures of one task, or of all that the token's user may see."""
    actor, core = await actor_of(request), request.app[CORE]
    found = await core.metrics.of(actor, request.match_info.get("task"), _timeframe(request))
    return _told(request, lambda: report_shape(found), lambda: period_rows(found))


async def show_history(request: web.Request) -> web.Response:
    """The runs of a task, the newest first, by pages."""
    actor, core = await actor_of(request), request.app[CORE]
    after, limit = request.query.get("after"), limit_in(request)
    page = await core.runs.page(actor, request.match_info["task"], after=after, limit=limit)
    if _is_csv(request):
        return _csv(run_rows(page.rows))
    return answer_page(page, run_row_shape)


async def show_value(request: web.Request) -> web.Response:
    """The course of one number of a task's results."""
    actor, core = await actor_of(request), request.app[CORE]
    names = request.match_info
    found = await core.metrics.series(actor, names["task"], names["value"], _timeframe(request))
    return _told(request, lambda: series_shape(found), lambda: series_rows(found))


ROUTES = (
    web.get("/api/v1/metrics", show_metrics),
    web.get("/api/v1/tasks/{task}/metrics", show_metrics),
    web.get("/api/v1/tasks/{task}/history", show_history),
    web.get("/api/v1/tasks/{task}/values/{value}", show_value),
)


def _timeframe(request: web.Request) -> Timeframe:
    given = request.query.get("timeframe", "month")
    if given not in get_args(Timeframe):
        raise Invalid("timeframe", f"timeframe must be one of {', '.join(get_args(Timeframe))}.")
    return cast(Timeframe, given)


def _is_csv(request: web.Request) -> bool:
    given = request.query.get("format", "json")
    if given not in ("json", "csv"):
        raise Invalid("format", "format must be json or csv.")
    return given == "csv"


def _told(request: web.Request, shape: Callable[[], dict[str, Any]], rows: Callable[[], Table]) -> web.Response:
    return _csv(rows()) if _is_csv(request) else answer(shape())


def _csv(rows: Table) -> web.Response:
    return web.Response(text=csv_text(rows), content_type="text/csv", charset="utf-8")
