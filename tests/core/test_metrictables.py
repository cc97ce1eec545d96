"""Figures as files: whatever a page or a person wrote, a spreadsheet takes it for text."""

from __future__ import annotations

import csv
import io

from ccdtasks.core import Core
from ccdtasks.core.figures.metrictables import period_rows, run_rows, series_rows
from ccdtasks.core.outcome.tables import csv_text
from tests.clock import MoveableClock
from tests.people import ANN
from tests.stories import completed, lines, running

FORMULA = '=HYPERLINK("http://evil.example")'


async def test_no_cell_is_a_formula(core: Core, clock: MoveableClock) -> None:
    claim = await running(core)
    values = {FORMULA: {"number": -3, "unit": "+cmd"}}
    await core.claims.record(
        claim,
        lines(
            {"type": "step_started", "step": 1, "title": FORMULA},
            {"type": "step_finished", "step": 1, "ok": True, "duration_ms": 5},
            {"type": "result", "summary": FORMULA, "values": values},
        ),
        100,
    )
    await core.claims.collecting(claim)
    await core.claims.finish(claim, completed())
    tables = (
        run_rows((await core.runs.page(ANN, "ticket-checker")).rows),
        period_rows(await core.metrics.of(ANN, "ticket-checker", "day")),
        series_rows(await core.metrics.series(ANN, "ticket-checker", FORMULA)),
    )
    for rows in tables:
        text = csv_text(rows)
        cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
        assert any(FORMULA in cell for cell in cells), text
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))], text
    assert "-3.0" in csv_text(tables[2])
