"""`/api/v1/notifications/pushover`: messages of one's own programs to one's own phone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from aiohttp import web

from ccdtasks.core.phone.pushes import PushDraft
from ccdtasks.core.runs.shapes import push_shape
from ccdtasks.errors import Invalid
from ccdtasks.web.api.asking import answer, body_of
from ccdtasks.web.auth import actor_of, id_in
from ccdtasks.web.context import CORE

Kind = TypeVar("Kind", str, int)

_TEXTS = {
    "message": "message",
    "title": "title",
    "task_run_id": "run",
    "user_id": "user_id",
    "user_key": "user_key",
    "url": "url",
    "url_title": "url_title",
    "sound": "sound",
}
_NUMBERS = {"priority": "priority", "retry": "retry_s", "expire": "expire_s"}
"""Fields of the body -> those of a draft."""


async def send(request: web.Request) -> web.Response:
    """Sends to the phone of the token's user; an admin's token may name somebody else. Accepted is not yet sent."""
    actor, core = await actor_of(request), request.app[CORE]
    body = await body_of(request, *_TEXTS, *_NUMBERS)
    if not body.get("message"):
        raise Invalid("message", "Say what the message is.")
    given: dict[str, Any] = {name: _read(body, field, str, "text") for field, name in _TEXTS.items()}
    given |= {name: _read(body, field, int, "a whole number") for field, name in _NUMBERS.items()}
    push = await core.pushes.send(actor, PushDraft(**given, key=request.headers.get("Idempotency-Key")))
    return answer(push_shape(push), status=202)


async def show(request: web.Request) -> web.Response:
    """What came of one."""
    push = await request.app[CORE].pushes.find(await actor_of(request), id_in(request, "push"))
    return answer(push_shape(push))


ROUTES = (
    web.post("/api/v1/notifications/pushover", send),
    web.get("/api/v1/notifications/pushover/{push}", show),
)


def _read(body: Mapping[str, Any], field: str, kind: type[Kind], words: str) -> Kind | None:
    value = body.get(field)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise Invalid(field, f"{field} must be {words}.")
    return value
