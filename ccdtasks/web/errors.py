"""How mistakes look in the browser and to programs: one table each, and for everything else an incident's number."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote

from aiohttp import web

from ccdtasks.errors import CcdError, Conflict, Denied, Invalid, LimitReached, NotFound, Unavailable
from ccdtasks.web.pages import page

log = logging.getLogger(__name__)

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ANSWER_LIMIT_S = 30.0
"""No answer takes longer to be made; sending it may."""


class NotLoggedIn(Denied):
    """Nobody said who they are."""

    code = "not_logged_in"


STATUSES: dict[type[CcdError], int] = {
    NotFound: 404,
    Invalid: 422,
    NotLoggedIn: 401,
    Denied: 403,
    Conflict: 409,
    LimitReached: 429,
    Unavailable: 503,
}
"""What programs see; the most exact class counts."""

TITLES: dict[type[CcdError], str] = {
    NotFound: "? Not found",
    Invalid: "✕ Not accepted",
    NotLoggedIn: "✕ Who are you?",
    Denied: "✕ Not allowed",
    Conflict: "■ Not possible now",
    LimitReached: "■ Limit reached",
    Unavailable: "✕ Out of reach",
}
"""What people see above the sentence."""

_PLAIN: dict[int, CcdError] = {
    404: NotFound("There is nothing here.", "check the address"),
    405: Invalid("method", "This address cannot be used that way.", "docs/api.md lists what there is"),
    413: Invalid("body", "That is more than this address takes."),
}


@web.middleware
async def show_mistakes(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers with the mistake that ended the handler, in the way the asker reads."""
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            return await handler(request)
    except TimeoutError:
        return answer(request, Unavailable("server", "This took too long.", "try again in a minute"))
    except CcdError as error:
        return answer(request, error)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return answer(request, _PLAIN.get(error.status) or CcdError(error.reason), error.status)
    except ConnectionError:  # the visitor left
        raise
    except Exception:
        return _incident(request)


def answer(request: web.Request, error: CcdError, status: int | None = None) -> web.Response:
    """The answer for a mistake: JSON for programs, a page for people; who must log in first is sent there."""
    status = status or _of(STATUSES, error, 500)
    headers = {}
    if isinstance(error, LimitReached) and error.retry_after_s:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    if is_for_programs(request):
        if isinstance(error, NotLoggedIn):
            headers["WWW-Authenticate"] = 'Bearer realm="ccdtasks"'
        return web.json_response({"error": shape(error)}, status=status, headers=headers)
    if isinstance(error, NotLoggedIn) and request.method == "GET":
        return web.Response(status=303, headers={"Location": f"/login?next={quote(request.path, safe='')}"})
    return page(
        "error.html",
        status=status,
        headers=headers,
        title=_of(TITLES, error, "✕ That did not work"),
        message=error.message,
        hint=error.hint,
    )


def shape(error: CcdError) -> dict[str, object]:
    """A mistake as JSON, as the shell's `--json` has it."""
    shaped: dict[str, object] = {"code": error.code, "message": error.message, "hint": error.hint}
    if isinstance(error, Invalid):
        shaped["field"] = error.field
    elif isinstance(error, LimitReached):
        shaped["retry_after_s"] = error.retry_after_s
    elif isinstance(error, Unavailable):
        shaped["part"] = error.part
    return shaped


def is_for_programs(request: web.Request) -> bool:
    """Whether the address is one that programs use."""
    return request.path.startswith("/api/")


def _incident(request: web.Request) -> web.Response:
    incident = secrets.token_hex(4)
    log.exception("Incident %s: %s %s", incident, request.method, request.path)
    message = f"It is not your fault. The server's log has the details under incident {incident}."
    if is_for_programs(request):
        shaped = {"code": "bug", "message": "Something broke here.", "hint": "", "incident": incident}
        return web.json_response({"error": shaped}, status=500)
    return page("error.html", status=500, title="✕ Something broke here", message=message, hint="")


def _of(table: dict[type[CcdError], T], error: CcdError, otherwise: T) -> T:
    return next((table[kind] for kind in type(error).__mro__ if kind in table), otherwise)
