"""Who is asking: a program by its token, a browser by the session that a token opened, a guest by a signed link.

token --POST /login--> cookie: HttpOnly, SameSite=Strict, Secure where there is HTTPS; signed, over in 12 hours
Authorization: Bearer <token>     for /api/ alone; a cookie says nothing there, so no page can act through it
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from aiohttp import web

from ccdtasks.core.access import Actor
from ccdtasks.core.tokens import Visitor
from ccdtasks.errors import Denied, Invalid, LimitReached, NotFound
from ccdtasks.web.context import CORE
from ccdtasks.web.errors import NotLoggedIn, is_for_programs
from ccdtasks.web.pages import page
from ccdtasks.web.visitors import household_of, is_https, require_own_page

_SESSION = "session"
_LASTS = timedelta(hours=12)
_TRIES = 10
_TRIES_WITHIN = timedelta(minutes=5)
_HOUSEHOLDS_MAX = 10_000


class _Tries:
    """Wrong tokens of the last minutes, by where they came from."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, list[datetime]] = OrderedDict()

    def require(self, household: str, now: datetime) -> None:
        """Raises LimitReached after too many."""
        recent = [at for at in self._wrong.get(household, []) if at > now - _TRIES_WITHIN]
        if len(recent) >= _TRIES:
            left_s = (recent[0] + _TRIES_WITHIN - now).total_seconds()
            raise LimitReached("Too many wrong tokens came from your address.", "wait five minutes", left_s)

    def note(self, household: str, now: datetime) -> None:
        """One more."""
        recent = [at for at in self._wrong.pop(household, []) if at > now - _TRIES_WITHIN]
        self._wrong[household] = [*recent, now][-_TRIES:]
        while len(self._wrong) > _HOUSEHOLDS_MAX:
            self._wrong.popitem(last=False)


_TRIED = web.AppKey("tries", _Tries)


def prepare(app: web.Application) -> None:
    """Counts wrong tokens in the application."""
    app[_TRIED] = _Tries()


async def actor_of(request: web.Request) -> Actor:
    """Who asks. Raises NotLoggedIn, which sends a browser to the login page; LimitReached after many wrong tokens."""
    visitor = await (by_bearer(request) if is_for_programs(request) else _by_cookie(request))
    if visitor is None:
        raise NotLoggedIn("This needs a token.", "`ccdtasks token create` on the box makes one")
    return visitor.actor


async def require_reader(request: web.Request, run_id: UUID) -> datetime | None:
    """Lets in who came by a signed link, and says until when it works; else who is logged in and may see the run.

    Raises Denied for a link, NotLoggedIn, and NotFound: nobody learns here whether somebody else's run exists.
    """
    core = request.app[CORE]
    if "t" in request.query:
        return core.links.require_run(run_id, request.query["t"])
    actor = await actor_of(request)
    if not await core.reports.may_see(actor, run_id):
        raise NotFound("There is nothing here.", "check the address")
    return None


def id_in(request: web.Request, name: str) -> UUID:
    """The id in the address. Raises NotFound for what is none."""
    try:
        return UUID(request.match_info[name])
    except ValueError:
        raise NotFound("There is nothing here.", "check the address") from None


async def show_login(request: web.Request) -> web.Response:
    """The login page."""
    return page("login.html", has_form=True, next=_own_path(request.query.get("next", "/")), wrong=False)


async def log_in(request: web.Request) -> web.Response:
    """Takes a token, and opens a session."""
    require_own_page(request)
    form = await _form(request)
    target, core = _own_path(str(form.get("next", "/"))), request.app[CORE]
    visitor = await _by_token(request, str(form.get("token", "")).strip())
    if visitor is None:
        return page("login.html", has_form=True, status=403, next=target, wrong=True)
    until = min(core.clock.now() + _LASTS, visitor.expires_at or datetime.max.replace(tzinfo=core.clock.now().tzinfo))
    response = web.Response(status=303, headers={"Location": target})
    secure = is_https(request)
    response.set_cookie(
        _cookie(secure),
        core.vault.sign(_SESSION, str(visitor.token_id), until),
        max_age=int((until - core.clock.now()).total_seconds()),
        httponly=True,
        secure=secure,
        samesite="Strict",
        path="/",
    )
    return response


async def log_out(request: web.Request) -> web.Response:
    """Ends the session of this browser."""
    require_own_page(request)
    response = web.Response(status=303, headers={"Location": "/login"})
    secure = is_https(request)
    response.del_cookie(_cookie(secure), path="/", secure=secure, httponly=True, samesite="Strict")
    return response


ROUTES = (web.get("/login", show_login), web.post("/login", log_in), web.post("/logout", log_out))


async def by_bearer(request: web.Request) -> Visitor | None:
    """Who the token in the request's header belongs to; None without a valid one."""
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    return await _by_token(request, secret.strip()) if kind.lower() == "bearer" else None


async def _by_token(request: web.Request, secret: str) -> Visitor | None:
    core, tried, household = request.app[CORE], request.app[_TRIED], household_of(request)
    tried.require(household, core.clock.now())
    visitor = await core.tokens.visitor(secret)
    if visitor is None:
        tried.note(household, core.clock.now())
    return visitor


async def _by_cookie(request: web.Request) -> Visitor | None:
    core, signed = request.app[CORE], request.cookies.get(_cookie(is_https(request)))
    if signed is None:
        return None
    try:
        token_id = UUID(core.vault.read(_SESSION, signed, core.clock.now()))
    except Denied:
        return None
    return await core.tokens.visitor_by_id(token_id)


async def _form(request: web.Request) -> Mapping[str, Any]:
    try:
        return await request.post()
    except (ValueError, LookupError):  # bytes that are no text, an encoding that nobody knows
        raise Invalid("form", "The form cannot be read.") from None


def _cookie(is_secure: bool) -> str:
    """With the prefix a browser takes the cookie from this host alone, by HTTPS alone (RFC 6265bis, 4.1.3)."""
    return "__Host-ccdtasks" if is_secure else "ccdtasks"


def _own_path(target: str) -> str:
    """`target`, if it is a path here; else the front page. No open redirects."""
    is_path = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_path else "/"
