"""`ccdtasks cleanup`"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from rich.console import RenderableType
from rich.text import Text

from ccdtasks.amounts import counted
from ccdtasks.cli.look import plain_table, when
from ccdtasks.cli.service import ask
from ccdtasks.cli.shell import Shell, verb
from ccdtasks.core.access import SHELL
from ccdtasks.core.figures.cleanups import Plan, Wanted
from ccdtasks.core.pages import MAX_PAGE
from ccdtasks.db.models import Task
from ccdtasks.times import size_text


@click.command()
@click.argument("task", required=False)
@click.option("--deleted", is_flag=True, help="List the deleted tasks that still have runs.")
@click.option(
    "--older", "older_than_days", type=click.IntRange(0), metavar="DAYS", help="Runs older than so many days."
)
@click.option("--keep", "keep_last", type=click.IntRange(0), metavar="RUNS", help="All but the latest so many runs.")
@click.option("--files", "files_only", is_flag=True, help="Only their files; results and logs stay.")
@click.option("--failed", "failed_only", is_flag=True, help="Only runs that failed.")
@click.option(
    "--threads", "delete_threads", is_flag=True, help="Delete their threads in Discord, not only archive them."
)
@click.option("--yes", is_flag=True, help="Do not ask first.")
@verb
@click.pass_obj
def cleanup(shell: Shell, /, task: str | None, deleted: bool, yes: bool, **wanted: Any) -> None:
    """Remove old runs of TASK. Says first what would go; figures and the last good run always stay.

    A deleted task is named by its name, or by its id where another one has had that name. Without --older and --keep
    all that is left of it goes.
    """
    if deleted or task is None:
        if task is not None or not deleted:
            raise click.UsageError("Name a task, or list the deleted ones with --deleted.")
        gone = ask(shell, lambda core: core.cleanups.deleted(SHELL, limit=MAX_PAGE))
        shell.show([_deleted_shape(each) for each in gone], lambda: _deleted(gone))
        return
    plan = ask(shell, lambda core: core.cleanups.plan(SHELL, task, Wanted(**wanted)))
    begins = not plan.is_empty and (yes or (not shell.as_json and click.confirm(_question(plan), err=True)))
    if begins:
        ask(shell, lambda core: core.cleanups.start(SHELL, plan.task.id, plan.rule))
    shell.show(_shape(plan, begins), lambda: Text(_answer(plan, begins)))


def _deleted(gone: Sequence[Task]) -> RenderableType:
    if not gone:
        return Text("No deleted task has runs left.")
    table = plain_table("task", "deleted", "id")
    for each in gone:
        table.add_row(each.task_name, when(each.deleted_at) if each.deleted_at else "", str(each.id))
    return table


def _deleted_shape(task: Task) -> dict[str, Any]:
    at = task.deleted_at
    return {"id": str(task.id), "task": task.task_name, "deleted_at": at and at.isoformat()}


def _question(plan: Plan) -> str:
    files = f"{counted(plan.files, 'file')} ({size_text(plan.size_bytes)})"
    whole = f"{counted(plan.runs, 'run')}, {files}, {counted(plan.events, 'line')} of log"
    what, task, threads = files if plan.rule.files_only else whole, plan.task, ""
    if plan.threads:
        verb = "is" if plan.threads == 1 else "are"
        threads = f"; {counted(plan.threads, 'thread')} {verb} {'deleted' if plan.rule.delete_threads else 'archived'}"
    gone = f", which was deleted on {when(task.deleted_at)}" if task.deleted_at else ""
    return f"Delete what is from before {when(plan.rule.before)} of {task.task_name}{gone}: {what}{threads}?"


def _answer(plan: Plan, begins: bool) -> str:
    if plan.is_empty:
        return f"✓ {plan.task.task_name}: nothing to clean up."
    return f"▶ {plan.task.task_name} is being cleaned up by the service." if begins else "✓ Nothing was changed."


def _shape(plan: Plan, begins: bool) -> dict[str, Any]:
    return {
        "task": plan.task.task_name,
        "deleted_at": plan.task.deleted_at.isoformat() if plan.task.deleted_at else None,
        "before": plan.rule.before.isoformat(),
        "runs": plan.runs,
        "files": plan.files,
        "size_bytes": plan.size_bytes,
        "events": plan.events,
        "threads": plan.threads,
        "is_started": begins,
    }
