"""The agent's way to speak: our five tools. Their descriptions are in tools.json."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, get_args

from session import results
from session.camera import Scene
from session.events import EventLog
from session.files import FileError, OutFolder
from session.mcp import ToolError
from session.pagewatch import Reason
from session.people import Answer, WaitingRoom

Shoot = Callable[[], Awaitable[Scene]]

_HELPED = {
    "done": "The person says it is done.",
    "answered": "The person answers: {text}",
    "skipped": "The person skips this. Go on without it, or finish with what you have.",
    "left": "The obstacle is gone.",
    "timeout": "Nobody came in time. Finish with what you have and say in the summary what is missing.",
}


class Toolbox:
    """Serves the tools; `result` is what was handed in last."""

    def __init__(
        self,
        log: EventLog,
        room: WaitingRoom,
        files: OutFolder,
        result_file: Path,
        *,
        shoot: Shoot,
        passed: Callable[[Reason], Awaitable[None]],
    ) -> None:
        self._log = log
        self._room = room
        self._files = files
        self._result_file = result_file
        self._shoot = shoot
        self._passed = passed
        self.result: dict[str, Any] | None = None

    def definitions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(Path(__file__).with_name("tools.json").read_bytes())
        return found

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Do what a tool does and return what the agent is told. Raises ToolError."""
        match name:
            case "report_progress":
                return self._report_progress(_text(arguments, "text", 500))
            case "ask_user":
                return await self._ask_user(_text(arguments, "question", 2_000), arguments.get("choices") or [])
            case "request_human":
                return await self._request_human(arguments.get("reason"), _text(arguments, "detail", 1_000))
            case "save_file":
                return self._save_file(arguments.get("path", ""), arguments.get("caption") or "")
            case "submit_result":
                return self._submit_result(arguments)
        raise ToolError(f"there is no tool {name!r}")

    def _report_progress(self, text: str) -> str:
        self._log.emit("progress", text=text)
        return "told"

    async def _ask_user(self, question: str, choices: Any) -> str:
        if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
            raise ToolError("choices must be a list of texts")
        return _told(await self._room.ask(question, choices[:25]))

    async def _request_human(self, reason: Any, detail: str) -> str:
        if reason not in get_args(Reason):
            raise ToolError(f"reason must be one of {', '.join(get_args(Reason))}")
        scene = await self._shoot()
        answer = await self._room.call(reason, detail, scene, lambda: self._passed(reason))
        return _told(answer) + " Look at the page again before you go on: it may have changed."

    def _save_file(self, path: Any, caption: Any) -> str:
        try:
            name, size = self._files.give(path)
        except (FileError, OSError) as error:
            raise ToolError(f"The file was not saved: {error}") from error
        self._log.emit("file_saved", path=name, caption=str(caption)[:500], size_bytes=size)
        return f"saved as {name}"

    def _submit_result(self, arguments: dict[str, Any]) -> str:
        try:
            self.result = results.check(arguments, lambda name: self._files.give(name)[0])
        except results.ResultError as error:
            raise ToolError(str(error)) from error
        # The event may be cut to the length of a line; the file is whole.
        self._result_file.write_text(json.dumps(self.result, ensure_ascii=False, indent=1), "utf-8", "replace")
        self._log.emit("result", **self.result)
        return "The result was taken. End now with one short sentence; do nothing more."


def _text(arguments: dict[str, Any], name: str, limit: int) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ToolError(f"{name} must be a text")
    return value.strip()[:limit]


def _told(answer: Answer) -> str:
    told = _HELPED[answer.outcome].format(text=answer.text)
    return f"{told} They add: {answer.text}" if answer.text and answer.outcome != "answered" else told
