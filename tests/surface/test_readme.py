"""What the README and the documents tell people to type exists."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import click
import pytest

from ccdtasks.bot.commands import COMMANDS
from ccdtasks.cli.root import cli
from tests.surface.repository import ROOT, files

_BLOCK = re.compile(r"```(?:sh)?\n(.*?)```", re.DOTALL)
_INLINE = re.compile(r"`(ccdtasks [^`]+)`")
# People's part, and part of other programs: what is asked here is whether our own things exist.
_DOCUMENTS = [ROOT / "README.md", *files("docs/*.md")]


def _typed(document: Path) -> list[str]:
    text = document.read_text()
    lines = [line.split("  #")[0].strip() for block in _BLOCK.findall(text) for line in block.splitlines()]
    return lines + _INLINE.findall(text)


def _verb(words: list[str]) -> click.Command:
    """The command that `ccdtasks WORDS` calls; fails when there is none."""
    command: click.Command = cli
    context = click.Context(cli, info_name="ccdtasks")
    while isinstance(command, click.Group) and words and re.fullmatch(r"[a-z-]+", words[0]):
        found = command.get_command(context, words[0])
        assert found is not None, f"ccdtasks has no {words[0]}"
        command, words = found, words[1:]
    return command


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: path.name)
def test_verbs_and_their_options_exist(document: Path) -> None:
    for line in _typed(document):
        if match := re.match(r"(?:sudo .*)?(?<!-u )\bccdtasks ([a-z].*)", line):
            words = shlex.split(match[1].replace("[", " ").replace("]", " "))
            command = _verb(words)
            known = {option for parameter in command.params for option in parameter.opts}
            asked = {word.split("=")[0] for word in words if word.startswith("--")}
            assert asked <= known | {"--help"}, f"{line}: {asked - known}"


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: path.name)
def test_scripts_exist(document: Path) -> None:
    for line in _typed(document):
        for script in re.findall(r"(?:^|(?<!--exclude)[\s\"(])(\./[\w/.-]+|tests/[\w/-]+)(?=[\s\")]|$)", line):
            assert os.access(ROOT / script, os.X_OK), f"{line}: {script}"


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: path.name)
def test_slash_commands_exist(document: Path) -> None:
    known = {command.name for command in COMMANDS}
    for line in _typed(document):
        if match := re.match(r"/([a-z-]+)", line):
            assert match[1] in known, line


def test_the_first_command_is_the_demonstration_and_the_second_the_tests() -> None:
    lines = [line for line in _typed(ROOT / "README.md") if line]
    assert lines[:2] == ["./install.sh --demo", "./tests/run"]
