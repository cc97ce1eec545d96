"""Schedules: what was set, and the news of times that came late, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from ccdtasks.amounts import counted, listed
from ccdtasks.bot import text
from ccdtasks.bot.cards import figures
from ccdtasks.bot.cards.card import Card, join
from ccdtasks.bot.cards.run import stamp
from ccdtasks.bot.cards.status import AMBER, GREEN, GREY
from ccdtasks.core.calendar import schedulelog
from ccdtasks.core.calendar.timing import words_of
from ccdtasks.core.tasks.dependencies import Follower
from ccdtasks.core.tasks.schedules import Scheduled, Shown
from ccdtasks.db.models import ScheduleHistory, Task
from ccdtasks.times import local_text

ABOUT = "schedule"
"""What the payload of a message of ours names as its subject."""


def scheduled(found: Scheduled, then: Sequence[Follower]) -> Card:
    """`At 06:00 and 18:00 every day, America/Los_Angeles time.`, the next times on both clocks, and what they lead to.

    `then`: every task that a run leads to, in order.
    """
    card = _with_times(found, "scheduled")
    return replace(card, body=join(card.body, _then(then)))


def resumed(found: Scheduled) -> Card:
    """It goes on, and when."""
    return _with_times(found, "goes on")


def shown(found: Shown) -> Card:
    """The schedule as it stands, and what became of it lately."""
    card = _with_times(Scheduled(found.task, found.preview), "its schedule")
    lines = [f"• {stamp(row.scheduled_for or row.timestamp, 'f')}: {_row(row, found.task)}" for row in found.history]
    lately = "**Lately**\n" + "\n".join(lines) if lines else ""
    return replace(card, body=join(card.body, lately), colour=GREY if found.task.paused else GREEN)


def removed(task: Task) -> Card:
    """The task stays, and runs by hand only."""
    name = text.plain(task.task_name, 100)
    said = f"It runs only when somebody starts it: {text.code(f'/task-start {task.task_name}')}"
    return Card(title=f"■ {name}: no schedule any more", body=said, colour=GREY)


def paused(task: Task) -> Card:
    """Nothing starts by itself until it is resumed."""
    until = text.code(f"/task-resume {task.task_name}", 130)
    said = f"It does not start by itself until {until}. A run that goes on is not stopped."
    return Card(title=f"■ {text.plain(task.task_name, 100)}: paused", body=said, colour=GREY)


def line(task: Task) -> str:
    """The schedule on one line of a list; empty without one."""
    if not task.schedule_cron:
        return ""
    shown = "once" if task.schedule_cron.startswith("at ") else text.code(task.schedule_cron, 60)
    return f"{shown} next {stamp(task.next_run_at, 'R')}" if task.next_run_at else shown


def block(task: Task) -> str:
    """The schedule in the card of one task; empty without one."""
    why = f" {text.plain(task.paused_reason, 250)}" if task.paused_reason else ""
    paused = f"Paused.{why}" if task.paused else ""
    if not task.schedule_cron:
        return paused
    zone = task.schedule_timezone
    said = f"{text.plain(words_of(task.schedule_cron, zone), 300)}, {text.plain(zone, 60)} time."
    at = task.next_run_at
    times = f"Next run {stamp(at, 'R')}, {stamp(at, 'f')}." if at and not task.paused else ""
    return join(said, times, paused, gap="\n")


def news(payload: Mapping[str, Any]) -> Card:
    """What became of one time of a schedule. The owner is called when something has to be done."""
    name, kind = text.plain(payload.get("task", ""), 100), str(payload.get("kind", ""))
    title, colour, tell = _NEWS.get(kind, ("■ {name}", GREY, _said))
    calls = colour == AMBER
    return Card(
        title=title.format(name=name),
        body=tell(payload),
        colour=colour,
        ping=payload.get("owner") if calls else None,
        content=f"{name} needs a look." if calls else "",
    )


def _with_times(found: Scheduled, what: str) -> Card:
    task, preview = found.task, found.preview
    title = f"✓ {text.plain(task.task_name, 100)}: {what}"
    if preview is None:
        said = "It has no schedule: it runs when somebody or another task starts it."
        return Card(title=title, body=said, colour=GREEN)
    zone = task.schedule_timezone
    times = [f"• {local_text(moment, zone)}, {stamp(moment, 'R')}" for moment in preview.times]
    values = figures.parameters_text(task.schedule_parameters)
    hint = f"It is paused; {text.code(f'/task-resume {task.task_name}')} lets it run."
    return Card(
        title=title,
        body=join(
            f"{preview.words}, {text.plain(zone, 60)} time.",
            f"**Next {'runs' if len(times) > 1 else 'run'}**\n" + "\n".join(times) if times else "",
            f"**With**\n{values}" if values else "",
            "\n".join(text.plain(remark, 300) for remark in preview.remarks),
            hint if task.paused else "",
        ),
        colour=GREEN,
    )


def _row(row: ScheduleHistory, task: Task) -> str:
    """`ran`; `0 9 * * * set, by @Alice`: people are named, the scheduler is not."""
    said, who = text.plain(schedulelog.said(row, task.schedule_timezone), 250), row.user_id or ""
    return f"{said}, by <@{who}>" if who.isdigit() else said


def _then(then: Sequence[Follower]) -> str:
    """`1. analyze-news, after scrape-news`, a line each."""
    lines = []
    for number, each in enumerate(then, 1):
        before = listed([text.plain(name, 60) for name in each.after], "or" if each.mode == "any" else "and")
        lines.append(f"{number}. {text.plain(each.name, 80)}, after {before}")
    more = f"and {len(lines) - 10} more" if len(lines) > 10 else ""
    return join("**Each run leads to**\n" + "\n".join(lines[:10]), more, gap="\n") if lines else ""


def _moment(payload: Mapping[str, Any], name: str, style: str = "f") -> str:
    value = payload.get(name)
    return stamp(datetime.fromisoformat(str(value)), style) if value else "?"


def _caught_up(payload: Mapping[str, Any]) -> str:
    ran, missed = _moment(payload, "ran_at", "t"), int(payload.get("missed") or 0)
    if not missed:
        return f"The box was off at {_moment(payload, 'scheduled_for', 't')}. Ran once now, at {ran}."
    since = _moment(payload, "first_missed")
    return f"The box was off: {_times(missed)} since {since} were missed. Ran once now, at {ran}."


def _times(missed: int) -> str:
    """How many there were with the latest one; no more than a hundred are counted."""
    return f"more than {counted(missed - 1, 'time')}" if missed >= _COUNTED else counted(missed + 1, "time")


def _missed(payload: Mapping[str, Any]) -> str:
    following = f" The next run is {_moment(payload, 'next_at', 'R')}." if payload.get("next_at") else ""
    missed, at = int(payload.get("missed") or 0), _moment(payload, "scheduled_for")
    if not missed:
        return f"The box was off at {at}. That run is not made up for.{following}"
    since = _moment(payload, "first_missed")
    return (
        f"The box was off: {_times(missed)} from {since} to {at} were missed. None of them is made up for.{following}"
    )


def _skipped(payload: Mapping[str, Any]) -> str:
    count, at = int(payload.get("count") or 1), _moment(payload, "scheduled_for", "t")
    if count == 1:
        return f"The run of {at} was skipped, since this one still goes on."
    return f"{count:,} runs were skipped, since this one still goes on; the last was that of {at}."


def _paused(payload: Mapping[str, Any]) -> str:
    hint = f"Put that right, then {text.code('/task-resume ' + str(payload.get('task', '')), 130)}."
    stopped = [text.plain(name, 60) for name in payload.get("stopped") or ()]
    after = listed([*stopped[:9], f"{len(stopped) - 9} more"] if len(stopped) > 10 else stopped)
    breaks = f"Nothing starts what runs after it meanwhile: {after}." if stopped else ""
    return join(text.plain(payload.get("reason") or "", 800), breaks, hint)


def _not_fired(payload: Mapping[str, Any]) -> str:
    count, at = int(payload.get("count") or 1), _moment(payload, "scheduled_for")
    if count == 1:
        return f"It should have run at {at} and has not. It is tried again now."
    since = _moment(payload, "since")
    return f"It should have run {counted(count, 'time')} from {since} to {at} and has not. It is tried again and again."


def _lost(payload: Mapping[str, Any]) -> str:
    at = _moment(payload, "scheduled_for")
    return f"It had lost its next time, and would never have run again. It is set anew: {at}."


def _not_started(payload: Mapping[str, Any]) -> str:
    return f"The run of {_moment(payload, 'scheduled_for')} still waits for its start. {_LOOK}"


def _not_ended(payload: Mapping[str, Any]) -> str:
    return f"The run of {_moment(payload, 'scheduled_for')} should have ended by now. {_LOOK}"


def _said(payload: Mapping[str, Any]) -> str:
    return text.plain(payload.get("text", ""), 800)


_COUNTED = 100
_LOOK = "`/task-status` shows what goes on."
_NEWS: dict[str, tuple[str, int, Callable[[Mapping[str, Any]], str]]] = {
    "caught_up": ("▶ {name}: made up for", GREY, _caught_up),
    "missed": ("■ {name}: missed", GREY, _missed),
    "skipped": ("■ {name}: skipped", GREY, _skipped),
    "paused": ("■ {name}: paused", AMBER, _paused),
    "not_fired": ("✋ {name}: did not run", AMBER, _not_fired),
    "lost": ("✋ {name}: schedule repaired", AMBER, _lost),
    "not_started": ("✋ {name}: late", AMBER, _not_started),
    "not_ended": ("✋ {name}: late", AMBER, _not_ended),
}
