"""The front page: what goes on, and what ended last, for who is logged in."""

from __future__ import annotations

from aiohttp import web

from ccdtasks.core.runs.runs import RunRow
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.web.auth import actor_of
from ccdtasks.web.context import CORE
from ccdtasks.web.pages import page

_RECENT = 20

LOOKS: dict[RunStatus, tuple[str, str]] = {
    RunStatus.SCHEDULED: ("◌", "grey"),
    RunStatus.WAITING_DEPENDENCY: ("◌", "grey"),
    RunStatus.QUEUED: ("◌", "grey"),
    RunStatus.STARTING: ("▶", "blue"),
    RunStatus.RUNNING: ("▶", "blue"),
    RunStatus.COLLECTING: ("▶", "blue"),
    RunStatus.NEEDS_HUMAN: ("✋", "amber"),
    RunStatus.COMPLETED: ("✓", "green"),
    RunStatus.FAILED: ("✕", "red"),
    RunStatus.CANCELLED: ("■", "grey"),
}
"""Sign and colour of each state."""

_UNCLEAR = {Reason.BLOCKED, Reason.UNCLEAR_RESULT, Reason.LOGIN_REQUIRED}


async def home(request: web.Request) -> web.Response:
    """The runs that are going, and the latest that ended."""
    overview = await request.app[CORE].runs.status(await actor_of(request), recent=_RECENT)
    return page(
        "home.html",
        has_form=True,
        going=[_line(row) for row in overview.going],
        recent=[_line(row) for row in overview.recent],
        holds=overview.holds,
    )


ROUTES = (web.get("/", home),)


def _line(row: RunRow) -> dict[str, object]:
    run = row.run
    sign, colour = ("?", "violet") if run.reason in _UNCLEAR else LOOKS[run.status]
    words = run.status.value.replace("_", " ")
    if run.reason and run.status is RunStatus.FAILED:
        words += f": {run.reason.value.replace('_', ' ')}"
    return {
        "id": run.id,
        "task": row.task_name,
        "sign": sign,
        "colour": colour,
        "words": words,
        "at": run.completed_at or run.started_at or run.queued_at or run.created_at,
    }
