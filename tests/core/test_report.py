"""The failure report quotes pages, agents and logs; nothing in it becomes markup."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from uuid import UUID

from ccdtasks.core.runs.report import Evidence, failure_report
from ccdtasks.db.enums import Reason
from ccdtasks.db.models import RunEvent, TaskRun

AT = datetime(2026, 1, 17, 15, 30, tzinfo=UTC)
EVIL = "# Heading\n[click](javascript:alert(1)) <img src=x> @everyone `code` | *bold*\x00\x1b[2J"


def _event(seq: int, kind: str, **data: object) -> RunEvent:
    return RunEvent(session_id=UUID(int=1), run_id=UUID(int=2), seq=seq, at=AT, type=kind, data=data)


def _report(**changes: object) -> str:
    run = TaskRun(id=UUID(int=2), attempt=2, created_at=AT, started_at=AT, parameters={"origin": EVIL})
    evidence = {
        "task_name": "ticket-checker",
        "timezone": "America/Los_Angeles",
        "reason": Reason.TIMEOUT,
        "message": EVIL,
        "final_url": "https://kayak.com/`x`",
        "final_title": EVIL,
        "screenshot": "final.png",
        "page_text": f"Sorry\n`````\n{EVIL}",
        "detail": "Traceback\n```",
        "events": [
            _event(1, "step_started", step=1, title=EVIL),
            _event(2, "step_finished", step=1, ok=True, duration_ms=812),
            _event(3, "agent_text", text=EVIL),
            _event(4, "step_started", step=2, title="Opening kayak.com"),
        ],
        **changes,
    }
    return failure_report(run, Evidence(**evidence))  # type: ignore[arg-type]


def _outside_fences(text: str) -> str:
    """The lines that a renderer reads as Markdown."""
    kept, fence = [], ""
    for line in text.splitlines():
        if fence:
            fence = "" if line == fence else fence
        elif line.startswith("```"):
            fence = line.removesuffix("text")
        else:
            kept.append(line)
    assert not fence  # every block was closed by its own fence
    return "\n".join(kept)


def test_it_says_what_happened_and_where() -> None:
    text = _report()
    assert text.startswith("# ticket-checker: timeout\n")
    assert "- Started 2026-01-17 07:30 PST" in text
    assert "## Last steps" in text
    assert "(812 ms)" in text
    assert "- Opening kayak.com: not finished" in text
    assert "## Words of the last page" in text
    assert "## Details" in text


def test_nothing_foreign_is_markup() -> None:
    outside = _outside_fences(_report())
    headings = [line for line in outside.splitlines() if line.startswith("#")]
    assert headings == [
        "# ticket-checker: timeout",
        "## Last steps",
        "## Words of the last page",
        "## End of the log",
        "## Details",
    ]
    prose = re.sub(r"`[^`\n]*`|\\.", "", outside)  # without inline code and what is escaped
    assert "javascript" in prose
    assert not set("[]<>*_|`#") & set(prose.replace("# ", "").replace("#", ""))
    assert "\x1b" not in _report()
    assert "`https://kayak.com/ˋxˋ`" in outside


def test_what_is_not_there_has_no_heading() -> None:
    text = _report(page_text="", detail="", events=[], final_url=None, final_title=None, screenshot=None)
    assert "##" not in text
