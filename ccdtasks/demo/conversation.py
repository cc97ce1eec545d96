"""Reads a request to the Messages API: what was asked, which tools there are, and what each call so far gave."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

_VALUES = re.compile(r"```json\n(.*?)\n```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that was made, and its answer as text."""

    name: str
    arguments: dict[str, Any]
    result: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Conversation:
    """`first`: the person's first message; `tools`: names as offered; `calls`: oldest first."""

    first: str
    tools: tuple[str, ...]
    calls: tuple[Call, ...]
    last: str = ""
    values: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, body: dict[str, Any]) -> Conversation:
        """From the body of a request. Roles other than user and assistant (mid-conversation notes) are passed over."""
        texts: list[str] = []
        wishes: dict[str, tuple[str, dict[str, Any]]] = {}
        calls: list[Call] = []
        for message in body["messages"]:
            for block in _blocks(message.get("content")):
                if message.get("role") == "user" and block.get("type") == "text":
                    texts.append(str(block.get("text", "")))
                elif block.get("type") == "tool_use":
                    wishes[block["id"]] = (block["name"], block.get("input") or {})
                elif block.get("type") == "tool_result" and block.get("tool_use_id") in wishes:
                    name, arguments = wishes[block["tool_use_id"]]
                    text = "\n".join(str(part.get("text", "")) for part in _blocks(block.get("content")))
                    calls.append(Call(name, arguments, text, bool(block.get("is_error"))))
        first = next((text for text in texts if not text.startswith("<system-reminder>")), "")
        tools = tuple(str(tool.get("name", "")) for tool in body.get("tools") or ())
        return cls(first, tools, tuple(calls), texts[-1] if texts else "", _values(first))

    def tool(self, name: str) -> str | None:
        """The full name of an offered tool, whichever server it comes from; None if it is not there."""
        return next((tool for tool in self.tools if tool == name or tool.endswith(f"__{name}")), None)

    def results(self, name: str) -> list[Call]:
        """The calls of a tool, oldest first."""
        full = self.tool(name)
        return [call for call in self.calls if call.name == full]


def _blocks(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content or () if isinstance(block, dict)]


def _values(text: str) -> dict[str, str]:
    """The block of parameter values that a session puts below the task."""
    match = _VALUES.search(text)
    try:
        values = json.loads(match[1]) if match else {}
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in values.items()} if isinstance(values, dict) else {}
