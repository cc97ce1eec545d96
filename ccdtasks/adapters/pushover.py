"""Pushover: messages to phones, receipts of emergencies, keys of users, and what is left of the month.

What may follow from an answer (https://pushover.net/api, "Being Friendly to our API") is in the class of the error:

    Spent                  the month's messages are used up: nothing is taken before the reset
    Denied, Invalid        refused: the same request is never taken, however often it is repeated
    Unavailable            not taken; may be repeated after 5 s
      +- NoAnswer          perhaps taken: the connection broke after the request, and Pushover knows no request ids
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ccdtasks.errors import CcdError, Denied, Invalid, LimitReached, Unavailable

if TYPE_CHECKING:
    from aiohttp import ClientSession

CONNECTIONS = 2
"""More at once, and Pushover slows us down ("Being Friendly to our API")."""

_TIMEOUT_S = 20.0
_ANSWER_BYTES = 64 * 1024
_AWAY_HINT = "it is tried again"


@dataclass(frozen=True, slots=True)
class Push:
    """A message. `retry_s` and `expire_s` belong to priority 2; `tag` names it for `cancel_tagged`."""

    user_key: str
    message: str
    title: str | None = None
    priority: int = 0
    url: str | None = None
    url_title: str | None = None
    sound: str | None = None
    retry_s: int | None = None
    expire_s: int | None = None
    at: datetime | None = None
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """The messages of a month, of all applications of the account."""

    limit: int
    remaining: int
    reset_at: datetime


@dataclass(frozen=True, slots=True)
class Accepted:
    """Pushover has the message. `receipt`: of an emergency."""

    request_id: str
    receipt: str | None = None
    quota: Quota | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """How an emergency stands. `acknowledged_by`: the key of the user who did, `device` their device."""

    acknowledged_at: datetime | None
    acknowledged_by: str | None
    device: str | None
    is_expired: bool


class Spent(LimitReached):
    """The month's messages are used up, until `reset_at` if Pushover said so."""

    code = "quota_spent"

    def __init__(self, reset_at: datetime | None) -> None:
        super().__init__("Pushover's messages of this month are used up.", "buy more at pushover.net, or wait")
        self.reset_at = reset_at


class NoAnswer(Unavailable):
    """The request went out and no answer came back: it may have been carried out."""

    code = "no_answer"


class Pushover:
    """A client of the API for one application; `close` it at the end."""

    def __init__(self, token: str | None, api_url: str, timeout_s: float = _TIMEOUT_S) -> None:
        self._token = token
        self._url = api_url.rstrip("/")
        self._timeout_s = timeout_s
        self._session: ClientSession | None = None

    @property
    def is_set_up(self) -> bool:
        """Whether there is a token at all."""
        return self._token is not None

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    async def send(self, push: Push) -> Accepted:
        """Hands a message over. Raises as the module's picture says."""
        form = {
            "user": push.user_key,
            "message": push.message,
            "title": push.title,
            "priority": push.priority,
            "url": push.url,
            "url_title": push.url_title if push.url else None,
            "sound": push.sound,
            "timestamp": int(push.at.timestamp()) if push.at else None,
        }
        if push.priority == 2:
            form |= {"retry": push.retry_s, "expire": push.expire_s, "tags": push.tag}
        body, headers = await self._ask("POST", "messages.json", form)
        receipt = body.get("receipt")
        return Accepted(str(body.get("request", ""))[:64], receipt if _is_word(receipt) else None, _quota(headers))

    async def validate(self, user_key: str) -> tuple[str, ...]:
        """The active devices behind a user's or group's key. Raises Invalid("key") when Pushover knows no such user."""
        body, _ = await self._ask("POST", "users/validate.json", {"user": user_key})
        return tuple(str(device)[:25] for device in body.get("devices") or ())

    async def receipt(self, receipt: str) -> Receipt:
        """How an emergency stands; to be asked no more often than every 5 s."""
        body, _ = await self._ask("GET", f"receipts/{receipt}.json")
        acknowledged = body.get("acknowledged") == 1
        return Receipt(
            acknowledged_at=_moment(body.get("acknowledged_at")) if acknowledged else None,
            acknowledged_by=_text(body.get("acknowledged_by")) if acknowledged else None,
            device=_text(body.get("acknowledged_by_device")) if acknowledged else None,
            is_expired=body.get("expired") == 1,
        )

    async def cancel(self, receipt: str) -> None:
        """Lets an emergency ring no more."""
        await self._ask("POST", f"receipts/{receipt}/cancel.json", {})

    async def cancel_tagged(self, tag: str) -> None:
        """Lets all emergencies of a tag ring no more; none is success."""
        await self._ask("POST", f"receipts/cancel_by_tag/{tag}.json", {})

    async def quota(self) -> Quota | None:
        """What is left of the month."""
        body, _ = await self._ask("GET", "apps/limits.json")
        return _read_quota(body.get("limit"), body.get("remaining"), body.get("reset"))

    async def _ask(
        self, method: str, path: str, form: Mapping[str, object] | None = None
    ) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """One request; body and headers of a good answer. No error of the library leaves: its text has our token."""
        from aiohttp import ClientConnectorError, ClientError  # noqa: PLC0415  only where pushes are sent

        if self._token is None:
            raise Unavailable("pushover", "Pushover is not set up here.", "an admin sets `[pushover] token`")
        fields = {name: str(value) for name, value in (form or {}).items() if value not in (None, "")}
        given = {"token": self._token, **fields}
        try:
            async with self._opened().request(
                method,
                f"{self._url}/1/{path}",
                data=given if method == "POST" else None,
                params=None if method == "POST" else given,
                allow_redirects=False,
            ) as answer:
                raw = await answer.content.read(_ANSWER_BYTES)
                status, headers = answer.status, answer.headers
        except ClientConnectorError:
            raise Unavailable("pushover", "Pushover cannot be reached.", _AWAY_HINT) from None
        except (ClientError, TimeoutError, OSError):
            raise NoAnswer("pushover", "Pushover does not answer.", _AWAY_HINT) from None
        return _judged(status, _json(raw), headers), headers

    def _opened(self) -> ClientSession:
        from aiohttp import ClientSession, ClientTimeout, TCPConnector  # noqa: PLC0415

        if self._session is None:
            timeout = ClientTimeout(total=self._timeout_s)
            self._session = ClientSession(connector=TCPConnector(limit=CONNECTIONS), timeout=timeout)
        return self._session


def _judged(status: int, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> Mapping[str, Any]:
    """The body of a good answer; else the error that it is."""
    if status == 200 and body is not None and body.get("status") == 1:
        return body
    if status == 429:
        quota = _quota(headers)
        raise Spent(quota.reset_at if quota else None)
    if 400 <= status < 500 or (body is not None and "status" in body):
        raise _refusal(body or {}, status)
    raise Unavailable("pushover", f"Pushover has trouble right now (HTTP {status}).", _AWAY_HINT)


def _refusal(body: Mapping[str, Any], status: int) -> CcdError:
    """Which parameter was wrong is said by its name in the body: `{"user": "invalid", "errors": [...]}`."""
    if body.get("token"):
        return Denied("Pushover refuses the token of this application.", "an admin corrects `[pushover] token`")
    if body.get("user") or body.get("device"):
        return Invalid("key", "Pushover knows no active user of that key.", "copy it from pushover.net again")
    errors = body.get("errors")
    said = "; ".join(str(each) for each in errors) if isinstance(errors, list) else ""
    field = "sound" if body.get("sound") else "message"
    return Invalid(field, f"Pushover does not take this: {said[:200] or f'HTTP {status}'}.")


def _quota(headers: Mapping[str, str]) -> Quota | None:
    return _read_quota(*(headers.get(f"X-Limit-App-{name}") for name in ("Limit", "Remaining", "Reset")))


def _read_quota(limit: object, remaining: object, reset: object) -> Quota | None:
    try:
        return Quota(int(str(limit)), int(str(remaining)), datetime.fromtimestamp(int(str(reset)), UTC))
    except (ValueError, OverflowError, OSError):
        return None


def _json(raw: bytes) -> Mapping[str, Any] | None:
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _moment(value: object) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(str(value)), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _text(value: object) -> str | None:
    return value[:64] if isinstance(value, str) and value else None


def _is_word(value: object) -> bool:
    return isinstance(value, str) and value.isalnum() and len(value) <= 64
