"""docs/shell.md lists every verb of the shell, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import click

from ccdtasks.cli.root import VERBS, cli

DOCUMENT = Path(__file__).parents[2] / "docs" / "shell.md"
EVERY_VERB_HAS = {"--json", "--config", "--help"}


def _verbs() -> dict[str, click.Command]:
    """`task create` and the like -> the command."""
    found: dict[str, click.Command] = {}
    context = click.Context(cli)
    for name in VERBS:
        command = cli.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= {f"{name} {sub}": each for sub, each in command.commands.items()}
        else:
            found[name] = command
    return found


def _documented() -> list[str]:
    rows = re.findall(r"^\| (`.*?) \|", DOCUMENT.read_text(), re.MULTILINE)
    return [call for row in rows for call in re.findall(r"`([^`]+)`", row) if not row.startswith("`invalid")]


def test_verbs_and_their_options_are_documented() -> None:
    documented = {re.split(r" [A-Z\[]", call)[0]: call for call in _documented() if not call.startswith("-")}
    verbs = _verbs()
    assert set(documented) == set(verbs)
    for name, command in verbs.items():
        options = {opt for each in command.params if isinstance(each, click.Option) for opt in each.opts if "--" in opt}
        shown = set(re.findall(r"--[a-z]+", documented[name]))
        assert shown == options - EVERY_VERB_HAS - {"--verbose"}, name


def test_every_verb_takes_json_and_a_configuration() -> None:
    for name, command in _verbs().items():
        options = {opt for each in command.params for opt in each.opts}
        assert {"--json", "--config"} <= options, name
