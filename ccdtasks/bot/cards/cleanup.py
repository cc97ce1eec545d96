"""Clean-ups: what would go, and that it goes."""

from __future__ import annotations

from datetime import UTC, datetime

from ccdtasks.bot import text
from ccdtasks.bot.cards import figures
from ccdtasks.bot.cards.card import Button, Card, join
from ccdtasks.bot.cards.run import stamp
from ccdtasks.bot.cards.status import AMBER, BLUE, GREEN
from ccdtasks.core.figures.cleanups import Plan
from ccdtasks.core.records.removal import Rule
from ccdtasks.db.models import Task
from ccdtasks.times import size_text

_FLAGS = {"files_only": "f", "failed_only": "x", "delete_threads": "t"}


def ask(plan: Plan) -> Card:
    """Exactly what would go and what stays, and the two buttons. The button holds the rule, not the runs."""
    name, rule = text.plain(plan.task.task_name, 100), plan.rule
    if plan.is_empty:
        return Card(title=f"✓ {name}: nothing to clean up", body=join("No run matches.", _stays(plan)), colour=GREEN)
    which = "Failed runs" if rule.failed_only else "Runs"
    go = "" if rule.files_only else f"It cannot be taken back. {_threads(plan)}"
    return Card(
        title=f"✋ Clean up what is left of {name}?" if plan.task.deleted_at else f"✋ Clean up {name}?",
        body=join(
            f"This task was deleted {stamp(plan.task.deleted_at, 'R')}." if plan.task.deleted_at else "",
            f"{which} from before {stamp(rule.before, 'f')}: {_what(plan)}.",
            go,
            _stays(plan),
        ),
        colour=AMBER,
        buttons=(
            Button("Keep it", "sure:no"),
            Button("Clean up", f"cleanup:{plan.task.id}:{int(rule.before.timestamp())}:{_flags(rule)}", "danger"),
        ),
    )


def _stays(plan: Plan) -> str:
    good = "" if plan.task.deleted_at else ", the last good run"
    return f"The figures of days and months stay{good}, and whatever goes on."


def _what(plan: Plan) -> str:
    files = figures.counted(plan.files, "file")
    size = f" ({size_text(plan.size_bytes)})" if files else ""
    if plan.rule.files_only:
        return f"{files}{size} would be deleted; results, logs and threads stay"
    lines = f"{figures.counted(plan.events, 'line')} of log" if plan.events else None
    said = (figures.counted(plan.runs, "run"), f"{files}{size}" if files else None, lines)
    return f"{', '.join(part for part in said if part)} would be deleted"


def _threads(plan: Plan) -> str:
    count = figures.counted(plan.threads, "thread")
    if not count:
        return ""
    if plan.rule.delete_threads:
        return f"{count} would be deleted too."
    return f"{count} would be archived, with what stands in {'it' if plan.threads == 1 else 'them'}."


def started(task: Task) -> Card:
    """It goes on in the background."""
    name = text.plain(task.task_name, 100)
    where = "the channel for notices" if task.deleted_at else "the task's channel"
    said = f"It goes on in the background, and a message in {where} tells when it is done."
    return Card(title=f"▶ {name}: being cleaned up", body=said, colour=BLUE)


def _flags(rule: Rule) -> str:
    return "".join(letter for name, letter in _FLAGS.items() if getattr(rule, name)) or "-"


def rule_in(before: str, flags: str) -> Rule:
    """The rule that a button holds."""
    chosen = {name: letter in flags for name, letter in _FLAGS.items()}
    return Rule(datetime.fromtimestamp(int(before), UTC), **chosen)
