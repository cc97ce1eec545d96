"""What a program may send along: pages, filters, bodies. Anything that cannot be read is said with its name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from aiohttp import web

from ccdtasks.core.pages import MAX_PAGE, Page
from ccdtasks.errors import Invalid

Kind = TypeVar("Kind", bound=StrEnum)
Row = TypeVar("Row")

_USUAL_PAGE = 20


def limit_in(request: web.Request) -> int:
    """`?limit=`: how many rows, 20 when it is left out."""
    text = request.query.get("limit", str(_USUAL_PAGE))
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= MAX_PAGE):
        raise Invalid("limit", f"limit must be a whole number from 1 to {MAX_PAGE}.")
    return int(text)


def one_of(request: web.Request, name: str, kinds: type[Kind]) -> Kind | None:
    """`?<name>=`, one of the words of `kinds`; None when it is left out."""
    text = request.query.get(name)
    if text is None:
        return None
    try:
        return kinds(text)
    except ValueError:
        raise Invalid(name, f"{name} must be one of {', '.join(kinds)}.") from None


def answer_page(page: Page[Row], shape: Callable[[Row], Mapping[str, Any]]) -> web.Response:
    """A page as JSON; `next` is the `?after=` of the one behind it, null at the end."""
    return answer({"items": [shape(row) for row in page.rows], "next": page.next_after})


def answer(data: Mapping[str, Any] | Sequence[Any], status: int = 200) -> web.Response:
    """Data as JSON."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    return web.Response(text=text, content_type="application/json", status=status)


async def body_of(request: web.Request, *keys: str) -> dict[str, Any]:
    """The JSON object that was sent, with none but these keys; an empty one when nothing was sent."""
    if request.content_type not in ("application/json", "application/octet-stream"):
        raise Invalid("body", "The body must be JSON.", "send Content-Type: application/json")
    raw = await request.read()
    try:
        body = json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        raise Invalid("body", "The body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise Invalid("body", "The body must be a JSON object.")
    for key in body:
        if key not in keys:
            raise Invalid(key[:40], f"Only {', '.join(keys)} may be in the body.")
    return body


def text_in(body: Mapping[str, Any], key: str) -> str | None:
    """A text in a body; None when it is left out."""
    found = body.get(key)
    if found is not None and not isinstance(found, str):
        raise Invalid(key, f"{key} must be text.")
    return found


def flag_in(body: Mapping[str, Any], key: str) -> bool:
    """Yes or no in a body; no when it is left out."""
    found = body.get(key, False)
    if not isinstance(found, bool):
        raise Invalid(key, f"{key} must be true or false.")
    return found


def object_in(body: Mapping[str, Any], key: str) -> dict[str, Any]:
    """An object in a body, with whatever is in it; an empty one when it is left out."""
    found = body.get(key, {})
    if not isinstance(found, dict):
        raise Invalid(key, f"{key} must be an object.")
    return found


def texts_in(body: Mapping[str, Any], key: str) -> dict[str, str]:
    """An object of names and texts in a body; numbers count as texts."""
    found = body.get(key, {})
    if not isinstance(found, dict) or not all(_is_plain(value) for value in found.values()):
        raise Invalid(key, f"{key} must be an object of names and texts.")
    return {name: str(value) for name, value in found.items()}


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
