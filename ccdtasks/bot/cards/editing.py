"""Changes of a task: what can be changed, what was changed, and all settings as JSON."""

from __future__ import annotations

from collections.abc import Iterator

from ccdtasks.amounts import listed
from ccdtasks.bot import text
from ccdtasks.bot.cards.card import Card, File, join
from ccdtasks.bot.cards.status import BLUE, GREEN, GREY
from ccdtasks.config import Config
from ccdtasks.core.definition.fields import fields_of, parameter_names, shown, unset_text, value_of
from ccdtasks.core.tasks.editing import Change, Edited
from ccdtasks.db.models import Task

_SHOWN = 12
_INLINE = 3500


def edited(found: Edited, config: Config) -> Card:
    """Each field with what it was and what it is."""
    name = text.plain(found.task.task_name, 100)
    if not found.changes:
        return Card(title=f"✓ {name}: nothing to change", body="It was so already.", colour=GREY)
    lines = [_line(found.task, change, config) for change in found.changes[:_SHOWN]]
    more = f"and {len(found.changes) - _SHOWN} more" if len(found.changes) > _SHOWN else ""
    return Card(
        title=f"✓ {name}: changed",
        body=join("\n".join((*lines, more)).strip(), "Runs that begin from now on have it."),
        colour=GREEN,
    )


def fields(task: Task, config: Config) -> Card:
    """Everything that can be changed, with today's values, and how to change it."""
    example = text.code(f"/task-edit {task.task_name} timeout 3600", 200)
    return Card(
        title=f"{text.plain(task.task_name, 100)}: what can be changed",
        body=join(f"For example {example}. Without a value a form opens.", "\n".join(_listing(task, config))),
        colour=BLUE,
    )


def settings(task: Task, written: str) -> Card:
    """The settings as JSON: to be read at once when short, as a file when long."""
    title = f"{text.plain(task.task_name, 100)}: settings"
    how = f"Change them with {text.code(f'/task-config {task.task_name} edit', 200)}."
    if len(written) <= _INLINE:
        body = text.block(written, _INLINE + 20).replace("```\n", "```json\n", 1)
        return Card(title=title, body=join(body, how), colour=BLUE)
    file = File(f"{text.channel_name(task.task_name)}.settings.json", written.encode())
    return Card(title=title, body=how, colour=BLUE, files=(file,))


def _line(task: Task, change: Change, config: Config) -> str:
    field = f"**{text.plain(change.field, 80)}**"
    if change.field == "prompt":
        names = [text.code(each, 40) for each in parameter_names(task)]
        return f"{field} is new; " + (f"it asks for {listed(names)}" if names else "it asks for nothing")
    if change.field.startswith("parameters."):
        return f"{field} is new"
    unset = unset_text(task, change.field, config)
    was, now = (text.plain(each or unset, 120) for each in (change.before, change.after))
    return f"{field}: {was} → {now}"


def _listing(task: Task, config: Config) -> Iterator[str]:
    for each in fields_of(()):
        said = text.plain(shown(each, value_of(task, each)) or unset_text(task, each.name, config), 80)
        yield f"**{text.plain(each.name, 60)}** {said} · {text.plain(each.meaning, 100)}"
