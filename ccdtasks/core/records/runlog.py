"""The log of a run for readers: a page at a time, of one kind or with some words, however long it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, bindparam, cast, func, literal_column, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.text import clean_line
from ccdtasks.db.models import RunEvent

PAGE_LINES = 50
MAX_WORDS = 100

_PROBLEMS = ("warning", "api_retry", "egress_refused", "inputs_missing")
KINDS: dict[str, tuple[str, ...]] = {
    "problems": _PROBLEMS,
    "steps": ("step_started", "step_finished"),
    "pages": ("page_loaded",),
    "words": ("agent_text", "progress", "user_message", "agent_finished"),
    "people": ("question", "human_needed", "human_done", "user_message"),
    "results": ("result", "file_saved"),
}
"""What may be asked for, and the types of events that it is. Steps that failed are problems, too."""

_HAS_FAILED = {
    "sqlite": "run_events.type = 'step_finished' AND json_type(run_events.data, '$.ok') IS NOT 'true'",
    "postgresql": "run_events.type = 'step_finished' AND (run_events.data -> 'ok') IS DISTINCT FROM 'true'::jsonb",
}
_HAS_WORDS = {
    "sqlite": r"""EXISTS (SELECT 1 FROM json_tree(run_events.data) t WHERE t.type = 'text'
        AND t.atom LIKE :words ESCAPE '\')""",
    "postgresql": r"""EXISTS (SELECT 1 FROM jsonb_path_query(run_events.data, '$.**') t
        WHERE jsonb_typeof(t) = 'string' AND (t #>> '{}') ILIKE :words ESCAPE '\')""",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of the log. `kind`: one of `KINDS`, or "" for all. `after`, `before`: the time of a line, one or none.

    `from_end`: the latest lines, where neither is given; None leaves that open.
    """

    kind: str = ""
    words: str = ""
    after: datetime | None = None
    before: datetime | None = None
    from_end: bool | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """An event as it was logged."""

    at: datetime
    type: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some lines in order, whether there are others around them, and how many the whole log has."""

    lines: Sequence[Line]
    has_earlier: bool
    has_later: bool
    count: int


async def log_of(session: AsyncSession, run_id: UUID, wanted: Wanted, limit: int = PAGE_LINES) -> LogPage:
    """The page of the run's log that is wanted; times of lines rise strictly, so they mark where a page ends."""
    is_backwards = wanted.after is None and (wanted.before is not None or bool(wanted.from_end))
    query = select(RunEvent.at, RunEvent.type, cast(RunEvent.data, Text)).where(RunEvent.run_id == run_id)
    for condition in await _conditions(session, wanted):
        query = query.where(condition)
    if wanted.after is not None:
        query = query.where(RunEvent.at > wanted.after)
    elif wanted.before is not None:
        query = query.where(RunEvent.at < wanted.before)
    order = RunEvent.at.desc() if is_backwards else RunEvent.at
    rows = (await session.execute(query.order_by(order).limit(limit + 1))).all()
    has_more, rows = len(rows) > limit, rows[:limit]
    if is_backwards:
        rows = rows[::-1]
    count = await session.scalar(select(func.count()).where(RunEvent.run_id == run_id))
    lines = await asyncio.to_thread(lambda: [Line(at, kind, json.loads(data)) for at, kind, data in rows])
    earlier, later = (has_more, wanted.before is not None) if is_backwards else (wanted.after is not None, has_more)
    return LogPage(lines, earlier, later, count or 0)


async def _conditions(session: AsyncSession, wanted: Wanted) -> list[ColumnElement[bool]]:
    dialect, conditions = (await session.connection()).dialect.name, list[ColumnElement[bool]]()
    if types := KINDS.get(wanted.kind):
        is_kind = RunEvent.type.in_(types)
        has_failed: ColumnElement[bool] = literal_column(f"({_HAS_FAILED[dialect]})")
        conditions.append(or_(is_kind, has_failed) if wanted.kind == "problems" else is_kind)
    if words := clean_line(wanted.words, MAX_WORDS):
        for sign in ("\\", "%", "_"):
            words = words.replace(sign, "\\" + sign)
        has_words = text(_HAS_WORDS[dialect]).bindparams(bindparam("words", f"%{words}%", type_=Text()))
        conditions.append(has_words)  # type: ignore[arg-type]
    return conditions
