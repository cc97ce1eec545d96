"""The judges of what is sent to Discord can fail: each rule finds what breaks it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.doubles.discord.rules import RuleBook
from tests.doubles.discord.schema import schema

COMMAND = {"name": "task-list", "description": "x", "type": 1}
MESSAGES = "/channels/1/messages"
COMMANDS = "/applications/1/guilds/2/commands"
BUTTON = {"type": 2, "style": 1}


def _option(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "description": "x", "type": 3, **more}


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        (COMMANDS, [COMMAND | {"name": "Task List"}], "is no name"),
        (COMMANDS, [COMMAND | {"description": ""}], "needs a description"),
        (COMMANDS, [COMMAND, COMMAND], "two commands have one name"),
        (COMMANDS, [COMMAND | {"options": [_option("a"), _option("b", required=True)]}], "behind an optional"),
        (COMMANDS, [COMMAND | {"options": [_option("a"), _option("a")]}], "two options have one name"),
        (COMMANDS, [COMMAND | {"options": [_option(f"o{n}", description="x" * 400) for n in range(25)]}], "8000"),
        (MESSAGES, {"content": "x" * 2001}, "2000"),
        (MESSAGES, {"content": ""}, "an empty message"),
        (MESSAGES, {"embeds": [{"description": "x" * 4000}, {"description": "x" * 2001}]}, "6000"),
        (MESSAGES, {"embeds": [{"fields": [{"name": "x", "value": " "}]}]}, "field is empty"),
        (MESSAGES, {"components": [{"type": 1, "components": []}] * 6}, "five rows"),
        (MESSAGES, {"components": [{"type": 1, "components": [BUTTON | {"custom_id": "a"}] * 2}]}, "one custom_id"),
        (MESSAGES, {"components": [{"type": 1, "components": [BUTTON | {"style": 5}]}]}, "without an address"),
        (MESSAGES, {"components": [{"type": 1, "components": [BUTTON]}]}, "without a custom_id"),
        ("/guilds/1/channels", {"name": "x", "topic": "x" * 1025}, "topic"),
        ("/interactions/1/t/callback", {"type": 4, "data": {"content": "x" * 2001}}, "2000"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_found(path: str, body: Any, words: str) -> None:
    method = "PUT" if isinstance(body, list) else "POST"
    assert any(words in error for error in RuleBook().errors(method, path, body))


def test_the_third_rename_in_ten_minutes_is_found() -> None:
    book = RuleBook()
    found = [book.errors("PATCH", "/channels/1", {"name": str(at)}, at) for at in (0, 300, 599, 901, 902)]
    assert [bool(each) for each in found] == [False, False, True, False, True]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (MESSAGES, {"embeds": [{"title": "x" * 257}]}),
        (MESSAGES, {"components": [{"type": 1, "components": [{"type": 2, "style": 1, "custom_id": "x" * 101}]}]}),
        ("/guilds/1/channels", {"name": "x" * 101}),
        ("/channels/1/messages/2/threads", {"name": "x", "auto_archive_duration": 7}),
        ("/interactions/1/t/callback", {"type": 9, "data": {"custom_id": "a", "title": "x" * 46, "components": []}}),
        ("/no/such/route", {}),
    ],
)
def test_discords_own_file_finds_what_it_knows(path: str, body: Any) -> None:
    assert schema().request_errors("POST", path, body)
