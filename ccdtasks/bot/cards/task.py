"""Tasks: the one just made, the list, and where things stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ccdtasks.amounts import counted, listed
from ccdtasks.bot import text
from ccdtasks.bot.cards import figures, schedule
from ccdtasks.bot.cards.card import Button, Card, join, ordinal
from ccdtasks.bot.cards.run import hold_line, stamp
from ccdtasks.bot.cards.status import AMBER, BLUE, GREEN, GREY, LOOKS, look_of
from ccdtasks.core.ending.breakage import Breakage
from ccdtasks.core.pages import Page
from ccdtasks.core.runs.runs import Overview, RunRow, StartedRun
from ccdtasks.core.states import BY_INTEREST, FINAL
from ccdtasks.core.tasks.tasks import TaskRow
from ccdtasks.db.models import Task, TaskRun
from ccdtasks.times import duration_text

PAGE = 10
"""Tasks on one page of the list."""


def created(task: Task, channel_id: str) -> Card:
    """`ticket-checker is ready. It needs origin and dates; price_threshold is 500 unless you say otherwise.`"""
    name = text.plain(task.task_name, 100)
    required = [text.code(each["name"], 60) for each in task.required_parameters]
    optional = [
        f"{text.code(each['name'], 60)} is {text.plain(each['default'], 60) or 'empty'}"
        for each in task.optional_parameters
    ]
    needs = f"It needs {listed(required)}" if required else "It needs nothing more"
    defaults = f"; {listed(optional)} unless you say otherwise" if optional else ""
    example = " ".join(f"{each['name']}:…" for each in task.required_parameters[:5])
    return Card(
        title=f"✓ {name}: ready",
        body=join(
            f"{needs}{defaults}.",
            f"Its channel: <#{channel_id}>",
            f"Start it with {text.code(f'/task-start {task.task_name} {example}'.strip(), 300)}",
            f"{text.code(f'/task-schedule {task.task_name}', 200)} lets it run by itself.",
        ),
        colour=GREEN,
    )


def started(begun: StartedRun, task: Task, thread_id: str | None) -> Card:
    """The reply to a start: where to follow it, with which values."""
    run = begun.run
    place = thread_id or task.discord_channel_id
    waiting = f"Waiting for a free session, {ordinal(begun.position)} in line." if begun.position > 1 else ""
    return Card(
        title=f"▶ {text.plain(task.task_name, 100)}: on its way",
        body=join(
            f"Follow it in <#{place}>" if place else "Its thread opens in a moment.",
            waiting,
            figures.parameters_text(run.parameters),
            f"Session {text.code(begun.session_id)}",
        ),
        colour=BLUE,
    )


def stopping(run: TaskRun, name: str) -> Card:
    """The reply to a stop: done at once for a run that waited, under way for one that goes."""
    over = run.status in FINAL
    said = (
        "Stopped." if over else "It ends now." if run.stop_force else "It stops in good order and keeps what it found."
    )
    return Card(title=f"■ {text.plain(name, 100)}: {'stopped' if over else 'stopping'}", body=said, colour=GREY)


def ask(act: str, task: Task, broken: Breakage, what: str) -> Card:
    """Asks before something that cannot be taken back, or that others hang on: what it means, then the two buttons.

    `act`: a key of `views.ACTS`. `broken`: what becomes of the tasks that run after it.
    """
    name = text.plain(task.task_name, 100)
    stopped, go_on = len(broken.stopped), len(broken.go_on)
    return Card(
        title=f"✋ {act.capitalize()} {name}?",
        body=join(
            what,
            f"{_bold(broken.stopped)} {'runs' if stopped == 1 else 'run'} after it and would no longer be started."
            if stopped
            else "",
            f"{_bold(broken.go_on)} {'goes' if go_on == 1 else 'go'} on without it." if go_on else "",
        ),
        colour=AMBER,
        buttons=(Button("Keep it", "sure:no"), Button(act.capitalize(), f"sure:{act}:{task.id}", "danger")),
    )


def _bold(names: Sequence[str]) -> str:
    shown = [f"**{text.plain(each, 60)}**" for each in names[:10]]
    return listed([*shown, f"{len(names) - 10} more"] if len(names) > 10 else shown)


def ask_delete(task: Task, broken: Breakage) -> Card:
    """What is lost with a task, and what stays."""
    runs = counted(task.run_count, "run")
    had = f"It has had {runs}. Their threads, results and files stay" if task.run_count else "It has had no run"
    return ask("delete", task, broken, f"{had}; its schedule goes." if task.schedule_cron else f"{had}.")


def ask_pause(task: Task, broken: Breakage) -> Card:
    """What stands still with a task that others run after."""
    return ask("pause", task, broken, "It would not start by itself until it is resumed.")


def deleted(task: Task) -> Card:
    """The task is gone; its place in Discord is left to people."""
    where = f"<#{task.discord_channel_id}> stays with its history; delete it in Discord if you want."
    return Card(
        title=f"■ {text.plain(task.task_name, 100)}: deleted",
        body=join(
            f"Its {figures.counted(task.run_count, 'run') or 'history'} can still be seen.",
            where if task.discord_channel_id else "",
            "/task-cleanup removes what is left of it." if task.run_count else "",
        ),
        colour=GREY,
    )


def kept() -> Card:
    """Somebody thought better of it."""
    return Card(title="✓ Nothing was changed", colour=GREY)


def page(filter: str, found: Page[TaskRow], *, is_first: bool) -> Card:
    """One page of the list; the buttons lead to the next one and back to the first."""
    if not found.rows:
        none_yet = "You have no tasks yet. Make one with /task-create."
        empty = none_yet if filter == "all" else f"You have no {filter} tasks."
        return Card(title=f"Tasks: {filter}", body=empty, buttons=() if is_first else (_first(filter),))
    forward = (Button("More", f"list:{filter}:{found.rows[-1].task.id}"),) if found.next_after else ()
    return Card(
        title=f"Tasks: {filter}",
        body="\n".join(_line(row) for row in found.rows),
        colour=BLUE,
        buttons=forward if is_first else (*forward, _first(filter)),
    )


def _first(filter: str) -> Button:
    return Button("First page", f"list:{filter}:start")


def _line(row: TaskRow) -> str:
    task = row.task
    look = LOOKS[row.last_status] if row.last_status else None
    sign = look.sign if look and row.active else "■" if task.paused else look.sign if look else "◌"
    rate = row.success_rate
    parts = (
        f"{sign} **{text.plain(task.task_name, 100)}**",
        look.word if look and row.active else "paused" if task.paused else look.word if look else "never run",
        schedule.line(task) or None,
        f"last {stamp(task.last_run_at, 'R')}" if task.last_run_at else None,
        f"{rate:.0%} good of {task.run_count}" if rate is not None else None,
    )
    return " · ".join(part for part in parts if part)


def status(found: Overview) -> Card:
    """One task in detail with its runs, or everything that goes on."""
    return _one(found.task, found) if found.task else _all(found)


def _one(task: Task, found: Overview) -> Card:
    runs = [*found.going, *found.recent]
    ended = task.success_count + task.failure_count
    counts = (
        figures.counted(task.run_count, "run"),
        f"{task.success_count / ended:.0%} good" if ended else None,
        f"usually {duration_text(task.avg_duration_seconds)}" if task.avg_duration_seconds else None,
    )
    going = [row.run.status for row in found.going]
    state = "paused" if task.paused else LOOKS[max(going, key=BY_INTEREST.index)].word if going else "ready"
    return Card(
        title=f"{text.plain(task.task_name, 100)}: {state}",
        body=join(
            text.plain(task.description or task.template_prompt, 400),
            _needs(task.required_parameters, task.optional_parameters),
            schedule.block(task),
            _held(found) if found.going else "",
            "\n".join(run_line(row) for row in runs) or "It has never run.",
        ),
        colour=look_of(runs[0].run).colour if runs else GREY,
        footer=" · ".join(part for part in counts if part),
    )


def _all(found: Overview) -> Card:
    going = "\n".join(run_line(row, named=True) for row in found.going[:15])
    more = f"and {len(found.going) - 15} more" if len(found.going) > 15 else ""
    recent = "\n".join(run_line(row, named=True) for row in found.recent)
    return Card(
        title="What goes on",
        body=join(_held(found), going or "Nothing is running.", more, f"**Lately**\n{recent}" if recent else ""),
        colour=AMBER if found.holds else BLUE if found.going else GREY,
    )


def _held(found: Overview) -> str:
    return "\n".join(f"✋ {hold_line(hold)}" for hold in found.holds)


def run_line(row: RunRow, *, named: bool = False) -> str:
    """A run on one line: sign, word, when, what came of it, its thread."""
    run = row.run
    look = look_of(run)
    came = (run.result_summary or run.error_message or "").strip().splitlines()
    parts = (
        f"{look.sign} **{text.plain(row.task_name, 60)}**" if named else look.sign,
        look.word,
        f"{ordinal(row.position)} in line" if row.position else None,
        stamp(run.started_at or run.created_at, "R"),
        duration_text(run.duration_seconds) if run.completed_at and run.duration_seconds is not None else None,
        text.plain(came[0], 90) if came else text.plain(run.live.get("text", ""), 90) if run.live else None,
        f"<#{run.discord_thread_id}>" if run.discord_thread_id else None,
        text.code(str(run.id)[:8]),
    )
    return " · ".join(part for part in parts if part)


def _needs(required: Sequence[Mapping[str, Any]], optional: Sequence[Mapping[str, Any]]) -> str:
    names = [text.code(each["name"], 60) for each in required]
    defaults = [f"{text.code(each['name'], 60)} = {text.plain(each['default'], 60)}" for each in optional]
    said = [f"needs {listed(names)}" if names else "", f"has {listed(defaults)}" if defaults else ""]
    return "; ".join(part for part in said if part).capitalize()
