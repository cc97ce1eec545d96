"""Speaks to the model API with the real credential, and turns its refusals into answers a session may see."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from ccdtasks.errors import Invalid
from ccdtasks.gateways.credential import Credential, set_credential
from ccdtasks.gateways.usage_limits import limited_until
from ccdtasks.times import Clock

_CONNECT_S = 15.0
_WHOLE_ANSWER_S = 600.0  # an answer that is not streamed is silent while the model writes; the API allows ten minutes
_PIECE_BYTES = 256 * 1024
_MAX_ERROR_BYTES = 1024 * 1024
_HOP_BY_HOP = ("connection", "keep-alive", "proxy-authenticate", "proxy-connection", "te", "trailer",
               "transfer-encoding", "upgrade")  # fmt: skip
_NOT_SENT = (*_HOP_BY_HOP, "host", "content-length", "expect", "accept-encoding")
_NOT_RETURNED = (*_HOP_BY_HOP, "set-cookie")
_ADDED_BY_AIOHTTP = ("User-Agent", "Accept", "Content-Type")


class Answer(Exception):
    """What the session gets instead of the model's answer: an error in the API's own shape.

    `auth_failed`: because the API refuses the real credential; `lacks_credit`: since its account has no money.
    `limited_until`: because a usage limit holds until then.
    """

    auth_failed = False
    lacks_credit = False
    limited_until: datetime | None = None

    def __init__(self, status: int, body: bytes, headers: CIMultiDict[str]) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers

    @classmethod
    def of(cls, status: int, kind: str, message: str) -> Answer:
        """An answer of ours; `kind` is one of the API's error types."""
        return cls(status, error_json(kind, message), CIMultiDict({"Content-Type": "application/json"}))


def error_json(kind: str, message: str) -> bytes:
    """An error as the API writes it. "ccdtasks" tells the reader of a log who said it."""
    return json.dumps({"type": "error", "error": {"type": kind, "message": f"ccdtasks: {message}"}}).encode()


class Upstream:
    """The model API at `base_url`, through one pool of connections. Raises Invalid for an address that cannot be meant.

    `silence_s`: the API sends pings while it thinks; after this long without a byte nobody is there any more.
    """

    def __init__(
        self,
        credential: Credential | None,
        base_url: str,
        *,
        on_auth_failure: Callable[[], None] | None,
        silence_s: float,
        trust_env: bool,
        clock: Clock,
    ) -> None:
        self._credential = credential
        self._base_url = _read_base_url(base_url)
        self._on_auth_failure = on_auth_failure
        self._silence_s = silence_s
        self._trust_env = trust_env
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Closes all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self, path_and_query: str, headers: CIMultiDictProxy[str], body: bytes, *, stream: bool
    ) -> aiohttp.ClientResponse:
        """The API's good answer, its body not read yet. Raises Answer for everything else."""
        if self._credential is None:
            raise self._auth_failed("No credential for the model API is configured.")
        outgoing = CIMultiDict(headers)
        for name in _NOT_SENT:
            outgoing.popall(name, None)
        set_credential(outgoing, self._credential)
        outgoing["Accept-Encoding"] = (
            "identity"  # the one thing changed besides the credential: tokens must be readable
        )
        outgoing["Content-Length"] = str(len(body))
        try:
            response = await self._opened().post(
                URL(f"{self._base_url}{path_and_query}", encoded=True),
                data=_pieces(body),
                headers=outgoing,
                skip_auto_headers=_ADDED_BY_AIOHTTP,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    sock_connect=_CONNECT_S,
                    sock_read=self._silence_s if stream else max(self._silence_s, _WHOLE_ANSWER_S),
                ),
            )
        except TimeoutError:
            raise Answer.of(504, "timeout_error", "The model API does not answer.") from None
        except aiohttp.ClientError as error:
            raise Answer.of(502, "api_error", f"The model API cannot be reached ({type(error).__name__}).") from None
        if response.status == 200 and response.headers.get("Content-Encoding", "identity") == "identity":
            return response
        async with response:
            raise await self._refusal(response, self._credential.secret)

    async def _refusal(self, response: aiohttp.ClientResponse, secret: str) -> Answer:
        if response.status < 400:
            return Answer.of(502, "api_error", f"The model API answered {response.status}, which nobody can use.")
        body = await _read_error(response)
        if _is_about_credential(response.status, body):
            return self._auth_failed("The model API refuses the credential of this appliance.")
        if _is_about_credit(response.status, body):
            answer = self._auth_failed("The account of this appliance has no credit at the model API.")
            answer.lacks_credit = True
            return answer
        clean = CIMultiDict(
            (name, value.replace(secret, "[removed]")) for name, value in returned_headers(response.headers).items()
        )
        clean.popall("Content-Length", None)
        clean.popall("Content-Encoding", None)
        answer = Answer(response.status, body.replace(secret.encode(), b"[removed]"), clean)
        if response.status == 429:
            answer.limited_until = limited_until(response.headers, self._clock.now())
        return answer

    def _auth_failed(self, message: str) -> Answer:
        """403 where the API says 401: the CLI repeats a 401 for three minutes, and ends at once on a 403."""
        if self._on_auth_failure is not None:
            self._on_auth_failure()
        answer = Answer.of(403, "authentication_error", message)
        answer.auth_failed = True
        return answer

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=self._trust_env,
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            )
        return self._session


def returned_headers(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The API's headers that a session sees: all but those of the connection and cookies."""
    returned = CIMultiDict(headers)
    for name in _NOT_RETURNED:
        returned.popall(name, None)
    return returned


def _is_about_credential(status: int, body: bytes) -> bool:
    """401, and the 403 of a token that was revoked or is not allowed here, which speaks of OAuth."""
    return status == 401 or (status == 403 and (b"authentication_error" in body or b"oauth" in body.lower()))


def _is_about_credit(status: int, body: bytes) -> bool:
    """402, and the 400 whose message begins so: one that only quotes it may come from the session's own request."""
    return status == 402 or (status == 400 and _message_of(body).startswith("Your credit balance is too low"))


def _message_of(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""


async def _read_error(response: aiohttp.ClientResponse) -> bytes:
    if "Content-Encoding" in response.headers:  # not asked for, so it cannot be looked into
        return error_json("api_error", f"The model API answered {response.status}.")
    body = bytearray()
    try:
        async for piece in response.content.iter_any():
            body += piece[: _MAX_ERROR_BYTES - len(body)]
    except (aiohttp.ClientError, TimeoutError):
        pass  # half an error still says more than none
    return bytes(body)


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """The body in pieces, so that a large one never holds up the loop."""
    for at in range(0, len(body), _PIECE_BYTES):
        yield body[at : at + _PIECE_BYTES]


def _read_base_url(text: str) -> str:
    url = URL(text)
    if url.scheme not in {"http", "https"} or not url.host or url.user or url.query_string or url.fragment:
        raise Invalid("claude.base_url", "The address of the model API cannot be used.", "Write https://host[/path].")
    return str(url).rstrip("/")
