"""Text and JSON that strangers wrote, made harmless for the database and for people."""

from __future__ import annotations

import json
import math
import re
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_LARGEST_INT = 2**63 - 1
_FLOAT_BITS = 1024
_DEEPEST = 12

MAX_URL = 2048


def clean_text(value: object, limit: int) -> str:
    """`value` as text of at most `limit` characters, without control characters and broken Unicode.

    Line feeds and tabs stay. What is cut ends with an ellipsis.
    """
    text = value if isinstance(value, str) else str(value)
    text = _CONTROL.sub("", text[: limit * 2].replace("\r\n", "\n"))
    return text if len(text) <= limit else text[: max(0, limit - 1)] + "…"


def clean_line(value: object, limit: int) -> str:
    """As `clean_text`, on one line."""
    return " ".join(clean_text(value, limit).split())


def shown(typed: object, limit: int = 40) -> str:
    """What somebody typed, short and safe to quote between backticks."""
    return clean_line(typed, limit).replace("`", "'")


def clean_url(value: object) -> str | None:
    """An http or https address of at most 2,048 characters without spaces, else None."""
    if not isinstance(value, str) or len(value) > MAX_URL or _CONTROL.search(value) or any(map(str.isspace, value)):
        return None
    return value if value.lower().startswith(("http://", "https://")) else None


def clean_json(value: Any, limit: int = 10_000, depth: int = 0) -> Any:
    """JSON that both databases store and every JSON reader reads: finite numbers, clean texts, bounded depth.

    Each text has at most `limit` characters; what lies deeper than twelve levels becomes None.
    """
    if isinstance(value, dict | list | tuple):
        if depth >= _DEEPEST:
            return None
        if isinstance(value, dict):
            return {clean_line(key, 200): clean_json(inner, limit, depth + 1) for key, inner in value.items()}
        return [clean_json(inner, limit, depth + 1) for inner in value]
    if isinstance(value, str):
        return clean_text(value, limit)
    return _clean_scalar(value)


def _clean_scalar(value: object) -> bool | int | float | str | None:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        if abs(value) <= _LARGEST_INT:
            return value
        return float(value) if value.bit_length() < _FLOAT_BITS else "(a huge number)"
    return value if isinstance(value, float) and math.isfinite(value) else None


def read_json_object(line: bytes) -> dict[str, Any] | None:
    """The JSON object in `line`, or None when it is anything else; never raises, whatever the bytes are."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
