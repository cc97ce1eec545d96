"""`ccdtasks cleanup`"""

from __future__ import annotations

import asyncio
from typing import Any

import click
from rich.text import Text

from ccdtasks.cli.look import when
from ccdtasks.cli.service import opened
from ccdtasks.cli.shell import Shell, verb
from ccdtasks.core.access import SHELL
from ccdtasks.core.cleanups import Plan, Wanted
from ccdtasks.times import size_text


@click.command()
@click.argument("task")
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
def cleanup(shell: Shell, /, task: str, yes: bool, **wanted: Any) -> None:
    """Remove old runs of TASK. Says first what would go; figures and the last good run always stay."""
    plan = asyncio.run(_plan(shell, task, Wanted(**wanted)))
    begins = not plan.is_empty and (yes or (not shell.as_json and click.confirm(_question(plan), err=True)))
    if begins:
        asyncio.run(_start(shell, plan))
    shell.show(_shape(plan, begins), lambda: Text(_answer(plan, begins)))


async def _plan(shell: Shell, task: str, wanted: Wanted) -> Plan:
    async with opened(shell) as core:
        return await core.cleanups.plan(SHELL, task, wanted)


async def _start(shell: Shell, plan: Plan) -> None:
    async with opened(shell) as core:
        await core.cleanups.start(SHELL, plan.task.id, plan.rule)


def _question(plan: Plan) -> str:
    files = f"{plan.files:,} files ({size_text(plan.size_bytes)})"
    what = files if plan.rule.files_only else f"{plan.runs:,} runs, {files}, {plan.events:,} lines of log"
    threads = ""
    if plan.threads:
        threads = f"; {plan.threads:,} threads are {'deleted' if plan.rule.delete_threads else 'archived'}"
    return f"Delete what is from before {when(plan.rule.before)} of {plan.task.task_name}: {what}{threads}?"


def _answer(plan: Plan, begins: bool) -> str:
    if plan.is_empty:
        return f"✓ {plan.task.task_name}: nothing to clean up."
    return f"▶ {plan.task.task_name} is being cleaned up by the service." if begins else "✓ Nothing was changed."


def _shape(plan: Plan, begins: bool) -> dict[str, Any]:
    return {
        "task": plan.task.task_name,
        "before": plan.rule.before.isoformat(),
        "runs": plan.runs,
        "files": plan.files,
        "size_bytes": plan.size_bytes,
        "events": plan.events,
        "threads": plan.threads,
        "is_started": begins,
    }
