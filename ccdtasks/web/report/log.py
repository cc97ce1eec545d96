"""The log of a run in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup

from ccdtasks.amounts import number_text
from ccdtasks.core.outcome.guestlog import count
from ccdtasks.core.records.runlog import KINDS, Line, LogPage
from ccdtasks.web.report.address import Address, moment_text
from ccdtasks.web.report.steps import took_text
from ccdtasks.web.report.words import Room

KIND_WORDS = {
    "": "Everything",
    "problems": "Problems",
    "steps": "Steps",
    "pages": "Pages",
    "words": "What Claude said",
    "people": "Questions to people",
    "results": "Results and files",
}
_TEXT = 1500
_LISTED = 8

_NAMES = {
    "session_started": "Session started",
    "desktop_ready": "Desktop ready",
    "agent_started": "Claude started",
    "agent_text": "Claude",
    "step_started": "Step begins",
    "step_finished": "Step done",
    "progress": "Progress",
    "page_loaded": "Page",
    "metrics": "Figures",
    "question": "Question",
    "human_needed": "Needs a person",
    "human_done": "Answered",
    "result": "Result",
    "file_saved": "File",
    "user_message": "Message",
    "api_retry": "Claude is asked again",
    "agent_finished": "Claude finished",
    "warning": "Warning",
    "egress_refused": "Address refused",
    "inputs_missing": "Input missing",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A line. `day`: said where it begins; `tone`: red for problems, with a sign beside it."""

    at: str
    moment: str
    day: str | None
    sign: str
    tone: str
    name: str
    text: Markup


@dataclass(frozen=True, slots=True)
class Log:
    """A page of the log, and the links to the others."""

    entries: Sequence[Entry]
    count: int
    kind: str
    kinds: Sequence[tuple[str, str]]
    words: str
    is_filtered: bool
    first: str | None
    earlier: str | None
    later: str | None
    last: str | None
    everything: str


def log_of(found: LogPage, address: Address, timezone: str, room: Room) -> Log:
    """The lines as people read them, on the clock of the task."""
    wanted, lines = address.wanted().log, found.lines
    fresh: dict[str, Any] = {"after": None, "before": None, "end": None}

    def to(**changes: Any) -> str:
        return address.to("log", **{**fresh, **changes})

    earlier = to(before=moment_text(lines[0].at)) if lines and found.has_earlier else None
    later = to(after=moment_text(lines[-1].at)) if lines and found.has_later else None
    return Log(
        entries=_entries(lines, ZoneInfo(timezone), room),
        count=found.count,
        kind=wanted.kind,
        kinds=[(kind, KIND_WORDS[kind]) for kind in ("", *KINDS)],
        words=wanted.words,
        is_filtered=bool(wanted.kind or wanted.words.strip()),
        first=to(end="0") if earlier else None,
        earlier=earlier,
        later=later,
        last=to(end="1") if later else None,
        everything=to(kind=None, words=None),
    )


def _entries(lines: Sequence[Line], zone: ZoneInfo, room: Room) -> list[Entry]:
    entries: list[Entry] = []
    day = None
    for line in lines:
        at: datetime = line.at.astimezone(zone)
        is_bad = line.type in KINDS["problems"] or (line.type == "step_finished" and line.data.get("ok") is not True)
        entries.append(
            Entry(
                at=f"{at:%H:%M:%S}",
                moment=line.at.isoformat(timespec="milliseconds"),
                day=f"{at:%A, %d %B %Y}" if at.date() != day else None,
                sign="✕" if is_bad else "",
                tone="red" if is_bad else "",
                name=_name(line, is_bad),
                text=room.take(_said(line.type, line.data), _TEXT),
            )
        )
        day = at.date()
    return entries


def _name(line: Line, is_bad: bool) -> str:
    if line.type == "step_finished" and is_bad:
        return "Step failed"
    return _NAMES.get(line.type) or line.type.replace("_", " ").capitalize()


def _said(kind: str, data: Mapping[str, Any]) -> str:
    """What the event says, in one line or a paragraph."""
    step, text = data.get("step"), data.get("text")
    if kind == "step_started":
        return f"{step}. {data.get('title') or data.get('tool') or ''}"
    if kind == "step_finished":
        error = data.get("error") or "it did not say why"
        return f"{step}. {took_text(count(data.get('duration_ms')))}" + ("" if data.get("ok") is True else f": {error}")
    if kind == "page_loaded":
        known = (data.get("title"), data.get("url"), _status(data.get("status")), _load(data.get("load_ms")))
        return " · ".join(str(part) for part in known if part)
    if kind == "result":
        return str(data.get("summary") or "")
    said = text or data.get("question") or data.get("detail") or ""
    rest = [f"{name.replace('_', ' ')}: {_value(value)}" for name, value in data.items() if value and value != said]
    return str(said) if kind in ("agent_text", "progress", "warning") else " · ".join(filter(None, [str(said), *rest]))


def _status(status: object) -> str:
    return f"status {status}" if status not in (None, 200) else ""


def _load(load_ms: object) -> str:
    return f"loaded in {took_text(count(load_ms))}" if load_ms else ""


def _value(value: object) -> str:
    """A part of an event: numbers as people write them, of a list the first few."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number_text(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{str(name).replace('_', ' ')} {_value(inner)}" for name, inner in [*value.items()][:_LISTED])
    if isinstance(value, list):
        more = f" and {len(value) - _LISTED} more" if len(value) > _LISTED else ""
        return ", ".join(map(_value, value[:_LISTED])) + more
    return str(value)
