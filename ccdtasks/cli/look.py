"""How things look in a terminal: the signs, colours and tables of docs/shell.md."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rich.table import Table
from rich.text import Text

from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.db.models import TaskRun

GREY, BLUE, AMBER, GREEN, RED, VIOLET = "#80848E", "#3B82F6", "#F59E0B", "#22A06B", "#D9363E", "#8B5CF6"

_LOOKS = {
    RunStatus.SCHEDULED: ("◌", GREY),
    RunStatus.WAITING_DEPENDENCY: ("◌", GREY),
    RunStatus.QUEUED: ("◌", GREY),
    RunStatus.STARTING: ("▶", BLUE),
    RunStatus.RUNNING: ("▶", BLUE),
    RunStatus.COLLECTING: ("▶", BLUE),
    RunStatus.NEEDS_HUMAN: ("✋", AMBER),
    RunStatus.COMPLETED: ("✓", GREEN),
    RunStatus.FAILED: ("✕", RED),
    RunStatus.CANCELLED: ("■", GREY),
}
_UNCLEAR = {Reason.BLOCKED, Reason.UNCLEAR_RESULT, Reason.LOGIN_REQUIRED}

CHECK_LOOKS = {"ok": ("✓", GREEN), "warn": ("?", AMBER), "fail": ("✕", RED)}
"""A check's outcome -> its sign and colour."""


def status_text(status: RunStatus, reason: Reason | None = None) -> Text:
    """Sign and word in the status's colour; the sign and the word alone say it too."""
    sign, colour = ("?", VIOLET) if reason in _UNCLEAR else _LOOKS[status]
    words = status.value.replace("_", " ")
    if reason and status is RunStatus.FAILED:
        words += f": {reason.value.replace('_', ' ')}"
    return Text(f"{sign} {words}", style=colour)


def sign_of(status: RunStatus | None) -> str:
    """The sign of a state alone; that of waiting for what never ran."""
    return _LOOKS[status or RunStatus.QUEUED][0]


def plain_table(*columns: str) -> Table:
    """A table without boxes, as wide as it needs."""
    table = Table(*columns, box=None, pad_edge=False, header_style="bold", title_justify="left", title_style="")
    for column in table.columns:
        column.overflow = "fold"
    return table


def places(rows: Iterable[tuple[str, str]]) -> Text:
    """Names with paths beside them, one a line; a path is never broken, so that it can be copied."""
    lines = list(rows)
    width = max((len(name) for name, _ in lines), default=0)
    return Text("\n".join(f"{name:<{width}}  {path}" for name, path in lines), no_wrap=True, overflow="ignore")


def when(moment: datetime | None) -> str:
    """A time on this machine's own clock, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def asked_text(run: TaskRun) -> str:
    """What a run asks that nobody answered yet, with the choices: `Which colour? (red, blue)`; else nothing."""
    asked = (run.live or {}).get("human") or {}
    said = str(asked.get("text") or asked.get("reason") or "")
    return f"{said} ({', '.join(asked['choices'])})" if asked.get("choices") else said
