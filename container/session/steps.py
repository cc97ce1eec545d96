"""The agent's steps: one per tool call, named in plain words and timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from session.events import EventLog

# These tell something by an event of their own.
_SILENT = {"mcp__ccdtasks__report_progress", "mcp__ccdtasks__save_file", "mcp__ccdtasks__submit_result"}
_TITLES = {
    "browser_navigate_back": "Going back",
    "browser_snapshot": "Reading the page",
    "browser_take_screenshot": "Taking a screenshot",
    "browser_wait_for": "Waiting for the page",
    "browser_tabs": "Switching tabs",
    "browser_press_key": "Pressing a key",
    "browser_fill_form": "Filling in a form",
    "browser_file_upload": "Uploading a file",
    "browser_handle_dialog": "Answering a dialog",
    "browser_evaluate": "Examining the page",
    "browser_console_messages": "Examining the page",
    "browser_network_requests": "Examining the page",
    "browser_pdf_save": "Saving the page as PDF",
    "browser_resize": "Resizing the window",
    "browser_drag": "Dragging",
    "ask_user": "Waiting for an answer",
    "request_human": "Waiting for a person",
}
_ON_ELEMENT = {
    "browser_click": "Clicking",
    "browser_hover": "Pointing at",
    "browser_type": "Typing into",
    "browser_select_option": "Choosing in",
}
_ON_FILE = {"Read": "Reading", "Write": "Writing", "Edit": "Editing"}


@dataclass(frozen=True)
class Step:
    """A finished step."""

    step: int
    tool: str
    title: str
    duration_ms: int
    ok: bool


class Steps:
    """Turns the beginnings and ends of tool calls into events; `finished` is the timeline."""

    def __init__(self, log: EventLog, monotonic: Callable[[], float]) -> None:
        self._log = log
        self._monotonic = monotonic
        self._begun: dict[str, tuple[int, str, str, float]] = {}
        self._count = 0
        self.finished: list[Step] = []

    def begin(self, call_id: str, tool: str, arguments: dict[str, Any]) -> None:
        if tool in _SILENT:
            return
        self._count += 1
        name = title(tool, arguments)
        self._begun[call_id] = (self._count, tool, name, self._monotonic())
        url = arguments.get("url")
        extra = {"url": url} if isinstance(url, str) else {}
        self._log.emit("step_started", step=self._count, tool=tool, title=name, **extra)

    def end(self, call_id: str, error: str | None) -> None:
        begun = self._begun.pop(call_id, None)
        if begun is None:
            return
        number, tool, name, at = begun
        step = Step(number, tool, name, round((self._monotonic() - at) * 1000), error is None)
        self.finished.append(step)
        words = error[:2_000] if error else None
        self._log.emit("step_finished", step=number, ok=step.ok, duration_ms=step.duration_ms, error=words)

    def end_all(self, error: str) -> None:
        """The agent is gone: what it had begun will not be finished."""
        for call_id in list(self._begun):
            self.end(call_id, error)


def title(tool: str, arguments: dict[str, Any]) -> str:
    """Short plain words for a tool call. Never what is typed: it may be a secret."""
    name = tool.rsplit("__", 1)[-1]
    if name == "browser_navigate":
        return f"Opening {urlsplit(str(arguments.get('url', ''))).hostname or 'a page'}"
    if name in _ON_ELEMENT:
        return _short(f"{_ON_ELEMENT[name]} {arguments.get('element') or 'the page'}")
    if name in _ON_FILE:
        return _short(f"{_ON_FILE[name]} {PurePath(str(arguments.get('file_path', 'a file'))).name}")
    if name == "Bash":
        return _short(str(arguments.get("description") or "Running a command"))
    return _TITLES.get(name) or name.removeprefix("browser_").replace("_", " ").capitalize()


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "\u2026"
