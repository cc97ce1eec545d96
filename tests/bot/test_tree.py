"""The whole command tree: its shape, its documents, and what Discord would say to it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_type_hints

import discord
import pytest
from discord import app_commands

from ccdtasks.bot import Bot, commands
from ccdtasks.bot.permissions import NEEDED, missing
from ccdtasks.config import Config
from ccdtasks.core import Core
from tests.doubles.discord.rules import RuleBook
from tests.doubles.discord.schema import schema
from tests.doubles.discord_server import BOT_PERMISSIONS

DOCUMENT = Path(__file__).parents[2] / "docs/commands.md"
MODULES = [
    importlib.import_module(f"{commands.__name__}.{found.name}") for found in pkgutil.iter_modules(commands.__path__)
]


def _body_lines(command: app_commands.Command[Any, ..., Any]) -> int:
    source = inspect.getsource(command.callback)
    return len(source[source.index('"""', source.index('"""') + 3) :].splitlines()) - 1


def _flat(found: Iterable[Any]) -> list[app_commands.Command[Any, ..., Any]]:
    """The commands with those of groups."""
    return [
        each
        for one in found
        for each in ([one] if isinstance(one, app_commands.Command) else _flat(one.walk_commands()))
    ]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rsplit(".", 1)[-1])
def test_a_module_lists_its_commands_and_has_at_most_eight(module: Any) -> None:
    kinds = (app_commands.Command, app_commands.Group)
    found = {each for each in vars(module).values() if isinstance(each, kinds) and each.parent is None}
    assert set(module.COMMANDS) == found
    assert len(_flat(module.COMMANDS)) <= 8


def test_every_command_is_known_and_fits_a_screen() -> None:
    assert len(commands.COMMANDS) == sum(len(module.COMMANDS) for module in MODULES)
    for command in _flat(commands.COMMANDS):
        assert re.fullmatch(r"(task|session)-[a-z-]+|settings [a-z-]+", command.qualified_name)
        assert command.description != "…"
        assert all(parameter.description != "…" for parameter in command.parameters), command.name
        assert _body_lines(command) <= 25, command.name


async def test_discord_would_take_the_tree(core: Core, config: Config) -> None:
    bot = Bot(core, config)
    body = [command.to_dict(bot.tree) for command in commands.COMMANDS]
    path = "/applications/1/guilds/2/commands"
    assert schema().request_errors("PUT", path, body) == []
    assert RuleBook().errors("PUT", path, body) == []


def test_the_invitation_asks_for_exactly_what_the_bot_uses() -> None:
    assert NEEDED.value == BOT_PERMISSIONS
    assert f"permissions={NEEDED.value}`" in DOCUMENT.with_name("discord.md").read_text()
    assert missing(NEEDED) == []
    assert missing(discord.Permissions(administrator=True)) == []
    assert missing(discord.Permissions(NEEDED.value & ~(1 << 38))) == ["Send Messages in Threads"]


def test_the_document_has_every_command_and_the_call_behind_it() -> None:
    pattern = r"^\| `/(settings [a-z-]+|[a-z-]+)[^`]*` \|[^|]*\| `([a-z_.]+)`"
    rows = dict(re.findall(pattern, DOCUMENT.read_text(), re.MULTILINE))
    assert rows.keys() == {command.qualified_name for command in _flat(commands.COMMANDS)}
    nouns = get_type_hints(Core)
    for name, call in rows.items():
        noun, verb = call.split(".")
        assert verb in dir(nouns[noun]), f"/{name}: {call}"
