"""`ccdtasks task depends-on|depends-remove|dependencies|delete`"""

from __future__ import annotations

from typing import Any, get_args

import click
from rich.text import Text

from ccdtasks.amounts import counted
from ccdtasks.cli.look import sign_of
from ccdtasks.cli.service import ask
from ccdtasks.cli.shell import Shell, pairs, verb
from ccdtasks.core.access import SHELL
from ccdtasks.core.runs.shapes import Json, task_shape
from ccdtasks.core.tasks.dependencies import Added, Mode, Tree
from ccdtasks.core.tasks.outline import extent, outline, together


@click.command("depends-on")
@click.argument("task")
@click.argument("depends_on", metavar="OTHER")
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--optional", is_flag=True, help="Run also when OTHER failed.")
@click.option("--mode", type=click.Choice(get_args(Mode)), help="With several: after all of them, or after the first.")
@verb
@click.pass_obj
def depends_on(  # noqa: PLR0917 - click passes them by name
    shell: Shell, task: str, depends_on: str, values: tuple[str, ...], optional: bool, mode: Mode | None
) -> None:
    """Let TASK run each time that OTHER is done.

    The values are those of the runs that start so; input_file=@scrape-news/output_file is a file of the other's run.
    """
    wanted: dict[str, Any] = {"required": not optional, "mode": mode, "values": dict(pairs(values))}
    change = ask(shell, lambda core: core.dependencies.add(SHELL, task, depends_on, **wanted))
    how = "completes" if change.required else "ends, even if it fails"
    words = f"✓ {change.task.task_name} will run each time that {change.upstream.task_name} {how}."
    shell.show(_change_shape(change), lambda: Text(f"{words} {together(change)}".strip()))


@click.command("depends-remove")
@click.argument("task")
@click.argument("depends_on", metavar="OTHER")
@verb
@click.pass_obj
def depends_remove(shell: Shell, task: str, depends_on: str) -> None:
    """Let TASK no longer run after OTHER."""
    change = ask(shell, lambda core: core.dependencies.remove(SHELL, task, depends_on))
    words = f"■ {change.task.task_name} no longer runs after {change.upstream.task_name}."
    shell.show(_change_shape(change), lambda: Text(f"{words} {together(change)}".strip()))


@click.command()
@click.argument("task")
@verb
@click.pass_obj
def dependencies(shell: Shell, task: str) -> None:
    """Show what TASK runs after, and what runs after it."""
    tree = ask(shell, lambda core: core.dependencies.tree(SHELL, task))
    shell.show(_tree_shape(tree), lambda: _picture(tree))


@click.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Also when other tasks run after it.")
@verb
@click.pass_obj
def delete(shell: Shell, name: str, yes: bool) -> None:
    """Delete a task; its runs and their files stay."""
    gone = ask(shell, lambda core: core.tasks.delete(SHELL, name, confirm=yes))
    words = f"■ {gone.task_name} is deleted. Its history stays: {counted(gone.run_count, 'run')}."
    shell.show(task_shape(gone), lambda: Text(words))


COMMANDS = (depends_on, depends_remove, dependencies, delete)


def _change_shape(change: Added) -> Json:
    return {
        "task": change.task.task_name,
        "depends_on": change.upstream.task_name,
        "required": change.required,
        "mode": change.task.dependency_mode,
    }


def _tree_shape(tree: Tree) -> Json:
    return {
        "task": tree.task.task_name,
        "tasks": [
            {
                "name": each.task.task_name,
                "level": each.level,
                "mode": each.task.dependency_mode,
                "paused": each.task.paused,
                "last_status": each.last_status.value if each.last_status else None,
                "average_s": each.task.avg_duration_seconds,
                "also_after": list(each.beside),
            }
            for each in tree.tasks
        ],
        "edges": [{"task": edge.task, "depends_on": edge.upstream, "required": edge.required} for edge in tree.edges],
        "depth": tree.depth,
        "estimated_s": tree.estimated_s,
        "unknown": list(tree.unknown),
    }


def _picture(tree: Tree) -> Text:
    if not tree.edges:
        return Text(f"{tree.task.task_name} runs after nothing, and nothing runs after it.")
    return Text("\n".join([*outline(tree, sign_of), " · ".join(extent(tree))]))
