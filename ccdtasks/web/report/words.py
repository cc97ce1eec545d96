"""Words of strangers on our pages: no sign in them turns the text around, and all of them fit into one page."""

from __future__ import annotations

import re

from markupsafe import Markup

PAGE_BYTES = 700_000
"""Room for the words of strangers on one page; with our own around them it stays below a megabyte."""

_AROUND_BYTES = 40
_TURNING = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Room:
    """What is left of a page's room. Whoever asks first gets it."""

    def __init__(self, left_bytes: int = PAGE_BYTES) -> None:
        self.left_bytes = left_bytes

    def part(self, share: float) -> Room:
        """A room of its own inside of this one, which loses as much."""
        size = int(self.left_bytes * share)
        self.left_bytes -= size
        return Room(size)

    def take(self, text: object, limit: int) -> Markup:
        """`text` as HTML that shows it as it is, isolated, at most `limit` characters; an ellipsis without room."""
        said = tame(str(text))
        if not said:
            return Markup("")
        if self.left_bytes <= 0:
            return Markup("…")
        shown = Markup("<bdi>{}</bdi>").format(said if len(said) <= limit else said[: limit - 1] + "…")
        self.left_bytes -= len(shown.encode()) + _AROUND_BYTES
        return shown


def tame(text: str) -> str:
    """Without signs that change the direction of what stands around them."""
    return _TURNING.sub("", text)
