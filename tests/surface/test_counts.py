"""No text says "1 files": where a number stands before a thing, the thing follows it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.surface.repository import ROOT

PACKAGE = ROOT / "ccdtasks"

_THINGS = (
    "alert|attempt|call|channel|character|cell|column|connection|day|dollar|domain|event|field|file|hour|item|line"
    "|message|minute|name|option|order|page|person|place|point|question|request|result|row|run|schedule|second|session"
    "|setting|step|task|test|thread|time|token|value|word"
)
_BEHIND = re.compile(rf" (?:[a-z]+ )?(?:(?:{_THINGS})s|addresses|pushes|replies|tries)\b")

NEVER_ONE = {
    "{count} tasks": "a chain has two at least",
    "{run.attempt} tries": "said from the second on",
    "{last} runs": "of which several failed",
    "{pattern.of_last} runs": "of which several failed",
    "{times} times": "said when one was missed before the latest",
    "{count} runs": "two at least: one is said in other words",
    "{len(points)} good runs": "a course has two points at least",
    "{days} days": "more than 36 hours",
    "{len(going)} runs": "several, or it would be clear which",
    "{len(live)} tokens": "several, or it would be clear which",
    "{task.schedule_failures} scheduled runs": "five in a row",
    "{len(found.tasks)} tasks": "said when there are more than can be drawn",
    "{filter} tasks": "no number",
    "{limit} different names": "1,000",
    "{limit} pushes": "20 or 300",
    "{limit} connections": "256",
    "{len(normal)} characters": "said when there are too many",
    "{len(text)} characters": "said when there are too many",
    "{len(value)} characters": "said when there are too many",
    "{pushtexts.URL} characters": "512",
}
"""A number and its thing -> why it is never one."""

_NAMES = re.compile(r"name|where|kind")


def test_the_word_follows_the_number() -> None:
    wrong = [f"{path}:{line}: {text}" for path, line, text in _counts() if text not in NEVER_ONE]
    assert not wrong, "write these with amounts.counted:\n" + "\n".join(wrong)


def _counts() -> Iterator[tuple[str, int, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        chosen = {id(text) for node in ast.walk(tree) if isinstance(node, ast.IfExp) for text in _apart_from_one(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr) and id(node) not in chosen:
                for said in _in(node):
                    yield str(path.relative_to(PACKAGE)), node.lineno, said


def _in(text: ast.JoinedStr) -> Iterator[str]:
    for number, words in zip(text.values, text.values[1:], strict=False):
        if not isinstance(number, ast.FormattedValue) or not isinstance(words, ast.Constant):
            continue
        found = _BEHIND.match(str(words.value))
        shown = ast.unparse(number.value)
        is_number = not shown.lstrip("_").isupper() and not _NAMES.search(shown)
        if found and is_number:
            yield f"{{{shown}}}{found[0]}"


def _apart_from_one(choice: ast.IfExp) -> Iterator[ast.expr]:
    """What is said when the number is not one, where that is asked first."""
    if re.search(r"== 1$", ast.unparse(choice.test)):
        yield choice.orelse
    elif re.search(r"> 1$", ast.unparse(choice.test)):
        yield choice.body
