"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from tests.surface.repository import ROOT, files

_MODULE_LINES_MAX = 500
_FUNCTION_LINES_MAX = 60
_LEVELS_MAX = 3  # ccdtasks/db/models/base.py

# A migration is written once and never changed: it is as long as the schema is.
MODULES = [path for path in files("ccdtasks/*.py", "container/*.py") if path.parent.name != "versions"]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_part_of_the_package_has_its_layer() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    layered = {part.strip() for layer in contract["layers"] for part in layer.split("|")}
    parts = {
        f"ccdtasks.{path.relative_to(ROOT / 'ccdtasks').parts[0].removesuffix('.py')}"
        for path in files("ccdtasks/*.py")
    }
    assert parts - {"ccdtasks.__init__", "ccdtasks.__main__"} == layered


@pytest.mark.parametrize("module", MODULES, ids=_name)
def test_modules_and_functions_fit_a_head(module: Path) -> None:
    source = module.read_text()
    assert source.count("\n") <= _MODULE_LINES_MAX
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= _FUNCTION_LINES_MAX, f"{node.name} has {lines} lines"


def test_folders_are_not_nested_deeply() -> None:
    deep = [_name(path) for path in MODULES if len(path.relative_to(ROOT).parents) > _LEVELS_MAX + 1]
    assert deep == []


@pytest.mark.parametrize("module", MODULES, ids=_name)
def test_every_module_says_what_it_is(module: Path) -> None:
    source = module.read_text()
    assert not source.strip() or ast.get_docstring(ast.parse(source))


def test_nothing_is_left_to_be_done() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "X" * 3)
    left = [
        f"{_name(path)}: {mark}"
        for path in files("*.py", "*.md", "*.toml", "*.sh", "*.service", "tests/run", "tests/setup/*", "container/*")
        for mark in marks
        if mark in path.read_text(errors="replace")
    ]
    assert left == []


def test_lock_files_name_no_download_addresses() -> None:
    for name in ("tests/requirements.lock", "container/package-lock.json"):
        text = (ROOT / name).read_text()
        assert "://" not in text.replace('"url": "https://github.com/sponsors', ""), name
