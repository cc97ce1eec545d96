"""The only way from a session to the model: a unix socket that swaps the credential, meters, and ends at the budget.

The socket is the identity: one per session. What comes in must show the session's dummy and be one of two calls; what
goes out carries the real credential and is otherwise the same, byte for byte, in both directions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import TracebackType
from uuid import UUID

import aiohttp
from aiohttp import web

from ccdtasks.gateways.bounded import BoundedServer
from ccdtasks.gateways.credential import Credential, shows_dummy
from ccdtasks.gateways.metering import Account, Meter, Usage
from ccdtasks.gateways.prices import PriceTable
from ccdtasks.gateways.purse import Purse
from ccdtasks.gateways.screening import Malformed, ModelRequest, NotAllowed, read_request
from ccdtasks.gateways.sockets import bind_socket, remove_socket, socket_inode
from ccdtasks.gateways.upstream import Answer, Upstream, error_json, returned_headers
from ccdtasks.times import Clock, SystemClock

__all__ = ["Credential", "ModelGateway", "ModelGrant", "ServedModel", "Usage"]

_log = logging.getLogger(__name__)

_MESSAGES = "/v1/messages"
_PATHS = frozenset({_MESSAGES, "/v1/messages/count_tokens"})
_MAX_BODY_BYTES = 32 * 1024 * 1024  # the API's own limit
_LARGE_BODY_BYTES = 512 * 1024  # 5 ms of reading JSON; more of it at a stretch would be felt by everybody
_CONNECTIONS = 64  # open at once; the CLI has a few
_LOGGED = 100  # refusals of a session: it must not fill our log
_AT_ONCE = 4  # requests that are sent before the first one's cost is known


@dataclass(frozen=True, slots=True)
class ModelGrant:
    """What one session may do at the model API.

    `models`: None = any with a known price. `configured`: always open, price known or not. `spent_usd`: by earlier
    attempts, or before a restart. `allow_server_tools`: the API's own tools and files by address, too.
    `purses`: further budgets, which it shares with other sessions.
    """

    session_id: UUID
    dummy: str = field(repr=False)
    models: tuple[str, ...] | None = None
    budget_usd: Decimal | None = None
    spent_usd: Decimal = Decimal(0)
    allow_server_tools: bool = False
    configured: tuple[str, ...] = ()
    purses: tuple[Purse, ...] = ()


class ModelGateway:
    """Serves one socket per session; one pool of connections to the API for all. Close it after its sessions.

    `on_auth_failure` is called when the API refuses the real credential. Raises Invalid for a bad `base_url`.
    """

    def __init__(
        self,
        credential: Credential | None,
        base_url: str,
        prices: PriceTable,
        on_auth_failure: Callable[[], None] | None = None,
        *,
        silence_s: float = 120.0,
        trust_env: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._prices = prices
        self._clock = clock or SystemClock()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="model-bodies")
        self._upstream = Upstream(
            credential,
            base_url,
            on_auth_failure=on_auth_failure,
            silence_s=silence_s,
            trust_env=trust_env,
            clock=self._clock,
        )

    async def serve(self, socket_path: Path, grant: ModelGrant, on_usage: Callable[[Usage], None]) -> ServedModel:
        """Opens the model API at `socket_path`. `on_usage` hears of increments, twice a request; it must not block.

        Raises Invalid for a path too long, Conflict when something lies at it.
        """
        account = Account(self._prices, grant.spent_usd, on_usage)
        served = ServedModel(
            socket_path,
            grant,
            account,
            prices=self._prices,
            upstream=self._upstream,
            reader=self._reader,
            clock=self._clock,
        )
        await served.start()
        return served

    async def close(self) -> None:
        """Closes the connections to the API."""
        await self._upstream.close()
        self._reader.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> ModelGateway:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class ServedModel:
    """One session's way to the model, while it lasts.

    `first_request_at`: when its first request was let through. What the API itself said last: `auth_failed`, it refused
    the real credential (`lacks_credit`: for want of money); `limited_until`, a usage limit. The word of the container
    alone must not stop all runs.
    """

    def __init__(
        self,
        path: Path,
        grant: ModelGrant,
        account: Account,
        *,
        prices: PriceTable,
        upstream: Upstream,
        reader: Executor,
        clock: Clock,
    ) -> None:
        self.first_request_at: datetime | None = None
        self.auth_failed = False
        self.lacks_credit = False
        self.limited_until: datetime | None = None
        self._path = path
        self._grant = grant
        self._account = account
        self._prices = prices
        self._upstream = upstream
        self._reader = reader
        self._clock = clock
        self._revoked = False
        self._refusals = 0
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._busy: dict[asyncio.Task[object] | None, web.BaseRequest] = {}
        self._runner = web.ServerRunner(
            BoundedServer(self._handle, most=_CONNECTIONS, handler_cancellation=True, access_log=None),
            shutdown_timeout=1,
        )
        self._inode = 0

    @property
    def total(self) -> dict[str, Usage]:
        """What the session used so far, per model; earlier attempts not included."""
        return dict(self._account.totals)

    @property
    def spent_usd(self) -> Decimal:
        """Dollars against the budget: earlier attempts and answers that still flow included."""
        return self._account.spent_usd

    @property
    def exhausted(self) -> str | None:
        """Which budget is used up, as a sentence; None while there is money left."""
        if self._grant.budget_usd is not None and self._account.spent_usd >= self._grant.budget_usd:
            spent_usd = f"${self._account.spent_usd:.4f} spent"
            return f"The run's budget of ${self._grant.budget_usd} is used up ({spent_usd})."
        return next((purse.empty_text() for purse in self._grant.purses if purse.is_empty), None)

    async def start(self) -> None:
        """Listens."""
        for purse in self._grant.purses:
            purse.join(self._account)
        listener = bind_socket(self._path)
        self._inode = socket_inode(self._path)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    def revoke(self) -> None:
        """Ends the grant: answers that flow are cut, everything after gets 403."""
        self._revoked = True
        for request in self._busy.values():
            if request.transport is not None:
                request.transport.abort()

    async def close(self) -> None:
        """Revokes, settles what was flowing, and removes the socket. Safe to call twice."""
        self.revoke()
        tasks = [task for task in self._busy if task is not None]
        if tasks:
            await asyncio.wait(tasks)
        await self._runner.cleanup()
        remove_socket(self._path, self._inode)
        for purse in self._grant.purses:
            purse.leave(self._account)

    # -- one request

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        self._busy[task] = request
        try:
            async with self._slots:
                return await self._forward(request)
        except Answer as answer:
            self._note_refusal(answer)
            self._refusals += 1
            if self._refusals <= _LOGGED:
                _log.info("model %s: answered %d", self._grant.session_id, answer.status)
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        finally:
            del self._busy[task]

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        path = self._check_call(request)
        self._check_grant()
        body = await _read_body(request)
        wanted = await self._check_body(body)
        self._check_grant()  # again: reading may have taken long
        if self.first_request_at is None:
            self.first_request_at = self._clock.now()
        meter = self._account.open(wanted.model)
        try:
            upstream = await self._upstream.send(request.path_qs, request.headers, body, stream=wanted.stream)
            if path == _MESSAGES:
                self.auth_failed, self.lacks_credit, self.limited_until = False, False, None
            async with upstream:
                response = await self._relay(request, upstream, meter)
            if path == _MESSAGES and not meter.started:
                _log.warning("model %s: an answer without usage", self._grant.session_id)
            return response
        finally:
            self._account.close(meter)

    def _note_refusal(self, answer: Answer) -> None:
        self.auth_failed = self.auth_failed or answer.auth_failed
        self.lacks_credit = self.lacks_credit or answer.lacks_credit
        self.limited_until = answer.limited_until or self.limited_until

    def _check_call(self, request: web.BaseRequest) -> str:
        path = request.path_qs.partition("?")[0]
        if request.method != "POST" or path not in _PATHS:
            raise Answer.of(403, "permission_error", f"Only POST {_MESSAGES} and count_tokens are open to a session.")
        if not shows_dummy(request.headers, self._grant.dummy):
            raise Answer.of(403, "permission_error", "This socket takes the credential of its own session only.")
        if "Content-Encoding" in request.headers:
            raise Answer.of(400, "invalid_request_error", "Send the body without compression.")
        return path

    def _check_grant(self) -> None:
        if self._revoked:
            raise Answer.of(403, "permission_error", "The run is over.")
        if self.exhausted:
            raise Answer.of(403, "permission_error", self.exhausted)

    async def _check_body(self, body: bytes) -> ModelRequest:
        try:
            read = partial(read_request, body, allow_server_tools=self._grant.allow_server_tools)
            large = len(body) > _LARGE_BODY_BYTES
            wanted = await asyncio.get_running_loop().run_in_executor(self._reader, read) if large else read()
        except Malformed as error:
            raise Answer.of(400, "invalid_request_error", str(error)) from None
        except NotAllowed as error:
            raise Answer.of(400, "invalid_request_error", str(error)) from None
        models = self._grant.models
        open_to_it = self._prices.knows(wanted.model) if models is None else wanted.model in models
        if not open_to_it and wanted.model not in self._grant.configured:
            # 400 and not 403: the CLI takes every 403 for a wrong credential, and that would stop all runs.
            raise Answer.of(400, "invalid_request_error", f"The model {wanted.model[:80]} is not open to this session.")
        return wanted

    async def _relay(
        self, request: web.BaseRequest, upstream: aiohttp.ClientResponse, meter: Meter
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=upstream.status, headers=returned_headers(upstream.headers))
        if response.content_length is None:
            response.enable_chunked_encoding()
        await response.prepare(request)
        whole = None if upstream.content_type == "text/event-stream" else bytearray()
        try:
            async for chunk in upstream.content.iter_any():
                if whole is None:
                    meter.feed(chunk)
                    self._account.note(meter)
                elif len(whole) < _MAX_BODY_BYTES:
                    whole += chunk
                if whole is None and self._must_stop(meter, chunk):
                    await response.write(chunk[: len(chunk) - meter.tail_bytes] + self._budget_event())
                    break
                await response.write(chunk)
            if whole is not None:
                meter.read_whole(bytes(whole))
            await response.write_eof()
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            # A broken stream must look broken: an orderly end would pass half an answer off as a whole one.
            if request.transport is not None:
                request.transport.abort()
        return response

    # -- budget

    def _must_stop(self, meter: Meter, chunk: bytes) -> bool:
        """True if the answer ends before the event that `chunk` leaves unfinished; a whole answer is let through."""
        return self.exhausted is not None and not meter.complete and meter.tail_bytes <= len(chunk)

    def _budget_event(self) -> bytes:
        return b"event: error\ndata: " + error_json("permission_error", self.exhausted or "") + b"\n\n"


async def _read_body(request: web.BaseRequest) -> bytes:
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > _MAX_BODY_BYTES:
            raise Answer.of(413, "request_too_large", "A request may have 32 MB.")
    return bytes(body)
