"""What a message in Discord is made of, within all its limits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ccdtasks.bot import text
from ccdtasks.db.models import Artifact

_FEWEST = 200
"""So much of a body is shown, however long its ending."""


@dataclass(frozen=True, slots=True)
class Button:
    """A button below a message. `custom_id` holds ids, never data; a link has a `url` instead."""

    label: str
    custom_id: str = ""
    style: Literal["primary", "secondary", "danger"] = "secondary"
    url: str | None = None
    disabled: bool = False

    def record(self) -> dict[str, Any]:
        """For the log of messages."""
        return {"label": self.label, "custom_id": self.custom_id, "url": self.url}


@dataclass(frozen=True, slots=True)
class File:
    """A file of our own making, sent from memory."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Card:
    """One message. `body` and `title` are Discord's Markdown, already harmless; `ping` is a user who is called.

    `artifacts` are files of the run that are sent along; `image` names the one that the card shows inside; `instead`
    says where they are when they cannot be sent. `ending` stands below the body, which gives way to it.
    """

    title: str = ""
    body: str = ""
    ending: str = ""
    colour: int = 0x80848E
    footer: str = ""
    content: str = ""
    ping: str | None = None
    buttons: tuple[Button, ...] = ()
    files: tuple[File, ...] = ()
    artifacts: tuple[Artifact, ...] = field(default=())
    image: str | None = None
    instead: str = ""

    def text(self) -> str | None:
        """The message's own text: the ping and the content."""
        called = f"<@{self.ping}>" if self.ping and self.ping.isdigit() else ""
        return text.clamp(" ".join(part for part in (called, self.content) if part), text.CONTENT) or None

    def embed(self) -> dict[str, Any] | None:
        """The embed as Discord's API takes it, or None for a card of plain text."""
        if not (self.title or self.body or self.ending or self.footer):
            return None
        title = text.clamp(self.title, text.EMBED_TITLE)
        footer = text.clamp(self.footer, text.EMBED_FOOTER)
        room = min(text.EMBED_DESCRIPTION, text.EMBED_TOTAL - len(title) - len(footer))
        made: dict[str, Any] = {"type": "rich", "color": self.colour}
        if title:
            made["title"] = title
        if self.body.strip() or self.ending:
            made["description"] = self._description(room)
        if footer:
            made["footer"] = {"text": footer}
        if self.image:
            made["image"] = {"url": f"attachment://{self.image}"}
        return made

    def without_artifacts(self, note: str) -> Card:
        """The same card when its files cannot be sent: with their places, else with `note`."""
        words = self.instead or note
        body = self._description(text.EMBED_DESCRIPTION - len(words) - 2)
        return replace(self, artifacts=(), files=(), image=None, body=body, ending=words, instead="")

    def _description(self, room: int) -> str:
        ending = text.clamp(self.ending, max(room - _FEWEST, 0))
        return join(text.clamp(self.body, room - len(ending) - 2) if ending else text.clamp(self.body, room), ending)


def join(*parts: str, gap: str = "\n\n") -> str:
    """The parts that say something, with a blank line between."""
    return gap.join(part for part in parts if part)


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `3rd`, `11th`."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
