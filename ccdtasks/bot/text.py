"""Text for Discord: every limit in one place, and what others wrote made harmless.

Lengths are code points, as Discord counts them. What web pages, the model, guests and users wrote goes through `plain`
(no formatting at all) or `markdown` (bold, lists and code stay; links show where they lead; nobody is mentioned).
"""

from __future__ import annotations

import re

CONTENT = 2000
EMBED_TITLE = 256
EMBED_DESCRIPTION = 4096
FIELD_VALUE = 1024
EMBED_FOOTER = 2048
EMBED_TOTAL = 6000
CHANNEL_NAME = 100
THREAD_NAME = 100
CHOICE = 100
MODAL_TITLE = 45
MODAL_LABEL = 45
PLACEHOLDER = 100
FILES = 10
FILE_BYTES = 10 * 1024 * 1024
"""What a server without boosts takes a file; the whole request may have 25 MiB."""
REQUEST_BYTES = 24 * 1024 * 1024

_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_LINE_START = re.compile(r"^(\d*)([-+>#.])(?=\s|#|>)")
_INLINE = re.compile(r"([\\*_~`|\[\]])")
_MASKED_LINK = re.compile(r"!?\[([^\[\]\n]{0,500})\]\(\s*<?([^\s()<>]{1,2000})>?[^()\n]{0,200}\)")
_WEB_ADDRESS = re.compile(r"https?://[^\s<>()\[\]*_~`|\\@]+")
_BLANK_LINES = re.compile(r"\n{3,}")
_NAME_GAP = re.compile(r"[^\w-]+", re.UNICODE)


def clamp(text: str, limit: int) -> str:
    """`text` in at most `limit` code points, cut at a word where that is near, ending in an ellipsis."""
    if len(text) <= limit:
        return text
    cut = text[: limit - 1].rstrip()
    space = cut.rfind(" ", max(0, len(cut) - 24))
    kept = cut[:space] if space > 0 else cut
    return _without_open_escape(kept) + "…"


def plain(text: object, limit: int = FIELD_VALUE) -> str:
    """One line of foreign text that looks exactly as it was written: no formatting, links or mentions."""
    line = " ".join(visible(str(text)).split())
    escaped = _INLINE.sub(r"\\\1", clamp(line, limit))
    return clamp(_unmentioned(_LINE_START.sub(r"\1\\\2", escaped)), limit)


def address(url: object, limit: int = 300) -> str:
    """A foreign web address: clickable when it is one, inline code otherwise."""
    whole = visible(str(url)).strip()
    if _WEB_ADDRESS.fullmatch(whole) and len(whole) <= limit:
        return whole
    return code(whole, limit)


def markdown(text: object, limit: int = EMBED_DESCRIPTION) -> str:
    """Foreign Markdown: formatting stays, a masked link shows its address, nobody is mentioned."""
    shown = clamp(_unmentioned(sentence(text, limit * 4)), limit - 4)
    return shown + "\n```" if shown.count("```") % 2 else shown


def sentence(text: object, limit: int = FIELD_VALUE) -> str:
    """A sentence of our own that may quote foreign words and name users: only its links are opened."""
    shown = _MASKED_LINK.sub(_open_link, visible(str(text))[:limit]).replace("](", "]\u200b(")
    return clamp(_BLANK_LINES.sub("\n\n", shown).strip(), limit)


def code(text: object, limit: int = 200) -> str:
    """Foreign text as inline code."""
    line = " ".join(visible(str(text)).split()).replace("`", "ˋ")
    return f"`{clamp(line, limit - 2)}`" if line else "``\u200b``"


def block(text: str, limit: int) -> str:
    """Foreign text as a code block; nothing in it can end the block."""
    body = visible(text).replace("```", "ˋˋˋ")
    return f"```\n{clamp(body, limit - 8)}\n```"


def visible(text: str) -> str:
    """Without control characters and marks that turn the direction of writing."""
    return _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def channel_name(name: str) -> str:
    """What Discord makes of a channel's name anyway: lower case, hyphens for the rest, 1 to 100."""
    made = _NAME_GAP.sub("-", visible(name).lower()).strip("-")
    return made[:CHANNEL_NAME].strip("-") or "task"


def _open_link(match: re.Match[str]) -> str:
    label, address = match.group(1).strip(), match.group(2)
    return address if not label or label == address else f"{label} ({address})"


def _unmentioned(text: str) -> str:
    """Breaks `@everyone`, `<@1>`, `<#1>`, `<:x:1>`, `</x:1>` and `<t:1>` with a zero-width space."""
    return re.sub(r"@(?=everyone|here|[!&]?\d)|<(?=[@#:/aAti])", lambda found: found.group(0) + "\u200b", text)


def _without_open_escape(text: str) -> str:
    """A cut right behind a backslash would escape the ellipsis."""
    return text.rstrip("\\")
