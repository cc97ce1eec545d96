"""The log of a run as text: one line an event, for a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ccdtasks.amounts import counted
from ccdtasks.bot import text
from ccdtasks.bot.cards.card import Card, File, join
from ccdtasks.bot.cards.status import look_of
from ccdtasks.core.runs.runs import RunView
from ccdtasks.db.models import RunEvent
from ccdtasks.times import size_text

TAIL_LINES = 12
LINE = 2000
FILE_BYTES = 4 * 1024 * 1024


def log(view: RunView, events: Sequence[RunEvent], *, is_cut: bool) -> Card:
    """The last lines to read at once, and the whole log as a file."""
    look = look_of(view.run)
    lines = [line(event) for event in events]
    data = "\n".join(lines).encode()[-FILE_BYTES:]
    file = File(f"run-{str(view.run.id)[:8]}.log", data)
    tail = "\n".join(text.clamp(each, 160) for each in lines[-TAIL_LINES:])
    note = f"{counted(len(lines), 'line')}, {size_text(len(data))}" + (", the latest ones" if is_cut else "")
    return Card(
        title=f"{look.sign} {text.plain(view.task.task_name, 100)}: log",
        body=join(
            text.block(tail, 2500) if tail else "Nothing was logged yet.", f"The file has {note}." if lines else ""
        ),
        colour=look.colour,
        files=(file,) if lines else (),
    )


def line(event: RunEvent) -> str:
    """`15:30:02.417  step_finished  3 ok 812 ms`."""
    said = " ".join(_say(event.type, event.data or {}).split())
    return text.clamp(f"{event.at:%H:%M:%S}.{event.at.microsecond // 1000:03}  {event.type:<15}  {said}", LINE)


def _say(kind: str, data: Mapping[str, Any]) -> str:
    if kind == "step_started":
        return f"{data.get('step')}. {data.get('title', '')} [{data.get('tool', '')}]"
    if kind == "step_finished":
        outcome = "" if data.get("ok") else f" FAILED {data.get('error') or ''}"
        return f"{data.get('step')}.{outcome} {data.get('duration_ms')} ms"
    if kind == "page_loaded":
        return f'{data.get("url", "")} "{data.get("title", "")}" {data.get("load_ms")} ms status {data.get("status")}'
    if kind in ("agent_text", "progress", "warning", "user_message"):
        return str(data.get("text", ""))
    return " ".join(f"{name}={value}" for name, value in data.items() if value is not None)
