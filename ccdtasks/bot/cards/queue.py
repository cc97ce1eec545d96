"""The queue: who waits for what, and why nothing starts."""

from __future__ import annotations

from collections.abc import Sequence

from ccdtasks.bot import text
from ccdtasks.bot.cards import figures
from ccdtasks.bot.cards.card import Button, Card, join, ordinal
from ccdtasks.bot.cards.run import hold_line, person, stamp
from ccdtasks.bot.cards.status import AMBER, BLUE, GREEN, GREY
from ccdtasks.core.facts import Hold
from ccdtasks.core.runs.queue import QueuePage, Waiting, WaitsFor
from ccdtasks.core.runs.runs import RunView
from ccdtasks.db.models import Task, TaskRun

PAGE = 10
"""Runs on one page."""

NOBODY = "00000000-0000-0000-0000-000000000000"
"""Stands for the whole queue in the button of a question."""


def holds_text(holds: Sequence[Hold]) -> str:
    """Why nothing starts, a line each; nothing when all is well."""
    return "\n".join(f"✋ {hold_line(hold)}" for hold in holds)


def page(found: QueuePage, *, is_admin: bool) -> Card:
    """One page of the queue; admins can clear it."""
    if not found.total:
        return Card(title="Queue: empty", body=join(holds_text(found.holds), "No run waits."), colour=GREEN)
    buttons = [Button("More", f"queue:page:{found.next_start}")] if found.next_start is not None else []
    if found.start:
        buttons.append(Button("First page", "queue:page:0"))
    if is_admin:
        buttons.append(Button("Clear", "queue:clear", "danger"))
    runs = "1 run waits" if found.total == 1 else f"{found.total:,} runs wait"
    return Card(
        title=f"Queue: {runs}",
        body=join(holds_text(found.holds), "\n".join(_line(row, found.holds) for row in found.rows)),
        colour=AMBER if found.holds else BLUE,
        buttons=tuple(buttons),
    )


def _line(row: Waiting, holds: Sequence[Hold]) -> str:
    run = row.run
    name = f"**{text.plain(row.task_name, 60)}**" if row.task_name else "a run"
    owner = person(run.owner_user_id) or text.plain(run.owner_user_id, 40)
    parts = (
        f"{ordinal(row.place)} " if row.place else "◌ ",
        f"{name} of {owner}",
        f"waits since {stamp(run.queued_at, 'R')}" if run.queued_at else None,
        _why(row, holds),
        text.code(str(run.id)[:8]) if row.task_name else None,
    )
    return parts[0] + " · ".join(part for part in parts[1:] if part)


def _why(row: Waiting, holds: Sequence[Hold]) -> str:
    if row.waits_for is WaitsFor.TIME and row.run.not_before:
        return f"next try {stamp(row.run.not_before, 't')}"
    if row.waits_for is WaitsFor.TASK:
        return "for the task's run before it"
    if row.waits_for is WaitsFor.HOLD:
        return {"memory": "for memory", "usage_limit": "for Claude's limit"}.get(holds[0].name, "held")
    return "for a free session"


def moved(run: TaskRun, name: str, place: int) -> Card:
    """The reply to a move."""
    return Card(title=f"✓ {text.plain(name, 100)}: {ordinal(place)} in line", body=f"Run {text.code(str(run.id)[:8])}")


def ask_clear(found: QueuePage) -> Card:
    """What clearing means, and the two buttons."""
    runs = "the one run that waits" if found.total == 1 else f"all {found.total:,} runs that wait"
    return Card(
        title="✋ Clear the queue?",
        body=f"It cancels {runs}, of all owners. Runs that have begun go on; schedules stay.",
        colour=AMBER,
        buttons=(Button("Keep it", "sure:no"), Button("Clear", f"sure:clear:{NOBODY}", "danger")),
    )


def cleared(count: int) -> Card:
    """The reply to a clearing."""
    runs = "1 run was" if count == 1 else f"{count:,} runs were"
    return Card(title="■ Queue: cleared", body=f"{runs} cancelled.", colour=GREY)


def ask_retry(run: TaskRun, task: Task, *, has_values: bool) -> Card:
    """Another try of a task that acts may do something twice. The button cannot hold new values."""
    name = text.plain(task.task_name, 100)
    how = f"Then use {text.code('/task-retry')} again with `confirm:True`." if has_values else ""
    button = () if has_values else (Button("Try again", f"sure:retry:{run.id}", "danger"),)
    return Card(
        title=f"✋ Try {name} again?",
        body=join(
            f"{name} buys, posts or submits, and this run had begun: another try may do it twice.",
            f"Look first at what it did: {text.code(f'/task-logs {str(run.id)[:8]}')}. {how}".strip(),
        ),
        colour=AMBER,
        buttons=(Button("Keep it", "sure:no"), *button),
    )


def retried(view: RunView) -> Card:
    """The reply to a retry: it goes on in the thread of the first try."""
    run, name = view.run, text.plain(view.task.task_name, 100)
    place = run.discord_thread_id or view.task.discord_channel_id
    return Card(
        title=f"▶ {name}: trying again",
        body=join(
            f"Follow it in <#{place}>" if place else "",
            f"Try {run.attempt}, {ordinal(view.position)} in line." if view.position else f"Try {run.attempt}.",
            figures.parameters_text(run.parameters),
            f"Session {text.code(str(run.id))}",
        ),
        colour=BLUE,
    )
