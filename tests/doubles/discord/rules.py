"""Rules of Discord that its OpenAPI file does not know, checked on a sequence of requests."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

_NAME = re.compile(r"[-_'\w\u0900-\u097f\u0e00-\u0e7f]{1,32}")
RENAMES = 2
RENAME_WINDOW_S = 600


class RuleBook:
    """Takes requests in order and says what Discord would refuse. `at_s`: seconds on any clock that only rises."""

    def __init__(self) -> None:
        self._renames: dict[str, list[float]] = defaultdict(list)

    def errors(self, method: str, path: str, body: Any, at_s: float = 0.0) -> list[str]:
        """What is wrong with this request, given those before."""
        found: list[str] = []
        parts = path.strip("/").split("/")
        if parts[0] == "applications" and parts[-1] == "commands" and isinstance(body, list):
            found += _commands(body)
        if isinstance(body, dict):
            message = body["data"] if parts[0] == "interactions" and isinstance(body.get("data"), dict) else body
            if parts[-1] == "messages" or "messages" in parts[-2:] or parts[0] in ("webhooks", "interactions"):
                found += _message(message, is_new=method == "POST", is_modal=body.get("type") == 9)
            if len(body.get("topic") or "") > 1024:
                found.append("a topic has at most 1024 characters")
        if parts[0] == "channels" and method == "PATCH" and len(parts) == 2 and body:
            found += self._renamed(parts[1], body, at_s)
        return [f"{method} {path}: {each}" for each in found]

    def _renamed(self, channel: str, body: dict[str, Any], at_s: float) -> list[str]:
        if "name" not in body and "topic" not in body:
            return []
        recent = [at for at in self._renames[channel] if at > at_s - RENAME_WINDOW_S]
        self._renames[channel] = [*recent, at_s]
        return ["a channel is renamed at most twice in ten minutes"] if len(recent) >= RENAMES else []


def _commands(commands: list[dict[str, Any]]) -> list[str]:
    found = [] if len(commands) <= 100 else ["at most 100 commands"]
    names = [command["name"] for command in commands]
    if len(names) != len(set(names)):
        found.append("two commands have one name")
    for command in commands:
        found += [f"/{command['name']}: {each}" for each in _command(command)]
    return found


def _command(command: dict[str, Any]) -> list[str]:
    found = []
    options = command.get("options", [])
    for each in (command, *options):
        name = each["name"]
        if not _NAME.fullmatch(name) or name != name.lower():
            found.append(f"{name!r} is no name")
        if not 1 <= len(each.get("description", "")) <= 100:
            found.append(f"{name!r} needs a description of 1 to 100 characters")
        if each.get("autocomplete") and each.get("choices"):
            found.append(f"{name!r} has choices and completes itself")
        if any(isinstance(choice["value"], str) and len(choice["value"]) > 100 for choice in each.get("choices", ())):
            found.append(f"{name!r} has a choice of more than 100 characters")
    if len({option["name"] for option in options}) != len(options):
        found.append("two options have one name")
    required = [bool(option.get("required")) for option in options]
    if required != sorted(required, reverse=True):
        found.append("a required option stands behind an optional one")
    if _size(command) > 8000:
        found.append("more than 8000 characters in all")
    return found


def _size(command: dict[str, Any]) -> int:
    size = len(command["name"]) + len(command.get("description", ""))
    size += sum(len(choice["name"]) + len(str(choice["value"])) for choice in command.get("choices", ()))
    return size + sum(_size(option) for option in command.get("options", ()))


def _message(body: dict[str, Any], *, is_new: bool, is_modal: bool) -> list[str]:
    found = []
    embeds, rows = body.get("embeds") or [], body.get("components") or []
    if len(body.get("content") or "") > 2000:
        found.append("content has at most 2000 characters")
    if sum(_embed_size(embed) for embed in embeds) > 6000:
        found.append("all embeds together have at most 6000 characters")
    fields = [field for embed in embeds for field in embed.get("fields", ())]
    if any(not str(field.get("value", "")).strip() for field in fields):
        found.append("an embed's field is empty")
    says = body.get("content") or embeds or rows or body.get("attachments") or body.get("poll")
    if is_new and "content" in body and not says:
        found.append("an empty message")
    if is_modal:
        return found + (["a form has at most five fields"] if len(rows) > 5 else [])
    if len(rows) > 5 and not (body.get("flags") or 0) & (1 << 15):
        found.append("at most five rows of buttons")
    return found + _buttons(rows)


def _buttons(rows: list[dict[str, Any]]) -> list[str]:
    buttons = [each for row in rows for each in row.get("components", ()) if each.get("type") == 2]
    ids = [each["custom_id"] for each in buttons if each.get("custom_id")]
    found = ["two buttons have one custom_id"] if len(ids) != len(set(ids)) else []
    for each in buttons:
        if each.get("style") == 5 and not each.get("url"):
            found.append("a link without an address")
        if each.get("style") != 5 and not each.get("custom_id"):
            found.append("a button without a custom_id")
    return found


def _embed_size(embed: dict[str, Any]) -> int:
    size = len(embed.get("title") or "") + len(embed.get("description") or "")
    size += len((embed.get("footer") or {}).get("text") or "") + len((embed.get("author") or {}).get("name") or "")
    return size + sum(len(each.get("name", "")) + len(each.get("value", "")) for each in embed.get("fields", ()))
