"""A Pushover of our own on loopback: its protocol over real sockets, and a strict reader of what it is sent.

    async with PushoverServer(clock) as pushover:
        config = {"pushover": pushover.config}
        pushover.add_user(KEY, "iphone")
        ...
        assert pushover.messages[-1].title == "✕ ticket-checker: failed"
        pushover.acknowledge(pushover.messages[-1].receipt)
        pushover.assert_clean()

What Pushover would refuse is answered as Pushover does; what a friendly client never does (a refused request once more,
the same one within 5 s, a receipt asked for within 5 s, more than two connections) is kept in `violations`.
Behaviours on demand: `be_slow`, `never_answer`, `break_down`, `spend_quota`, `drop_after_acceptance`, `talk_nonsense`,
`go_down`, `come_back`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar
from uuid import uuid4

from aiohttp import web

from tests.clock import MoveableClock

T = TypeVar("T")
TOKEN = "azGDORePK8gMaC0QOYAMyEEuzJnyUi"
KEY = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG"
SOUNDS = ("pushover", "bike", "siren", "none")
LIMITS = {"message": 1024, "title": 250, "url": 512, "url_title": 100}
FIELDS = {"token", "user", "priority", "sound", "timestamp", "retry", "expire", "tags", "device", "ttl", *LIMITS}
APART_S = 5.0


@dataclass
class Taken:
    """A message that Pushover has."""

    user: str
    message: str
    title: str | None
    priority: int
    url: str | None
    url_title: str | None
    sound: str | None
    at: datetime
    tags: str | None = None
    receipt: str | None = None


@dataclass
class ReceiptState:
    """An emergency that rings."""

    user: str
    expires_at: datetime
    tags: str | None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    device: str | None = None
    is_cancelled: bool = False
    polled_at: datetime | None = None


@dataclass
class Fault:
    """What happens to the next requests that match."""

    path: str
    times: int
    kind: str
    held: asyncio.Event = field(default_factory=asyncio.Event)


class PushoverServer:
    """One application, its users and its messages."""

    def __init__(self, clock: MoveableClock, *, limit: int = 10_000) -> None:
        self.clock = clock
        self.users: dict[str, list[str]] = {}
        self.messages: list[Taken] = []
        self.receipts: dict[str, ReceiptState] = {}
        self.requests: list[tuple[str, str]] = []
        self.violations: list[str] = []
        self.limit, self.sent_before = limit, 0
        self.token = TOKEN
        self.port = 0
        self.changed = asyncio.Event()
        self._faults: list[Fault] = []
        self._refused: set[str] = set()
        self._refused_as_a_whole: set[str] = set()
        self._tried: dict[str, datetime] = {}
        self._connections: set[Any] = set()
        self._open_requests = 0
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.come_back()
        return self

    async def __aexit__(self, *_: object) -> None:
        for fault in self._faults:
            fault.held.set()
        await self.go_down()

    @property
    def config(self) -> dict[str, Any]:
        """The `[pushover]` table of somebody who talks to us."""
        return {"token": TOKEN, "api_url": f"http://127.0.0.1:{self.port}"}

    def assert_clean(self) -> None:
        """Everything that was sent was right and friendly."""
        assert not self.violations, "\n".join(self.violations)

    # ---- people -------------------------------------------------------------------------------------------------

    def add_user(self, key: str = KEY, *devices: str) -> str:
        """Somebody with devices; without any the account is not active."""
        self.users[key] = list(devices or ("iphone",))
        return key

    def acknowledge(self, receipt: str | None, device: str = "iphone", by: str | None = None) -> None:
        """Somebody taps the emergency away."""
        assert receipt is not None, "there is no receipt"
        state = self.receipts[receipt]
        state.acknowledged_at, state.acknowledged_by, state.device = self.clock.now(), by or state.user, device

    async def until(self, seen: Callable[[], T], timeout_s: float = 30) -> T:
        """Waits for requests until `seen` gives something true; what it gave."""
        async with asyncio.timeout(timeout_s):
            while not (found := seen()):
                self.changed.clear()
                await self.changed.wait()
        return found

    # ---- what goes wrong ----------------------------------------------------------------------------------------

    def be_slow(self, path: str = "messages.json", times: int = 1) -> asyncio.Event:
        """The next requests are answered only when the event is set."""
        return self._add(path, times, "slow").held

    def never_answer(self, path: str = "messages.json", times: int = 1) -> None:
        """The next requests are read, and nothing comes back; nothing is carried out."""
        self._add(path, times, "silent")

    def break_down(self, path: str = "*", times: int = 1) -> None:
        """The next requests get a 500 and a page of HTML."""
        self._add(path, times, "broken")

    def talk_nonsense(self, path: str = "messages.json", times: int = 1) -> None:
        """The next requests get a 200 that is no answer of Pushover, as from a captive portal."""
        self._add(path, times, "nonsense")

    def drop_after_acceptance(self, path: str = "messages.json", times: int = 1) -> None:
        """The next requests are carried out, and the connection breaks before the answer."""
        self._add(path, times, "drops")

    def spend_quota(self) -> None:
        """The month's messages are used up."""
        self.sent_before = self.limit - len(self.messages)

    async def go_down(self) -> None:
        """Nothing listens any more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def come_back(self) -> None:
        """Listens, at the port of before."""
        app = web.Application()
        app.router.add_route("*", "/1/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    def _add(self, path: str, times: int, kind: str) -> Fault:
        fault = Fault(path, times, kind)
        self._faults.append(fault)
        return fault

    # ---- the protocol -------------------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        self._watch_connections(request)
        form = await self._read(request)
        self.requests.append((request.method, path))
        self._open_requests += 1
        try:
            return await self._answered(request, path, form)
        finally:
            self._open_requests -= 1
            self.changed.set()

    async def _answered(self, request: web.Request, path: str, form: dict[str, str]) -> web.StreamResponse:
        self.changed.set()
        fault = next((each for each in self._faults if each.times and each.path in ("*", path)), None)
        if fault is not None:
            fault.times -= 1
        self._watch_repeats(path, form)
        if fault is not None and fault.kind == "slow":
            await fault.held.wait()
        if fault is not None and fault.kind == "silent":
            await _until_left(request)
        if fault is not None and fault.kind == "broken":
            return web.Response(status=500, text="<h1>Internal Server Error</h1>", content_type="text/html")
        if fault is not None and fault.kind == "nonsense":
            return web.Response(text="<h1>Welcome to the hotel</h1>", content_type="text/html")
        if fault is not None and fault.kind == "silent":
            return web.Response(status=500)
        status, body = self._carry_out(request.method, path, form)
        if status == 429 or form.get("token") != self.token:  # no fault of the request: mended, it may come again
            self._refused_as_a_whole.add(_fingerprint(path, form))
        elif 400 <= status < 500:
            self._refused.add(_fingerprint(path, form))
        if fault is not None and fault.kind == "drops" and request.transport is not None:
            request.transport.abort()
        answer = web.json_response({**body, "request": str(uuid4())}, status=status)
        for name, value in self._quota().items():
            answer.headers[f"X-Limit-App-{name.capitalize()}"] = str(value)
        return answer

    async def _read(self, request: web.Request) -> dict[str, str]:
        if request.method == "GET":
            return dict(request.query)
        if request.content_type != "application/x-www-form-urlencoded":
            self.violations.append(f"a body of type {request.content_type}")
        if request.query:
            self.violations.append("parameters of a POST in the address, where logs keep them")
        return {str(name): str(value) for name, value in (await request.post()).items()}

    def _watch_connections(self, request: web.Request) -> None:
        self._connections = {each for each in self._connections if not each.is_closing()}
        self._connections.add(request.transport)
        if len(self._connections) > 2 or self._open_requests >= 2:
            self.violations.append(f"{len(self._connections)} connections at once")

    def _watch_repeats(self, path: str, form: dict[str, str]) -> None:
        same, now = _fingerprint(path, form), self.clock.now()
        if same in self._refused and form.get("token") == self.token and "validate" not in path:
            self.violations.append(f"{path}: a refused request again")
        is_shut = form.get("token") != self.token or self._quota()["remaining"] <= 0
        if path == "messages.json" and same in self._refused_as_a_whole and is_shut:
            self.violations.append(f"{path}: a refused message again, and nothing was mended")
        if path == "messages.json":
            before = self._tried.get(same)
            if before is not None and now - before < timedelta(seconds=APART_S):
                self.violations.append(f"{path}: again after {(now - before).total_seconds()} s")
            self._tried[same] = now

    def _quota(self) -> dict[str, int]:
        reset = self.clock.now().replace(day=1, hour=6, minute=0, second=0, microsecond=0) + timedelta(days=32)
        left = max(0, self.limit - self.sent_before - len(self.messages))
        return {"limit": self.limit, "remaining": left, "reset": int(reset.replace(day=1).timestamp())}

    def _carry_out(self, method: str, path: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if form.get("token") != self.token:
            return _refuse("token", "application token is invalid, see https://pushover.net/api")
        for pattern, verb, act in (
            (r"messages\.json", "POST", self._message),
            (r"users/validate\.json", "POST", self._validate),
            (r"apps/limits\.json", "GET", lambda _: (200, {"status": 1, **self._quota()})),
            (r"receipts/(\w+)\.json", "GET", self._receipt),
            (r"receipts/(\w+)/cancel\.json", "POST", self._cancel),
            (r"receipts/cancel_by_tag/([^/]+)\.json", "POST", self._cancel_tagged),
        ):
            found = re.fullmatch(pattern, path)
            if found and verb == method:
                return act(form, *found.groups())  # type: ignore[operator]
        self.violations.append(f"there is no {method} {path}")
        return _refuse("path", "not found", 404)

    def _message(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        for check in (self._wrong_user, _wrong_fields, _wrong_priority):
            wrong = check(form)
            if wrong is not None:
                self.violations.append(f"messages.json: {wrong[1]['errors'][0]}")
                return wrong
        if not self.users[form["user"]]:
            return _refuse("user", "user has no active devices")
        if self._quota()["remaining"] <= 0:
            return 429, {"status": 0, "errors": ["application is over its monthly message limit"]}
        priority = int(form.get("priority", 0))
        taken = Taken(
            user=form["user"],
            message=form["message"],
            title=form.get("title"),
            priority=priority,
            url=form.get("url"),
            url_title=form.get("url_title"),
            sound=form.get("sound"),
            at=datetime.fromtimestamp(int(form["timestamp"]), self.clock.now().tzinfo)
            if "timestamp" in form
            else self.clock.now(),
            tags=form.get("tags"),
        )
        self.messages.append(taken)
        if priority != 2:
            return 200, {"status": 1}
        taken.receipt = uuid4().hex[:30]
        expires_at = self.clock.now() + timedelta(seconds=int(form["expire"]))
        self.receipts[taken.receipt] = ReceiptState(form["user"], expires_at, taken.tags)
        return 200, {"status": 1, "receipt": taken.receipt}

    def _wrong_user(self, form: dict[str, str]) -> tuple[int, dict[str, Any]] | None:
        if form.get("user") in self.users:
            return None
        known = re.fullmatch(r"[A-Za-z0-9]{30}", form.get("user", ""))
        return _refuse("user", "user identifier is not a valid user" if known else "user identifier is invalid")

    def _validate(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        devices = self.users.get(form.get("user", ""))
        if not devices:
            return _refuse("user", "user key is not valid for any active user")
        return 200, {"status": 1, "group": 0, "devices": devices, "licenses": ["iOS"]}

    def _receipt(self, _form: dict[str, str], receipt: str) -> tuple[int, dict[str, Any]]:
        state = self.receipts.get(receipt)
        if state is None:
            return _refuse("receipt", "receipt not found; may be invalid or expired", 404)
        now = self.clock.now()
        if state.polled_at is not None and now - state.polled_at < timedelta(seconds=APART_S):
            self.violations.append(f"a receipt was asked for again after {(now - state.polled_at).total_seconds()} s")
        state.polled_at = now
        return 200, {
            "status": 1,
            "acknowledged": int(state.acknowledged_at is not None),
            "acknowledged_at": int(state.acknowledged_at.timestamp()) if state.acknowledged_at else 0,
            "acknowledged_by": state.acknowledged_by or "",
            "acknowledged_by_device": state.device or "",
            "last_delivered_at": int(now.timestamp()),
            "expired": int(now >= state.expires_at or state.is_cancelled),
            "expires_at": int(state.expires_at.timestamp()),
            "called_back": 0,
            "called_back_at": 0,
        }

    def _cancel(self, _form: dict[str, str], receipt: str) -> tuple[int, dict[str, Any]]:
        if receipt not in self.receipts:
            return _refuse("receipt", "receipt not found; may be invalid or expired", 404)
        self.receipts[receipt].is_cancelled = True
        return 200, {"status": 1}

    def _cancel_tagged(self, _form: dict[str, str], tag: str) -> tuple[int, dict[str, Any]]:
        found = [each for each in self.receipts.values() if tag in (each.tags or "").split(",")]
        for each in found:
            each.is_cancelled = True
        return 200, {"status": 1, "canceled": len(found)}


async def _until_left(request: web.Request) -> None:
    """Until the other side has given up; there is no bell for that."""
    while request.transport is not None:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def _wrong_fields(form: dict[str, str]) -> tuple[int, dict[str, Any]] | None:
    if not form.get("message"):
        return _refuse("message", "message cannot be blank")
    for name, limit in LIMITS.items():
        if len(form.get(name, "")) > limit:
            return _refuse(name, f"{name} is too long, must be at most {limit} characters")
    if form.keys() - FIELDS:
        return _refuse("parameters", f"unknown parameters {sorted(form.keys() - FIELDS)}")
    if "url_title" in form and "url" not in form:
        return _refuse("url_title", "url_title without a url")
    if form.get("sound", "pushover") not in SOUNDS:
        return _refuse("sound", "sound is not a known sound")
    return None


def _wrong_priority(form: dict[str, str]) -> tuple[int, dict[str, Any]] | None:
    if form.get("priority", "0") not in {"-2", "-1", "0", "1", "2"}:
        return _refuse("priority", "priority is invalid")
    if form.get("priority") != "2":
        return _refuse("retry", "retry without an emergency") if form.keys() & {"retry", "expire"} else None
    if not form.get("retry", "").isdigit() or int(form["retry"]) < 30:
        return _refuse("retry", "retry must be at least 30")
    if not form.get("expire", "").isdigit() or not 0 < int(form["expire"]) <= 10_800:
        return _refuse("expire", "expire must be at most 10800")
    return None


def _refuse(field_name: str, words: str, status: int = 400) -> tuple[int, dict[str, Any]]:
    return status, {"status": 0, field_name: "invalid", "errors": [words]}


def _fingerprint(path: str, form: dict[str, str]) -> str:
    return json.dumps([path, sorted(form.items())])
