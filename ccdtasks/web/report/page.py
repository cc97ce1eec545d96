"""The route of the report page, and how its parts come together."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from aiohttp import web

from ccdtasks.core.outcome.changes import stored_changes
from ccdtasks.core.runs.reports import Report
from ccdtasks.core.states import FINAL
from ccdtasks.core.text import clean_text
from ccdtasks.db.enums import ArtifactKind, ArtifactState
from ccdtasks.db.models import Artifact
from ccdtasks.errors import CcdError
from ccdtasks.times import local_text
from ccdtasks.web.auth import id_in, require_reader
from ccdtasks.web.context import CORE, FILES
from ccdtasks.web.pages import page
from ccdtasks.web.report import course, files, head, log, steps, tables
from ccdtasks.web.report.address import Address
from ccdtasks.web.report.markup import html_of, link_of
from ccdtasks.web.report.words import Room, tame

_PAGE_TEXT = "page.txt"
_PAGE_TEXT_BYTES = 64 << 10
_PAGE_TEXT_SHOWN = 8000
_PARAMETERS = 50
_PROMPT = 4000
_NEWS = 50
_ALERTS = {"critical": ("✕", "red"), "warning": ("✋", "amber"), "info": ("▸", "blue")}


async def show_report(request: web.Request) -> web.Response:
    """The page of a run."""
    run_id = id_in(request, "run")
    until = await require_reader(request, run_id)
    core, address = request.app[CORE], Address.of(request.path, request.query)
    report = await core.reports.load(run_id, address.wanted())
    words = await _page_text(request, report)

    def to_file(artifact: Artifact) -> str:
        return core.links.file_path(artifact.id, until) if until else f"/files/{artifact.id}"

    def to_run(other: UUID, owner: str) -> str | None:
        if until is None:
            return f"/r/{other}"
        return core.links.run_path(other, until) if owner == report.run.owner_user_id else None

    def draw() -> web.Response:
        values = _values(report, address, core.clock.now(), to_file, to_run)
        return page("report.html", page_text=words, **values)

    return await asyncio.to_thread(draw)


ROUTES = (web.get("/r/{run}", show_report),)


async def _page_text(request: web.Request, report: Report) -> str:
    """The words of the last page of a run that failed, where they were kept."""
    kept = next((each for each in report.artifacts if _is_page_text(each)), None)
    if report.pattern is None or kept is None:
        return ""
    with suppress(CcdError):  # the report is of use without them
        data = await request.app[FILES].bytes_of(kept, _PAGE_TEXT_BYTES)
        return tame(clean_text(data.decode(errors="replace"), _PAGE_TEXT_SHOWN))
    return ""


def _is_page_text(artifact: Artifact) -> bool:
    is_log = artifact.kind is ArtifactKind.LOG and artifact.state is not ArtifactState.MISSING
    return is_log and artifact.name == _PAGE_TEXT and artifact.size_bytes <= _PAGE_TEXT_BYTES


def _values(
    report: Report, address: Address, now: datetime, to_file: files.Link, to_run: head.RunLink
) -> dict[str, Any]:
    """Everything that the template shows. What matters most takes its room first."""
    run, task, result, room = report.run, report.task, report.result, Room()
    is_going = run.status not in FINAL
    failure = head.failure_of(report, room)
    summary = result.summary if result and result.summary else run.result_summary or ""
    timings = run.step_timings or ()
    last_steps = steps.last_steps_of(timings, (run.live or {}).get("underway") or {}, room) if failure else []
    is_told = failure is not None and len(timings) <= steps.LAST_STEPS  # its last steps are all of them
    of_tables = room.part(0.6)
    return {
        "run": run,
        "token": address.token,
        "task_name": room.take(task.task_name, 100),
        "title": tame(task.task_name),
        "look": head.look_of(run),
        "facts": head.facts_of(report, now),
        "now_doing": head.waiting_of(report, now, room) if is_going else None,
        "is_going": is_going,
        "mark": f"{run.status.value}-{report.log.count}",
        "run_path": address.path,
        "here": address.to("content"),
        "failure": failure,
        "failure_link": link_of(failure.url, room.take(failure.url, 300)) if failure and failure.url else None,
        "summary": html_of(summary) if summary.strip() else None,
        "alerts": [(*_ALERTS[each.severity], each.severity, room.take(each.text, 1000)) for each in _alerts(report)],
        "evidence": _evidence(report, room),
        "cut": [room.take(note, 200) for note in (result.cut if result else ())[:20]],
        "news": _news(report, room),
        "figures_found": _figures_found(report, room),
        "tables": [
            tables.table_of(rows, address, of_tables.part(1 / (len(report.tables) - place)))
            for place, rows in enumerate(report.tables)
        ],
        "files": files.files_of(report.artifacts, to_file, address, room),
        "timeline": None if is_told else steps.timeline_of(timings, address, room),
        "last_steps": last_steps,
        "figures": head.figures_of(report),
        "asked": [_asked(each, room) for each in report.asked],
        "attempts": head.related_of(report.attempts, report, to_run, by_task=False, room=room),
        "chain": head.related_of(report.chain, report, to_run, by_task=True, room=room),
        "log": log.log_of(report.log, address, task.schedule_timezone, room),
        "log_rest": address.rest("kind", "words", "after", "before", "end"),
        "parameters": [
            (room.take(name, 100), room.take(value, 1000)) for name, value in [*run.parameters.items()][:_PARAMETERS]
        ],
        "prompt": room.take(task.template_prompt, _PROMPT),
    }


def _alerts(report: Report) -> Any:
    return report.result.alerts if report.result else ()


def _evidence(report: Report, room: Room) -> Any:
    """Where the result comes from: the page that it names, else the last one."""
    url = (report.result.evidence_url if report.result else None) or report.run.final_url
    return link_of(url, room.take(url, 200)) if url and report.pattern is None else None


def _news(report: Report, room: Room) -> dict[str, Any] | None:
    """What the run before did not say; None where there was none to compare with."""
    changes = stored_changes(report.run.news)
    if changes is None:
        return None
    since = local_text(changes.since_at, report.task.schedule_timezone)
    return {"since": since, "lines": [room.take(line, 300) for line in changes.lines()[:_NEWS]]}


def _figures_found(report: Report, room: Room) -> list[course.Figure]:
    values, zone = report.result.values if report.result else {}, report.task.schedule_timezone
    return [
        course.figure_of(name, value, report.history.get(name, ()), timezone=zone, room=room)
        for name, value in values.items()
    ]


def _asked(asked: Any, room: Room) -> dict[str, Any]:
    """What a session asked of people, and what came of it."""
    return {
        "reason": asked.reason.replace("_", " "),
        "text": room.take(asked.text, 2000),
        "outcome": asked.outcome or "open",
        "answer": room.take(asked.answer or "", 2000),
        "asked_at": asked.asked_at,
        "answered_at": asked.answered_at,
    }
