"""Whoever is told to type something can type it: every command and verb that a text names exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from discord import app_commands

from ccdtasks.bot.commands import COMMANDS
from ccdtasks.cli.root import VERBS, cli
from ccdtasks.cli.wording import VERBS as WORDS
from ccdtasks.cli.wording import in_the_shell
from ccdtasks.core.definition.fields import SETTINGS
from tests.surface.repository import ROOT, files

_COMMAND = re.compile(r"(?<![\w/.:}-])/((?:task|session|template|chain|run)(?:-[a-z]+)+|settings)(?![\w/-])")
_VERB = re.compile(r"(?:^|[`:(] ?|\$ |&& |\n)ccdtasks ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")
TEXTS = [
    each
    for each in files("ccdtasks/**/*.py", "ccdtasks/*.py", "docs/*.md", "*.md", "config.example.toml", "install.sh")
    if each.name != "CHANGELOG.md"
]


def _texts(path: Path) -> Iterator[str]:
    """What people may read: the texts of a program, code and prose of a document."""
    written = path.read_text()
    if path.suffix != ".py":
        yield written
        return
    for node in ast.walk(ast.parse(written)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else "x" for each in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_named_exists(path: Path) -> None:
    known = {command.name for command in COMMANDS}
    named = {name for text in _texts(path) for name in _COMMAND.findall(text)}
    assert named - known == set()


def test_every_part_of_a_command_that_is_named_exists() -> None:
    for group in COMMANDS:
        if isinstance(group, app_commands.Group):
            known = {each.name for each in group.commands}
            for path in TEXTS:
                for text in _texts(path):
                    assert set(re.findall(rf"/{group.name} ([a-z]+(?:-[a-z]+)*)", text)) <= known, path


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_verb_that_is_named_exists(path: Path) -> None:
    context = click.Context(cli)
    for text in _texts(path):
        for verb, follows in _VERB.findall(text):
            assert verb in VERBS, f"ccdtasks {verb}"
            command = cli.get_command(context, verb)
            if isinstance(command, click.Group) and follows:
                assert follows in command.commands, f"ccdtasks {verb} {follows}"


def test_the_texts_do_name_commands_and_verbs() -> None:
    """Else the tests above could not fail."""
    everything = "\n".join(text for path in TEXTS for text in _texts(path))
    assert {"task-edit", "task-start", "task-schedule"} <= set(_COMMAND.findall(everything))
    assert {"doctor", "image", "task"} <= {verb for verb, _ in _VERB.findall(everything)}


def test_the_shell_has_a_verb_for_each_command_that_the_core_names() -> None:
    named = {name for path in files("ccdtasks/core/*.py") for text in _texts(path) for name in _COMMAND.findall(text)}
    for name in named - {"settings"}:  # a person's own, in Discord
        assert f"/{name}" in WORDS, name
    for command, words in WORDS.items():
        assert command.removeprefix("/") in {each.name for each in COMMANDS}
        assert words.split()[1] in VERBS
    assert (
        in_the_shell("it helps: `/task-edit a timeout 3600`") == "it helps: `ccdtasks task edit a --set timeout=3600`"
    )
    assert in_the_shell("say it: `/task-edit a prompt`") == "say it: `ccdtasks task edit a --set prompt=...`"


def test_every_field_that_a_hint_names_exists() -> None:
    known = {"prompt", "description", "values"} | {each.name for each in SETTINGS}
    text = "\n".join(text for path in files("ccdtasks/core/*.py") for text in _texts(path))
    named = set(re.findall(r"`/task-edit (?:x|\{task\}) ([a-z_]+)", text))
    assert {"timeout", "prompt", "budget_per_day"} <= named <= known
