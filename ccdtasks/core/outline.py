"""A tree of dependencies as indented lines, for Discord and for the shell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ccdtasks.core.dependencies import Tree, TreeEdge
from ccdtasks.db.enums import RunStatus

MOST_LINES = 60
"""What is beyond is counted, not shown: the picture shows it."""

_STEP = "    "


def outline(tree: Tree, sign: Callable[[RunStatus | None], str]) -> list[str]:
    """The task, what it runs after (↑) and what runs after it (↓), each with the sign of its last run.

    A task that several paths lead to is spread out once.
    """
    drawing = _Drawing(tree, sign)
    drawing.lines.append(drawing.named(tree.task.task_name))
    drawing.before(tree.task.task_name, _STEP)
    drawing.spread.clear()
    drawing.after(tree.task.task_name, _STEP)
    left = len(drawing.lines) - MOST_LINES
    return [*drawing.lines[:MOST_LINES], f"… and {left} more"] if left > 0 else drawing.lines


@dataclass
class _Drawing:
    tree: Tree
    sign: Callable[[RunStatus | None], str]
    lines: list[str] = field(default_factory=list)
    spread: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._tasks = {each.task.task_name: each for each in self.tree.tasks}

    def named(self, name: str) -> str:
        return (
            f"{self.sign(self._tasks[name].last_status)} {name}{' (paused)' if self._tasks[name].task.paused else ''}"
        )

    def before(self, name: str, indent: str) -> None:
        edges = self.tree.upstreams(name)
        word = "any of: " if len(edges) > 1 and self._tasks[name].task.dependency_mode == "any" else ""
        for edge in edges:
            self.lines.append(
                f"{indent}↑ after {word}{self.named(edge.upstream)}{_how(edge)}{self._again(edge.upstream)}"
            )
            if edge.upstream not in self.spread:
                self.spread.add(edge.upstream)
                self.before(edge.upstream, indent + _STEP)

    def after(self, name: str, indent: str) -> None:
        for edge in self.tree.followers(name):
            self.lines.append(f"{indent}↓ then {self.named(edge.task)}{_how(edge)}{self._again(edge.task)}")
            if edge.task not in self.spread:
                self.spread.add(edge.task)
                self.after(edge.task, indent + _STEP)

    def _again(self, name: str) -> str:
        return ", see above" if name in self.spread else ""


def _how(edge: TreeEdge) -> str:
    return "" if edge.required else ", even if it fails"
