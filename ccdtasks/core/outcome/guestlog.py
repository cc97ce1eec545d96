"""The lines of `events.jsonl`: parsed as hostile text, and what each of them means for the run's row."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ccdtasks.core.outcome.results import Result, read_result
from ccdtasks.core.text import clean_json, clean_line, clean_text, clean_url, read_json_object
from ccdtasks.db.models import TaskRun
from ccdtasks.errors import Invalid

MAX_LINE = 65_536 + 1024
MAX_EVENTS = 100_000
"""A session's log keeps no more events than this; live figures go on."""

_TYPE = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
_EARLIER = timedelta(minutes=5)
_MAX_COUNT = 2**31 - 1
_MAX_BYTES = 2**53
_MAX_UNDERWAY = 20
TRAFFIC = ("pages_loaded", "http_requests", "bytes_received", "bytes_sent", "failed_requests", "load_ms_total")
"""What a session counts in its browser (docs/run-folder.md, `metrics`)."""


@dataclass(frozen=True, slots=True)
class GuestEvent:
    """One line that could be read. `seq` is the guest's own number and only a hint."""

    seq: int
    at: datetime
    type: str
    data: dict[str, Any]


def read_line(line: bytes, now: datetime) -> GuestEvent | None:
    """The event in a line without its line feed, or None when it is not one; never raises.

    A time from the future, or from long ago, is replaced by `now`.
    """
    given = read_json_object(line) if len(line) <= MAX_LINE else None
    if given is None:
        return None
    seq, kind = given.pop("seq", None), given.pop("type", None)
    if not isinstance(seq, int) or isinstance(seq, bool) or seq < 1:
        return None
    if not isinstance(kind, str) or not _TYPE.match(kind):
        return None
    data = clean_json({key: value for key, value in given.items() if key != "at"}, limit=20_000)
    return GuestEvent(seq, _moment(given.get("at"), now), kind, data)


def fold(run: TaskRun, event: GuestEvent) -> bool:
    """Brings the run's live text, counters and result up to date; True when the live card looks different now."""
    if event.type == "step_finished":
        put_step_timing(run, event)
        return False
    change = _CHANGES.get(event.type)
    return change(run, event.data) if change else False


def count(value: object, most: int = _MAX_COUNT) -> int:
    """A counter from inside: a whole number from 0 to `most`, which fits the column; anything else is 0."""
    return min(value, most) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def grown_traffic(before: dict[str, int] | None, data: dict[str, Any]) -> dict[str, int]:
    """The running totals of one session's browser: each figure only grows."""
    known = before or {}
    return {
        name: max(known.get(name, 0), count(data.get(name), _MAX_BYTES if "bytes" in name else _MAX_COUNT))
        for name in TRAFFIC
    }


def put_step_timing(run: TaskRun, event: GuestEvent) -> None:
    """Adds a finished step to the run's timings; the first thousand are kept. `ended_ms`: since the run's start."""
    timings, step = run.step_timings or [], event.data
    if len(timings) < 1000:
        kept: dict[str, Any] = {
            "step": count(step.get("step")),
            "duration_ms": count(step.get("duration_ms")),
            "ended_ms": count(int((event.at - run.started_at).total_seconds() * 1000)) if run.started_at else None,
            "ok": step.get("ok") is True,
        }
        if not kept["ok"] and step.get("error"):
            kept["error"] = clean_line(step["error"], 200)
        run.step_timings = [*timings, {**kept, "title": _underway(run).get(str(kept["step"]))}]
    _show(run, underway=_underway(run, without=str(count(step.get("step")))))


def _moment(value: object, now: datetime) -> datetime:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else now
        at = at.astimezone(UTC) if at.tzinfo else now
    except (ValueError, OverflowError):
        return now
    return at if now - timedelta(days=7) < at <= now + _EARLIER else now


def _show(run: TaskRun, **changes: Any) -> bool:
    live = {**(run.live or {}), **changes}
    changed = live != run.live
    run.live = live
    return changed


def _progress(run: TaskRun, data: dict[str, Any]) -> bool:
    return _show(run, text=clean_line(data.get("text", ""), 300))


def _step_started(run: TaskRun, data: dict[str, Any]) -> bool:
    step, title = count(data.get("step")), clean_line(data.get("title", ""), 300)
    known = [*_underway(run, without=str(step)).items()][-_MAX_UNDERWAY:]
    return _show(run, step=step, text=title, underway={**dict(known), str(step): title})


def _underway(run: TaskRun, without: str = "") -> dict[str, str]:
    """Number -> title of the steps that have begun and not finished; the agent does several at once."""
    return {step: title for step, title in ((run.live or {}).get("underway") or {}).items() if step != without}


def _session_started(run: TaskRun, _data: dict[str, Any]) -> bool:
    _show(run, underway={})
    return False


def _page_loaded(run: TaskRun, data: dict[str, Any]) -> bool:
    run.final_url = clean_url(data.get("url")) or run.final_url
    run.final_title = clean_line(data.get("title") or "", 300) or run.final_title
    return _show(run, url=run.final_url)


def _result(run: TaskRun, data: dict[str, Any]) -> bool:
    try:
        result = read_result(data)
    except Invalid as error:
        return _show(run, result_refused=error.message)
    put_result(run, result)
    return False


def put_result(run: TaskRun, result: Result) -> None:
    """Makes this the run's result; a later one replaces an earlier one."""
    run.result_data = result.as_json()
    run.result_summary = clean_text(result.summary, 4000)
    run.live = {key: value for key, value in (run.live or {}).items() if key != "result_refused"}


_CHANGES: dict[str, Callable[[TaskRun, dict[str, Any]], bool]] = {
    "session_started": _session_started,
    "progress": _progress,
    "step_started": _step_started,
    "page_loaded": _page_loaded,
    "result": _result,
}
