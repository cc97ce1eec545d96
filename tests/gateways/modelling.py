"""A session's side of the model gateway: what a test needs to talk through the socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp

from ccdtasks.gateways.credential import Credential
from ccdtasks.gateways.model import ModelGateway, ModelGrant, ServedModel, Usage
from ccdtasks.gateways.prices import PriceTable

SECRET = "sk-ant-api03-THE-REAL-SECRET-AA"
KEY = Credential("api_key", SECRET)
TOKEN = Credential("oauth_token", SECRET)
DUMMY = KEY.dummy()
SESSION_ID = UUID(int=7)
BODY: dict[str, Any] = {
    "model": "claude-sonnet-5",
    "max_tokens": 100,
    "stream": True,
    "messages": [{"role": "user", "content": "hi"}],
}


@dataclass
class Client:
    """What the CLI is inside: a client on the socket that only has the dummy."""

    served: ServedModel
    http: aiohttp.ClientSession
    usages: list[Usage] = field(default_factory=list)

    def post(
        self,
        body: Mapping[str, object] | bytes = BODY,
        path: str = "/v1/messages?beta=true",
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> Any:
        """A request as the CLI makes it; `headers` add to or replace its own."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        own = {"x-api-key": DUMMY, "anthropic-version": "2023-06-01", "Content-Type": "application/json"}
        return self.http.request(method, f"http://localhost{path}", data=data, headers={**own, **(headers or {})})

    async def ask(self, body: Mapping[str, object] | bytes = BODY, **rest: Any) -> tuple[int, bytes]:
        """Status and whole body of an answer."""
        async with self.post(body, **rest) as response:
            return response.status, await response.read()


def grant(**changes: Any) -> ModelGrant:
    return ModelGrant(**{"session_id": SESSION_ID, "dummy": DUMMY, **changes})


@asynccontextmanager
async def session(
    folder: Path,
    base_url: str,
    *,
    credential: Credential | None = KEY,
    grant: ModelGrant | None = None,
    **gateway: Any,
) -> AsyncIterator[Client]:
    """A gateway with one session served, and a client on its socket."""
    path = folder / "model.sock"
    usages: list[Usage] = []
    given = grant or ModelGrant(session_id=SESSION_ID, dummy=DUMMY)
    async with (
        ModelGateway(credential, base_url, PriceTable(), **gateway) as model,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)), auto_decompress=False) as http,
    ):
        served = await model.serve(path, given, usages.append)
        try:
            yield Client(served, http, usages)
        finally:
            await served.close()


def error_of(body: bytes) -> tuple[str, str]:
    """The type and message of an error in the API's shape."""
    error = json.loads(body)["error"]
    return error["type"], error["message"]


def usd(text: str) -> Decimal:
    return Decimal(text)
