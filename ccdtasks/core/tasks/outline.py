"""What runs after what, in words and as indented lines, for Discord and for the shell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ccdtasks.amounts import counted, some
from ccdtasks.core.tasks.dependencies import Added, Tree, TreeEdge
from ccdtasks.db.enums import RunStatus
from ccdtasks.times import duration_text

MOST_LINES = 60
"""What is beyond is counted, not shown: the picture shows it."""

_STEP = "    "
_MOST_NAMES = 5


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


def extent(tree: Tree) -> list[str]:
    """`2 steps deep`, `about 15 m in all`, `not counting digest`: what is known of depth and time."""
    said = [f"{counted(tree.depth, 'step')} deep"]
    if tree.estimated_s is None:
        return [*said, "how long it takes is known after the first good runs"]
    said.append(f"about {duration_text(tree.estimated_s)} in all")
    return [*said, f"not counting {some(tree.unknown, _MOST_NAMES)}"] if tree.unknown else said


def together(change: Added) -> str:
    """What several tasks before it mean for a task that was just linked or parted; nothing for one or none."""
    if len(change.upstreams) < 2:
        return ""
    names = some(change.upstreams, _MOST_NAMES)
    if change.task.dependency_mode == "any":
        return f"The first of {names} starts it, once in each chain."
    if change.is_apart:
        return (
            f"{names} do not start together, so it runs after each of them, with the last good run of those that have "
            "no part in that chain."
        )
    return f"It waits for all of {names}."


@dataclass
class _Drawing:
    tree: Tree
    sign: Callable[[RunStatus | None], str]
    lines: list[str] = field(default_factory=list)
    spread: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._tasks = {each.task.task_name: each for each in self.tree.tasks}

    def named(self, name: str) -> str:
        task = self._tasks[name]
        return f"{self.sign(task.last_status)} {name}{' (paused)' if task.task.paused else ''}"

    def before(self, name: str, indent: str) -> None:
        edges = self.tree.upstreams(name)
        word = "any of: " if len(edges) > 1 and self._is_any(name) else ""
        for edge in edges:
            self.lines.append(
                f"{indent}↑ after {word}{self.named(edge.upstream)}{_how(edge)}{self._again(edge.upstream)}"
            )
            if edge.upstream not in self.spread:
                self.spread.add(edge.upstream)
                self.before(edge.upstream, indent + _STEP)

    def after(self, name: str, indent: str) -> None:
        for edge in self.tree.followers(name):
            words = f"{_how(edge)}{self._beside(edge)}{self._again(edge.task)}"
            self.lines.append(f"{indent}↓ then {self.named(edge.task)}{words}")
            if edge.task not in self.spread:
                self.spread.add(edge.task)
                self.after(edge.task, indent + _STEP)

    def _beside(self, edge: TreeEdge) -> str:
        """What else the task runs after, of which the tree above it says nothing."""
        others = [each.upstream for each in self.tree.upstreams(edge.task)]
        others = [*(each for each in others if each != edge.upstream), *self._tasks[edge.task].beside]
        word = "or" if self._is_any(edge.task) else "and"
        return f", {word} after {some(others, _MOST_NAMES)}" if others else ""

    def _is_any(self, name: str) -> bool:
        return self._tasks[name].task.dependency_mode == "any"

    def _again(self, name: str) -> str:
        return ", see above" if name in self.spread else ""


def _how(edge: TreeEdge) -> str:
    return "" if edge.required else ", even if it fails"
