"""`failure-report.md`: everything that helps to see why a run failed, in one file. All of it is quoted, since pages and
the agent wrote most of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ccdtasks.core.text import clean_line, clean_text
from ccdtasks.db.enums import Reason
from ccdtasks.db.models import RunEvent, TaskRun
from ccdtasks.times import duration_text, local_text

REPORT = "failure-report.md"

STEPS = 15
LOG_LINES = 60
_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~!])")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the report shows besides the run's row. `page_text`: the last page in words; `detail`: a stack, a log."""

    task_name: str
    timezone: str
    reason: Reason
    message: str
    final_url: str | None
    final_title: str | None
    screenshot: str | None
    page_text: str
    detail: str
    events: Sequence[RunEvent]


def failure_report(run: TaskRun, evidence: Evidence) -> str:
    """The report as Markdown that renders safely whatever it quotes."""
    parts = [
        f"# {_quoted(evidence.task_name, 100)}: {evidence.reason.value.replace('_', ' ')}",
        _quoted(evidence.message, 1000),
        "\n".join(_facts(run, evidence)),
        _section("Last steps", _steps(evidence.events)),
        _section("What the failed step said", _fenced(_last_error(evidence.events))),
        _section("Words of the last page", _fenced(evidence.page_text)),
        _section("End of the log", _fenced("\n".join(_log(evidence.events)))),
        _section("Details", _fenced(evidence.detail)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(run: TaskRun, evidence: Evidence) -> Iterable[str]:
    yield f"- Run `{run.id}`, try {run.attempt}"
    yield f"- Queued {local_text(run.created_at, evidence.timezone)}"
    if run.started_at:
        yield f"- Started {local_text(run.started_at, evidence.timezone)}"
    if evidence.final_title:
        yield f"- Last page: {_quoted(evidence.final_title, 300)}"
    if evidence.final_url:
        yield f"- Its address: {_code(evidence.final_url, 2048)}"
    if evidence.screenshot:
        yield f"- Its picture: {_code(evidence.screenshot, 255)}"
    for name, value in list(run.parameters.items())[:50]:
        yield f"- {_quoted(name, 100)}: {_code(str(value), 500)}"


def _steps(events: Sequence[RunEvent]) -> str:
    """The last steps as a list, each with how long it took and what went wrong."""
    titles: dict[Any, str] = {}
    lines: list[str] = []
    for event in events:
        step = event.data.get("step")
        if event.type == "step_started":
            titles[step] = str(event.data.get("title") or "")
        elif event.type == "step_finished":
            lines.append(_step(titles.pop(step, ""), event.data))
    lines += [f"- {_quoted(title, 200)}: not finished" for title in titles.values()]
    return "\n".join(lines[-STEPS:])


def _last_error(events: Sequence[RunEvent]) -> str:
    """All that the last step said when it failed: the browser's own words, with its stack."""
    last = next((event.data for event in reversed(events) if event.type == "step_finished"), {})
    return "" if last.get("ok") is True else str(last.get("error") or "")


def _step(title: str, data: dict[str, Any]) -> str:
    took = data.get("duration_ms")
    time = duration_text(took / 1000) if isinstance(took, int) and took >= 1000 else f"{took} ms"
    outcome = (
        "done" if data.get("ok") is True else f"failed: {_quoted(str(data.get('error') or 'no reason given'), 300)}"
    )
    return f"- {_quoted(title or 'A step', 200)}: {outcome} ({_quoted(time, 20)})"


def _log(events: Sequence[RunEvent]) -> list[str]:
    lines = []
    for event in events[-LOG_LINES:]:
        said = (
            event.data.get("text") or event.data.get("title") or event.data.get("url") or event.data.get("error") or ""
        )
        lines.append(f"{event.at:%H:%M:%S}  {event.type:<14}  {clean_line(said, 300)}".rstrip())
    return lines


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _quoted(text: str, limit: int) -> str:
    """Foreign words on one line that no renderer takes for markup."""
    return _MARKS.sub(r"\\\1", clean_line(text, limit))


def _code(text: str, limit: int) -> str:
    return f"`{clean_line(text, limit).replace('`', 'ˋ')}`"


def _fenced(text: str) -> str:
    """A block that nothing in it can end: its fence is longer than any within."""
    body = clean_text(text, 20_000).strip("\n")
    longest = max((len(run) for run in re.findall(r"`+", body)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{body}\n{fence}" if body.strip() else ""
