"""The messages of a run: opening, live card, result, failure, stop, question."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ccdtasks.amounts import listed
from ccdtasks.bot import text
from ccdtasks.bot.cards import figures
from ccdtasks.bot.cards.card import Card, join, ordinal
from ccdtasks.bot.cards.result import (
    adjust,
    again,
    is_quiet,
    last_screenshot,
    log,
    quiet,
    report,
    retry,
    stop,
    title,
    told,
)
from ccdtasks.bot.cards.status import ADVICE, LOOKS, look_of
from ccdtasks.core.facts import Hold
from ccdtasks.core.records.reasons import RETRIED
from ccdtasks.core.runs.report import REPORT
from ccdtasks.core.runs.runs import RunView
from ccdtasks.core.states import ACTIVE, FINAL
from ccdtasks.db.enums import Effect, MessageType, RunStatus, Trigger
from ccdtasks.db.models import DiscordMessage, TaskRun
from ccdtasks.times import duration_text

_WORDS = {
    RunStatus.WAITING_DEPENDENCY: "Waiting for the tasks it depends on.",
    RunStatus.STARTING: "Opening a browser.",
    RunStatus.COLLECTING: "Saving what was found.",
    RunStatus.COMPLETED: "Finished.",
    RunStatus.FAILED: "Ended without a result.",
    RunStatus.CANCELLED: "Stopped.",
}


def render(message: DiscordMessage, view: RunView, now: datetime) -> Card:
    """The card of an outbox row, drawn from the run as it is now."""
    draw = _DRAW.get(message.message_type, _note)
    return draw(view, message.payload, now)


def notice(message: DiscordMessage) -> Card:
    """The card of a row that belongs to no run: news of the whole instance."""
    said, until = message.payload.get("text", ""), message.payload.get("until")
    return Card(
        title=text.plain(message.payload.get("title", ""), 200),
        body=held(said, datetime.fromisoformat(until)) if until else text.markdown(said, 2000),
    )


def hold_line(hold: Hold) -> str:
    """Why no run starts, and until when on the reader's own clock."""
    return held(hold.message, hold.until) if hold.until else text.markdown(hold.message, 500)


def held(words: str, until: datetime) -> str:
    """`Claude's usage limit is reached until 15:00; all runs wait.`"""
    return f"{text.markdown(words.rstrip('.'), 400)} until {stamp(until, 't')}; all runs wait."


def goes_on_here(view: RunView) -> Card:
    """Stands above a thread that takes the place of a deleted one; true whatever comes of the run."""
    return Card(title=title(view, "▶", "goes on here"), body="The thread of this run was deleted.")


def thread_name(view: RunView, ended: str | None) -> str:
    """`Run 2026-01-17 15:30 - Running`, in the timezone of the task."""
    word = {"completed": "Complete", "failed": "Failed", "cancelled": "Cancelled"}.get(ended or "", "Running")
    began = view.run.created_at.astimezone(ZoneInfo(view.task.schedule_timezone))
    return text.clamp(f"Run {began:%Y-%m-%d %H:%M} - {word}", text.THREAD_NAME)


def _opening(view: RunView, payload: Mapping[str, Any], _now: datetime) -> Card:
    """Stands in the channel; at the end it says what came of the last attempt: the channel reads as a history."""
    run, ended = view.run, payload.get("ended")
    look = LOOKS[RunStatus(ended)] if ended else LOOKS[RunStatus.RUNNING]
    return Card(
        title=title(view, look.sign, look.word if ended else "new run"),
        body=join(text.plain(payload.get("answer", ""), 300), _began(run), figures.parameters_text(run.parameters)),
        colour=look.colour,
    )


def _began(run: TaskRun) -> str:
    """Who or what started it, and when; nothing for a run that another task's end has not let go."""
    at = stamp(run.created_at, "f")
    if run.trigger is Trigger.DEPENDENCY:
        before = [text.plain(name, 80) for name in run.upstream_runs or ()]
        return f"Started after {listed(before)}, {at}." if before else ""
    who = person(run.started_by or "")
    return f"Started by {who}, {at}." if who else f"Started {at}."


def _live(view: RunView, _payload: Mapping[str, Any], now: datetime) -> Card:
    run, look = view.run, look_of(view.run)
    if run.status is RunStatus.COMPLETED and is_quiet(run):
        return quiet(view)
    active = run.status not in FINAL
    buttons = (log(run), stop(run)) if run.status in ACTIVE else (stop(run),) if active else ()
    return Card(
        title=title(view, look.sign, look.word),
        body=_live_line(view, now),
        colour=look.colour,
        buttons=buttons,
    )


def _live_line(view: RunView, now: datetime) -> str:
    run, live = view.run, view.run.live or {}
    if run.status is RunStatus.QUEUED:
        return _queue_line(view, now)
    asked = (live.get("human") or {}).get("text")
    said = _WORDS.get(run.status) or text.plain(asked or live.get("text") or "Working on it.", 300)
    since = (run.completed_at or now) - run.started_at if run.started_at else None
    pages = figures.counted(run.pages_loaded, "page")
    parts = (said.rstrip("."), duration_text(since.total_seconds()) if since else None, pages)
    return " · ".join(part for part in parts if part)


def _queue_line(view: RunView, now: datetime) -> str:
    if view.run.not_before and view.run.not_before > now:
        is_staggered = view.run.trigger is Trigger.SCHEDULED and "put_off" not in (view.run.live or {})
        return f"{'Starts' if is_staggered else 'Next try'} {stamp(view.run.not_before, 'R')}."
    if view.hold:
        return hold_line(view.hold)
    place = f", {ordinal(view.position)} in line" if view.position else ""
    return f"Waiting for a free session{place}."


def _failed(view: RunView, payload: Mapping[str, Any], _now: datetime) -> Card:
    run, look, retry_at = view.run, look_of(view.run), payload.get("retry_at")
    why = text.plain(run.error_message or "It ended without saying why.", 600)
    if not retry_at and run.attempt > 1:
        why = f"Gave up after {run.attempt} tries: {why}"
    shot = last_screenshot(view.artifacts)
    written = next((each for each in view.artifacts if each.name == REPORT), None)
    return Card(
        title=title(view, look.sign, f"{look.word}, will try again" if retry_at else look.word),
        body=join(
            why,
            _next_try(view, retry_at) if retry_at else join(_why_no_retry(view), _advice(run, payload), gap=" "),
            _last_page(run),
            _last_step(run),
        ),
        colour=look.colour,
        footer=figures.small_print(run),
        ping=run.owner_user_id if payload.get("ping", not retry_at) else None,
        content="" if retry_at else f"{text.plain(view.task.task_name, 100)}: {look.word}.",
        buttons=(log(run), report(run)) if retry_at else (retry(run), log(run), *adjust(run), report(run)),
        artifacts=tuple(each for each in (shot, written) if each),
        image=shot.name if shot else None,
    )


def _last_page(run: TaskRun) -> str:
    if not run.final_url:
        return ""
    title = f" “{text.plain(run.final_title, 120)}”" if run.final_title else ""
    return f"Last page:{title} {text.address(run.final_url)}"


def _last_step(run: TaskRun) -> str:
    """What it was doing, and what that step said when it failed."""
    step = run.step_timings[-1] if run.step_timings else {}
    if not step.get("title"):
        return ""
    took = duration_text((step.get("duration_ms") or 0) / 1000)
    outcome = f"failed after {took}" if not step.get("ok") else f"done in {took}"
    error = f": {text.plain(step['error'], 150)}" if step.get("error") else ""
    return f"Last step: {text.plain(step['title'], 120)}, {outcome}{error}"


def _next_try(view: RunView, retry_at: str) -> str:
    attempt = f"{view.run.attempt + 1} of {view.attempts}"
    return f"Next try at {stamp(datetime.fromisoformat(retry_at), 't')} ({attempt})."


def _why_no_retry(view: RunView) -> str:
    """What would be tried again by itself, if it could not do something twice."""
    run = view.run
    acted = view.task.effect is Effect.ACTS and run.started_at and run.reason in RETRIED
    return (
        "It buys, posts or submits, so it is not tried again by itself."
        if acted and run.attempt < view.attempts
        else ""
    )


def _advice(run: TaskRun, payload: Mapping[str, Any]) -> str:
    """What it means, whether it happens often, and what may help."""
    same, last, hint = payload.get("same_reason") or 0, payload.get("of_last") or 0, payload.get("hint") or ""
    meaning = ADVICE.get(run.reason, "") if run.reason else ""
    helps = text.markdown(hint, 300)
    if same > 1:
        what = f" ({text.plain(payload['pattern'], 120)})" if payload.get("pattern") else ""
        often = f"This happened in {same} of the last {last} runs{what}"
        return join(meaning, f"{often}; {helps}." if helps else f"{often}.", gap=" ")
    return join(meaning, f"{helps[:1].upper()}{helps[1:]}." if helps else "", gap=" ")


def _stopped(view: RunView, payload: Mapping[str, Any], _now: datetime) -> Card:
    run, look = view.run, look_of(view.run)
    who = person(payload.get("by") or run.stop_requested_by or "")
    said = f"Stopped by {who}." if who else text.plain(run.error_message or "Stopped.", 600)
    return Card(
        title=title(view, look.sign, look.word),
        body=join(said, text.markdown(run.result_summary or "", 1000)),
        colour=look.colour,
        footer=figures.small_print(run),
        buttons=(again(run), *adjust(run), log(run)),
    )


def _note(view: RunView, payload: Mapping[str, Any], now: datetime) -> Card:
    if payload.get("status") == RunStatus.CANCELLED:
        return _stopped(view, payload, now)
    until = payload.get("until")
    again_at = f"Runs start again {stamp(datetime.fromisoformat(until), 'R')}." if until else ""
    said = text.markdown(payload.get("text", ""), 1500)
    return Card(title=title(view, look_of(view.run).sign, ""), body=join(said, again_at, gap=" "))


def person(user_id: str) -> str:
    """A user as a mention, the shell and the schedule in words; nothing for nobody."""
    return f"<@{user_id}>" if user_id.isdecimal() else {"system": "the schedule", "shell": "the shell"}.get(user_id, "")


def stamp(moment: datetime, style: str) -> str:
    """A time that each reader sees on their own clock: `R` relative, `t` the hour, `f` date and hour."""
    return f"<t:{int(moment.timestamp())}:{style}>"


_DRAW: dict[MessageType, Callable[[RunView, Mapping[str, Any], datetime], Card]] = {
    MessageType.RUN_OPENING: _opening,
    MessageType.LIVE_CARD: _live,
    MessageType.RESULT: told,
    MessageType.TASK_ERROR: _failed,
}
