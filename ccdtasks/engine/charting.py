"""Draws the values of results after they were told: a chart never delays a result, and never fails one."""

from __future__ import annotations

import asyncio
import logging
from uuid import UUID

from ccdtasks.adapters.charts import Line, LineChart, Threshold, paint
from ccdtasks.adapters.painter import Painter
from ccdtasks.core import Core
from ccdtasks.core.runs.trends import CHART, Trends
from ccdtasks.db.enums import ArtifactKind
from ccdtasks.engine.keeping import Keeper
from ccdtasks.errors import CcdError
from ccdtasks.events import ChartWanted, wait_for_bell

_LOOK_EVERY_S = 60.0
_RETRY_S = 5.0

_log = logging.getLogger(__name__)


class ChartingLoop:
    """One chart after the other, each in a process of its own."""

    def __init__(self, core: Core, keeper: Keeper, painter: Painter) -> None:
        self._core = core
        self._keeper = keeper
        self._painter = painter

    async def run(self) -> None:
        """Draws what is wanted, also what an earlier life left, until cancelled."""
        with self._core.bus.bell(ChartWanted) as bell:
            while True:
                try:
                    await self.draw_wanted()
                except CcdError as error:
                    _log.warning("charts wait: %s", error.message)
                    await asyncio.sleep(_RETRY_S)
                await wait_for_bell(bell, _LOOK_EVERY_S)

    async def draw_wanted(self) -> None:
        """Draws until nothing is wanted any more. What cannot be drawn is left out and said in the log."""
        while run_ids := await self._core.charting.wanted():
            for run_id in run_ids:
                await self._draw(run_id)

    async def _draw(self, run_id: UUID) -> None:
        trends, draft = await self._core.charting.of(run_id), None
        if trends is not None:
            try:
                picture = await paint(self._painter, chart_of(trends))
                draft = await self._keeper.keep_bytes(CHART, picture, f"runs/{run_id}/charts", ArtifactKind.CHART)
            except CcdError as error:
                _log.warning("the chart of run %s is left out: %s", run_id, error.message)
        if not await self._core.charting.drawn(run_id, draft) and draft is not None and draft.location:
            await self._keeper.delete(draft)


def chart_of(trends: Trends) -> LineChart:
    """The chart as it is drawn."""
    limit = trends.limit
    return LineChart(
        title=trends.title,
        lines=tuple(Line(trend.name, trend.points, trend.unit or "") for trend in trends.trends),
        threshold=Threshold(limit.number, limit.name, trends.trends[0].unit or "") if limit else None,
        timezone=trends.timezone,
    )
