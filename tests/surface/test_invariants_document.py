"""docs/invariants.md promises tests: each that it names exists, and each line that can be checked has its rule."""

from __future__ import annotations

import ast
import re

import pytest

from tests import invariants
from tests.surface.repository import ROOT, files

DOCUMENT = (ROOT / "docs/invariants.md").read_text()
CASES = re.findall(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|$", DOCUMENT, re.MULTILINE)
LINES = re.findall(r"^\| ([A-Z]\d+) \| .* \| ([^|]+) \|$", DOCUMENT, re.MULTILINE)


def _tests() -> dict[str, set[str]]:
    """Path -> the names of the tests in it."""
    found = {}
    for path in files("tests/*.py", "tests/**/*.py"):
        tree = ast.parse(path.read_text())
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        found[str(path.relative_to(ROOT))] = {each.name for each in functions if each.name.startswith("test_")}
    return found


TESTS = _tests()


def test_every_case_is_listed_in_order() -> None:
    assert [int(number) for number, _, _ in CASES] == list(range(1, 48))


@pytest.mark.parametrize(("number", "where"), [(number, where) for number, _, where in CASES])
def test_a_case_names_tests_that_exist_or_says_why_not(number: str, where: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", where)
    missing = [f"{path}::{name}" for path, name in named if name not in TESTS.get(path, set())]
    assert not missing
    assert named or where.startswith("the same") or where.endswith("."), "neither a test nor a sentence"


@pytest.mark.parametrize(("line", "where"), LINES)
def test_a_line_names_tests_that_exist(line: str, where: str) -> None:
    every = set().union(*TESTS.values())
    for name in re.findall(r"`(test_\w+)(?:\.py)?`", where):
        assert name in every or any(path.endswith(f"/{name}.py") for path in TESTS), f"{line}: {name}"


def test_each_rule_is_a_line_and_each_line_of_runs_has_a_rule() -> None:
    lines = {line for line, _ in LINES}
    rules = {rule.__name__.split("_")[0].upper() for rule in invariants.RULES}
    assert rules <= lines
    assert {line for line in lines if line.startswith("I")} <= rules
