"""The REST side: routes, faults on demand, and Discord's schema as the judge of requests and answers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from inspect import signature
from typing import Any

from aiohttp import web

from tests.doubles.discord.interactions import Interactions
from tests.doubles.discord.rules import RuleBook
from tests.doubles.discord.schema import schema
from tests.doubles.discord.state import RateLimit, Refusal, State

BASE = "/api/v10"


@dataclass
class Fault:
    """What goes wrong with the next `times` requests that match. `then`: the request is carried out all the same."""

    method: str
    path: str
    times: int = 1
    status: int | None = None
    code: int = 0
    retry_after_s: float | None = None
    held: asyncio.Event | None = None
    loses_answer: bool = False
    is_global: bool = False
    is_ban: bool = False

    def matches(self, method: str, path: str) -> bool:
        return self.times > 0 and self.method in (method, "*") and fnmatchcase(path, self.path)


@dataclass(frozen=True)
class Seen:
    """A request that came, and what it got."""

    method: str
    path: str
    body: Any
    files: dict[str, bytes]
    status: int


class Rest:
    """Answers requests of the bot."""

    def __init__(self, state: State, interactions: Interactions, token: str) -> None:
        self._state = state
        self._interactions = interactions
        self._token = token
        self.faults: list[Fault] = []
        self.requests: list[Seen] = []
        self.violations: list[str] = []
        self._book = RuleBook()
        self._routes: list[tuple[str, re.Pattern[str], Callable[..., Any], int]] = []
        self._add_routes()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request, from its body to its answer."""
        method, path = request.method, request.path.removeprefix(BASE)
        body, files = await _read(request)
        fault = next((each for each in self.faults if each.matches(method, path)), None)
        if fault is not None:
            fault.times -= 1
            if fault.held is not None:
                await fault.held.wait()
        if fault is not None and (fault.status or fault.retry_after_s is not None):
            self._note(method, path, body, files, fault.status or 429)
            return _limited(fault.retry_after_s, fault) if fault.retry_after_s is not None else _failed(fault)
        is_ours = path.startswith(("/interactions/", "/webhooks/"))
        if not is_ours and request.headers.get("Authorization") != f"Bot {self._token}":
            self._note(method, path, body, files, 401)
            return _json(401, {"message": "401: Unauthorized", "code": 0})
        answer = await self._answer(method, path, body, files, dict(request.query))
        if fault is not None and fault.loses_answer and request.transport is not None:
            request.transport.abort()
        return answer

    async def _answer(
        self, method: str, path: str, body: Any, files: dict[str, bytes], query: dict[str, str]
    ) -> web.Response:
        at_s = asyncio.get_running_loop().time()
        wrong = schema().request_errors(method, path, body) + self._book.errors(method, path, body, at_s)
        self.violations += wrong
        if wrong:
            self._note(method, path, body, files, 400)
            return _json(400, {"message": "Invalid Form Body", "code": 50035, "errors": {"_": wrong}})
        try:
            status, answer = self._carry_out(method, path, body, files, query)
        except RateLimit as limit:
            self._note(method, path, body, files, 429)
            return _limited(limit.retry_after_s)
        except Refusal as refusal:
            self._note(method, path, body, files, refusal.status)
            return _json(refusal.status, refusal.body)
        self._note(method, path, body, files, status)
        answer = _without_notes(answer)
        self.violations += schema().response_errors(method, path, status, answer)
        return _json(status, answer)

    def _note(self, method: str, path: str, body: Any, files: dict[str, bytes], status: int) -> None:
        self.requests.append(Seen(method, path, body, files, status))
        self._state.changed.set()

    def _add_routes(self) -> None:
        state, asked = self._state, self._interactions
        guild, app = f"/guilds/{state.guild_id}", f"/applications/{state.bot['id']}"
        channel, message = "/channels/{channel_id}", "/channels/{channel_id}/messages/{message_id}"
        hook = f"/webhooks/{state.bot['id']}/{{token}}"
        for verb, path, act, status in (
            ("GET", "/users/@me", state.me, 200),
            ("GET", "/oauth2/applications/@me", state.about, 200),
            ("PUT", f"{app}/commands", state.register, 200),
            ("PUT", f"{app}/guilds/{{scope}}/commands", state.register, 200),
            ("GET", f"{guild}/channels", state.places, 200),
            ("POST", f"{guild}/channels", state.make_channel, 201),
            ("GET", channel, state.channel, 200),
            ("PATCH", channel, state.change_channel, 200),
            ("DELETE", channel, state.delete_channel, 200),
            ("POST", "/users/@me/channels", state.make_dm, 200),
            ("GET", f"{channel}/messages", state.history, 200),
            ("POST", f"{channel}/messages", state.post, 200),
            ("GET", message, state.message, 200),
            ("PATCH", message, state.edit, 200),
            ("DELETE", message, state.delete_message, 204),
            ("POST", f"{message}/threads", state.make_thread, 201),
            ("POST", "/interactions/{interaction_id}/{token}/callback", asked.callback, 200),
            ("POST", hook, asked.follow_up, 200),
            ("GET", f"{hook}/messages/{{message_id}}", asked.response, 200),
            ("PATCH", f"{hook}/messages/{{message_id}}", asked.edit, 200),
            ("DELETE", f"{hook}/messages/{{message_id}}", asked.delete, 204),
        ):
            pattern = re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path))
            self._routes.append((verb, pattern, act, status))

    def _carry_out(
        self, method: str, path: str, body: Any, files: dict[str, bytes], query: dict[str, str]
    ) -> tuple[int, Any]:
        """Calls what answers the route, with those of path, query, body and files that it wants."""
        for verb, pattern, act, status in self._routes:
            match = pattern.fullmatch(path)
            if verb == method and match:
                at_s = asyncio.get_running_loop().time()
                given = {"body": body or {}, "files": files, "query": query, "at_s": at_s, **match.groupdict()}
                return status, act(**{name: given[name] for name in signature(act).parameters if name in given})
        self.violations.append(f"the double has no {method} {path}")
        raise Refusal(404, 0, "404: Not Found")


async def _read(request: web.Request) -> tuple[Any, dict[str, bytes]]:
    """The JSON of a request (of `payload_json` in a form) and its files by field."""
    if request.content_type == "application/json":
        return await request.json(), {}
    if not request.content_type.startswith("multipart/"):
        return None, {}
    body, files = None, {}
    async for part in await request.multipart():
        data = await part.read(decode=False)
        if part.name == "payload_json":
            body = json.loads(bytes(data))
        else:
            files[str(part.name)] = bytes(data)
    return body, files


def _without_notes(answer: Any) -> Any:
    """What the double remembers in its objects is not Discord's."""
    if isinstance(answer, dict):
        return {key: value for key, value in answer.items() if key != "had_thread"}
    return answer


def _failed(fault: Fault) -> web.Response:
    return _json(fault.status or 500, {"message": f"{fault.status}: on demand", "code": fault.code})


def _limited(retry_after_s: float, fault: Fault | None = None) -> web.Response:
    """Discord's own 429; one without `Via` is of the guard before it, which says nothing but no."""
    if fault is not None and fault.is_ban:
        return web.Response(status=429, text="error code: 1015")
    is_global = fault is not None and fault.is_global
    body = {"message": "You are being rate limited.", "retry_after": retry_after_s, "global": is_global}
    answer = _json(429, body)
    answer.headers["Via"] = "1.1 double"
    answer.headers["X-RateLimit-Scope"] = "global" if is_global else "user"
    answer.headers["Retry-After"] = str(max(1, round(retry_after_s)))
    return answer


def _json(status: int, body: Any) -> web.Response:
    """discord.py reads JSON only behind exactly this content type."""
    if status == 204 or body is None:
        return web.Response(status=204)
    return web.Response(status=status, body=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
