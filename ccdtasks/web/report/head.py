"""How a run stands: sign, words and figures, what went wrong, its tries and its chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from markupsafe import Markup, escape

from ccdtasks.core.records.reasons import WORDS
from ccdtasks.core.runs.reports import Report, Try
from ccdtasks.core.states import FINAL
from ccdtasks.db.enums import Reason, RunStatus, Trigger
from ccdtasks.db.models import TaskRun
from ccdtasks.times import duration_text, local_text, size_text
from ccdtasks.web.report.words import Room

LOOKS: dict[RunStatus, tuple[str, str, str]] = {
    RunStatus.SCHEDULED: ("◌", "grey", "planned"),
    RunStatus.WAITING_DEPENDENCY: ("◌", "grey", "waits for another task"),
    RunStatus.QUEUED: ("◌", "grey", "waiting"),
    RunStatus.STARTING: ("▶", "blue", "starting"),
    RunStatus.RUNNING: ("▶", "blue", "running"),
    RunStatus.NEEDS_HUMAN: ("✋", "amber", "needs you"),
    RunStatus.COLLECTING: ("▶", "blue", "finishing"),
    RunStatus.COMPLETED: ("✓", "green", "done"),
    RunStatus.FAILED: ("✕", "red", "failed"),
    RunStatus.CANCELLED: ("■", "grey", "stopped"),
}
_OPEN_QUESTIONS = {
    Reason.BLOCKED: ("?", "violet", "refused as a robot"),
    Reason.UNCLEAR_RESULT: ("?", "violet", "result unclear"),
    Reason.LOGIN_REQUIRED: ("?", "violet", "login needed"),
}
_TRIGGERS = {
    Trigger.MANUAL: "by hand",
    Trigger.SCHEDULED: "by its schedule",
    Trigger.DEPENDENCY: "after another task",
    Trigger.RETRY: "as another try",
}

RunLink = Callable[[UUID, str], str | None]
"""The page of another run, by its id and owner; None for one that this reader may not see by this way."""


@dataclass(frozen=True, slots=True)
class Look:
    """Sign, colour and words of a state; the colour alone says nothing."""

    sign: str
    colour: str
    words: str


@dataclass(frozen=True, slots=True)
class Related:
    """Another try, or another task of the chain. `is_this`: the run of this page."""

    title: str
    look: Look
    note: Markup
    is_this: bool
    href: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed, and what may help."""

    reason: str
    message: Markup
    often: Markup
    hint: Markup
    next_try: str
    url: str | None
    title: Markup


def look_of(run: TaskRun | Try) -> Look:
    """How the run looks; a failure that leaves a question open looks like one."""
    if run.status is RunStatus.FAILED and run.reason in _OPEN_QUESTIONS:
        return Look(*_OPEN_QUESTIONS[run.reason])
    return Look(*LOOKS[run.status])


def facts_of(report: Report, now: datetime) -> list[tuple[str, str]]:
    """What is said in the line below the title: when, how long, which try, how it came about."""
    run, zone = report.run, report.task.schedule_timezone
    begun, ended = run.started_at, run.completed_at
    took_s = run.duration_seconds if run.duration_seconds is not None else None
    if took_s is None and begun and run.status not in FINAL:
        took_s = int((now - begun).total_seconds())
    facts = [
        ("Started" if begun else "Asked for", local_text(begun or run.created_at, zone)),
        ("Ended" if run.status in FINAL else "", _ended(begun, ended, zone) if ended else ""),
        ("Took" if run.status in FINAL else "So far", duration_text(took_s) if took_s is not None else ""),
        ("Try", f"{run.attempt} of {report.max_attempts}" if run.attempt > 1 or len(report.attempts) > 1 else ""),
        ("How", _TRIGGERS[run.trigger]),
    ]
    return [(name, value) for name, value in facts if name and value]


def _ended(begun: datetime | None, ended: datetime, zone: str) -> str:
    """The end; without the day when it is that of the start."""
    day, said = local_text(begun, zone)[:10] if begun else "", local_text(ended, zone)
    return said.removeprefix(f"{day} ") if day else said


def waiting_of(report: Report, now: datetime, room: Room) -> Markup:
    """What a run that has not ended does at present, or waits for."""
    run, live = report.run, report.run.live or {}
    if run.status is RunStatus.QUEUED:
        if run.not_before and run.not_before > now:
            return Markup("Next try at {}.").format(local_text(run.not_before, report.task.schedule_timezone))
        if report.hold:
            return room.take(report.hold.message, 300)
        place = f", number {report.position} in line" if report.position else ""
        return Markup("Waiting for a free session{}.").format(place)
    if run.status is RunStatus.WAITING_DEPENDENCY:
        return Markup("Waiting for the tasks it depends on.")
    said = (live.get("human") or {}).get("text") or live.get("text") or "Working on it."
    return room.take(said, 300)


def failure_of(report: Report, room: Room) -> Failure | None:
    """Why the run failed; None for one that did not."""
    run, pattern = report.run, report.pattern
    if run.status is not RunStatus.FAILED:
        return None
    reason = run.reason or Reason.AGENT_ERROR
    often = Markup("")
    if pattern and pattern.count > 1:
        often = room.take(
            f"This happened in {pattern.count} of the last {pattern.of_last} runs ({pattern.words}).", 300
        )
    following = next((each for each in report.attempts if each.attempt > run.attempt), None)
    next_try = ""
    if following and following.not_before and following.status is RunStatus.QUEUED:
        next_try = f"Next try at {local_text(following.not_before, report.task.schedule_timezone)}."
    hint = (pattern.hint or "") if pattern else ""
    return Failure(
        reason=reason.value.replace("_", " "),
        message=room.take(run.error_message or WORDS[reason], 1000),
        often=often,
        hint=_with_code(f"{hint[:1].upper()}{hint[1:]}.") if hint else Markup(""),
        next_try=next_try,
        url=run.final_url,
        title=room.take(run.final_title or "", 300),
    )


def figures_of(report: Report) -> list[tuple[str, str]]:
    """The figures of the run: how long, how much, how dear."""
    run, tokens = report.run, report.run.tokens_used or {}
    egress = (report.session.egress or {}) if report.session else {}
    asked_at = max(run.queued_at or run.created_at, run.not_before or run.created_at)
    waited_s = (run.started_at - asked_at).total_seconds() if run.started_at else 0
    refused = egress.get("refused")
    figures = [
        ("Duration", duration_text(run.duration_seconds) if run.duration_seconds is not None else ""),
        ("Waited in line", duration_text(waited_s) if waited_s >= 1 else ""),
        ("Pages loaded", _count(run.pages_loaded)),
        ("Requests", _count(run.http_requests_made)),
        ("Data", size_text(run.data_transferred_bytes) if run.data_transferred_bytes else ""),
        ("Requests refused", _count(refused) if isinstance(refused, int) and refused else ""),
        ("Steps", _count(len(run.step_timings or ()))),
        ("Calls of Claude", _count(run.api_calls_made)),
        *((f"Tokens, {name.replace('_', ' ')}", _count(number)) for name, number in [*tokens.items()][:8]),
        ("Cost, estimated", f"${run.cost_usd:,.4f}" if run.cost_usd else ""),
    ]
    return [(name, value) for name, value in figures if value]


def related_of(tries: Sequence[Try], report: Report, link: RunLink, *, by_task: bool, room: Room) -> list[Related]:
    """Tries of one start, or tasks of one chain; nothing when there is but one."""
    if len(tries) < 2:
        return []
    related = []
    for each in tries:
        took = duration_text(each.duration_seconds) if each.duration_seconds is not None else ""
        why = each.error_message or "" if each.status is RunStatus.FAILED else ""
        is_this = each.run_id == report.run.id
        related.append(
            Related(
                title=each.task_name if by_task else f"Try {each.attempt}",
                look=look_of(each),
                note=room.take(" · ".join(part for part in (took, why) if part), 200),
                is_this=is_this,
                href=None if is_this else link(each.run_id, each.owner_user_id),
            )
        )
    return related


def _with_code(words: str) -> Markup:
    """Our own sentence, in which backticks mark what is typed."""
    parts = words.split("`")
    shown = [Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)]
    return Markup("").join(shown)


def _count(number: object) -> str:
    return f"{number:,}" if isinstance(number, int) and not isinstance(number, bool) and number else ""
