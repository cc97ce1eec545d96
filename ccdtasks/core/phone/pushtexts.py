"""What a push to a phone says: plain text within Pushover's limits, readable when three lines of it are shown."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime

from ccdtasks.core.records.reasons import hint_for
from ccdtasks.core.text import clean_line, clean_text, clean_url
from ccdtasks.db.enums import Reason
from ccdtasks.db.models import Intervention, Task, TaskRun
from ccdtasks.times import local_text

# https://pushover.net/api, "Limitations"; characters, not bytes
MESSAGE = 1024
TITLE = 250
URL = 512
URL_TITLE = 100

_NAME = 100
_JOINER = "\u200d"
_TONES = range(0x1F3FB, 0x1F400)
_FORMATTING = re.compile(r"[*`~|]+|__|^\s*(?:#{1,6}|>|[-+])\s+", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\[\]\n]{0,200})\]\([^()\s]{1,2000}\)")
_OPEN_QUESTIONS = {
    Reason.BLOCKED: "refused as a robot",
    Reason.UNCLEAR_RESULT: "result unclear",
    Reason.LOGIN_REQUIRED: "login needed",
}


@dataclass(frozen=True, slots=True)
class Said:
    """A title and a message, both within their limits."""

    title: str
    message: str


def failed(task: Task, run: TaskRun) -> Said:
    """A run that failed for good."""
    question = _OPEN_QUESTIONS.get(run.reason) if run.reason else None
    sign, word = ("?", question) if question else ("✕", "failed")
    return _said(
        f"{sign} {_name(task)}: {word}",
        ("Task", _name(task)),
        ("Status", f"Failed after {run.attempt} attempts" if run.attempt > 1 else "Failed"),
        ("Error", clean_line(run.error_message or "It ended without saying why.", 500)),
        ("Try", hint_for(run, task).replace("`", "")),
        ("Run", run.id.hex[:8]),
    )


def wanted(task: Task, run: TaskRun, asked: Intervention) -> Said:
    """A run that waits for a person."""
    until = local_text(asked.deadline_at, task.schedule_timezone)
    return _said(
        f"✋ {_name(task)}: needs you",
        ("Task", _name(task)),
        ("Status", f"Waits until {until}"),
        ("Asks", clean_line(asked.text or asked.reason, 600)),
        ("Choices", clean_line(", ".join(asked.choices), 200)),
        ("Run", run.id.hex[:8]),
    )


def completed(task: Task, run: TaskRun) -> Said:
    """A run that has its answer: the answer first."""
    answer = plain(run.result_summary or "It finished, and said nothing more.")
    return Said(clip(f"✓ {_name(task)}: done", TITLE), clip(answer, MESSAGE))


def unsaid(task: Task, run: TaskRun, why: str) -> Said:
    """News of a run that could not be told in Discord."""
    return _said(
        f"✕ {_name(task)}: Discord did not take a message",
        ("Task", _name(task)),
        ("Run", f"{run.id.hex[:8]} ({run.status.value.replace('_', ' ')})"),
        ("Why", clean_line(why, 400)),
    )


def tried(at: datetime) -> Said:
    """The test that somebody asked for."""
    return Said("✓ ccdtasks: pushes work", f"You asked for this test at {at:%H:%M} UTC. Nothing is wrong.")


def plain(markdown: str) -> str:
    """Markdown as a notification shows text: without its marks, links by their words, no blank lines."""
    shown = _FORMATTING.sub("", _LINK.sub(r"\1", clean_text(markdown, MESSAGE * 4)))
    return "\n".join(line.rstrip() for line in shown.splitlines() if line.strip())


def clip(text: str, limit: int) -> str:
    """At most `limit` characters, cut at a word where one is near and never inside of an emoji; `…` says so."""
    if len(text) <= limit:
        return text
    end = limit - 1
    while end > 0 and (_goes_on(text[end]) or text[end - 1] == _JOINER):
        end -= 1
    space = max(text.rfind(" ", max(0, end - 24), end), text.rfind("\n", max(0, end - 24), end))
    return text[: space if space > 0 else end].rstrip() + "…"


def address(url: object) -> str | None:
    """A web address that fits; a longer one cannot be cut, and is left out."""
    known = clean_url(url)
    return known if known and len(known) <= URL else None


def _said(title: str, *lines: tuple[str, str]) -> Said:
    message = "\n".join(f"{label}: {value}" for label, value in lines if value)
    return Said(clip(title, TITLE), clip(message, MESSAGE))


def _name(task: Task) -> str:
    return clip(clean_line(task.task_name, 255), _NAME)


def _goes_on(character: str) -> bool:
    """Whether it belongs to the character before it: an accent, a joiner, a variation, a skin tone."""
    return character == _JOINER or unicodedata.combining(character) > 0 or _is_mark(character)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Me", "Mc") or ord(character) in _TONES
