"""`ccdtasks task schedule|unschedule|pause|resume`, `ccdtasks cron`"""

from __future__ import annotations

from datetime import UTC, datetime

import click
from rich.console import Group, RenderableType
from rich.text import Text

from ccdtasks.cli.look import plain_table
from ccdtasks.cli.service import ask
from ccdtasks.cli.shell import Shell, pairs, verb
from ccdtasks.core.access import SHELL
from ccdtasks.core.calendar.schedulelog import said
from ccdtasks.core.calendar.timing import Preview
from ccdtasks.core.runs.shapes import preview_shape, schedule_shape, shown_shape, task_shape
from ccdtasks.core.tasks.schedules import Scheduled, Shown, previewed
from ccdtasks.errors import Invalid
from ccdtasks.times import local_text


@click.command()
@click.argument("task")
@click.argument("when", required=False)
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--timezone", help="Whose clock, like Europe/Berlin; as before, else `[schedule] timezone`.")
@click.option("--limit", type=click.IntRange(1, 200), default=10, help="How much of what became of it is shown.")
@verb
@click.pass_obj
def schedule(
    shell: Shell, *, task: str, when: str | None, values: tuple[str, ...], timezone: str | None, limit: int
) -> None:
    """Let TASK run by itself; without WHEN: show when it does, and what became of it.

    WHEN is cron ("0 9 * * 1-5", "@daily") or a time that happens once ("at 2026-12-24 09:00", "tomorrow 9:00",
    "in 2h 30m"). The values are kept for its scheduled runs.
    """
    if when is timezone is None:
        found = ask(shell, lambda core: core.schedules.show(SHELL, task, limit))
        shell.show(shown_shape(found), lambda: _shown(found))
        return
    made = ask(shell, lambda core: core.schedules.set(SHELL, task, when, timezone, dict(pairs(values))))
    shell.show(schedule_shape(made), lambda: _picture(f"✓ {made.task.task_name} is scheduled.", made))


@click.command()
@click.argument("task")
@verb
@click.pass_obj
def unschedule(shell: Shell, task: str) -> None:
    """Take the schedule of TASK away; the task stays."""
    gone = ask(shell, lambda core: core.schedules.remove(SHELL, task))
    words = f"■ {gone.task_name} has no schedule any more. Start it: ccdtasks run {gone.task_name}"
    shell.show(task_shape(gone), lambda: Text(words))


@click.command()
@click.argument("task")
@click.option("--yes", is_flag=True, help="Also when other tasks run after it.")
@verb
@click.pass_obj
def pause(shell: Shell, task: str, yes: bool) -> None:
    """Let TASK rest: it does not start by itself until it is resumed."""
    paused = ask(shell, lambda core: core.schedules.pause(SHELL, task, yes))
    words = f"■ {paused.task_name} is paused. It goes on with: ccdtasks task resume {paused.task_name}"
    shell.show(task_shape(paused), lambda: Text(words))


@click.command()
@click.argument("task")
@verb
@click.pass_obj
def resume(shell: Shell, task: str) -> None:
    """Let a paused TASK go on; what it missed meanwhile is not made up for."""
    found = ask(shell, lambda core: core.schedules.resume(SHELL, task))
    shell.show(schedule_shape(found), lambda: _picture(f"✓ {found.task.task_name} goes on.", found))


@click.command()
@click.argument("expression")
@click.option("--timezone", help="Whose clock, like Europe/Berlin; else `[schedule] timezone`.")
@click.option("--from", "start", metavar="TIME", help="From when, in ISO 8601 (UTC unless it says otherwise); now.")
@click.option("--count", type=click.IntRange(1, 100), default=5, show_default=True)
@verb
@click.pass_obj
def cron(shell: Shell, expression: str, timezone: str | None, start: str | None, count: int) -> None:
    """Say what EXPRESSION means: in words, and in its next times."""
    config = shell.load_config().config
    begin = _moment(start) if start else datetime.now(UTC)
    shown = previewed(expression, timezone or config.schedule.timezone, begin, count)
    shell.show(preview_shape(shown), lambda: _times(shown))


COMMANDS = (schedule, unschedule, pause, resume)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid("from", f"“{text}” is no time.", "write 2026-03-28T12:00+01:00") from None
    if not 1900 <= moment.year <= 2200:
        raise Invalid("from", f"{moment:%Y-%m-%d} is too far away.", "choose a year from 1900 to 2200")
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _picture(words: str, found: Scheduled) -> RenderableType:
    parts: list[RenderableType] = [Text(words)]
    if found.preview:
        parts.append(_times(found.preview))
    if found.task.paused:
        parts.append(Text(f"It is paused; ccdtasks task resume {found.task.task_name} lets it run."))
    return Group(*parts)


def _shown(found: Shown) -> RenderableType:
    words = found.task.task_name if found.preview else f"{found.task.task_name} has no schedule."
    table = plain_table("time", "what became of it", "by")
    for row in found.history:
        at = local_text(row.scheduled_for or row.timestamp, found.task.schedule_timezone)
        table.add_row(at, said(row, found.task.schedule_timezone), row.user_id or "")
    parts: list[RenderableType] = [_picture(words, Scheduled(found.task, found.preview))]
    if table.row_count:
        parts += [Text(""), table]
    return Group(*parts)


def _times(preview: Preview) -> RenderableType:
    zone = preview.timing.zone.key
    lines = [f"{preview.words}, {zone} time.", *(f"  {local_text(moment, zone)}" for moment in preview.times)]
    return Text("\n".join([*lines, *preview.remarks]))
