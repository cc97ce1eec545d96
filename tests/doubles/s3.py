"""An S3 server on a real socket, and one in front of it that misbehaves when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import aiohttp
from aiohttp import web

from ccdtasks.adapters.s3 import S3Store

BUCKET = "runs"


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of a server that knows the bucket `runs` as soon as somebody makes it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class MoodyS3:
    """Passes requests on to a real server, or does what `mood` says.

    Moods: `good`, `errors`, `silent`, `drops`, `truncates`, `refuses <part of a key>`, `swallows parts` (the second
    one of a large file, without an answer). `puts` holds the keys that were sent, as they came.
    """

    def __init__(self, url: str) -> None:
        self._behind = url
        self.url = ""
        self.mood = "good"
        self.puts: list[str] = []
        self.asked = asyncio.Event()
        self.closing = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.method == "PUT":
            self.puts.append(request.path.removeprefix(f"/{BUCKET}/"))
        if self.mood != "swallows parts" or "partNumber=2" in request.query_string:
            self.asked.set()
        if self.mood == "swallows parts" and "partNumber=2" in request.query_string:
            await self.closing.wait()
        if self.mood == "errors":
            return web.Response(status=500, text="<Error><Code>InternalError</Code></Error>")
        if self.mood == "silent":
            await self.closing.wait()
        if self.mood == "drops":
            assert request.transport is not None
            request.transport.abort()
        if self.mood.startswith("refuses ") and self.mood[8:] in request.path:
            return web.Response(status=400, text="<Error><Code>InvalidArgument</Code></Error>")
        if self.mood == "truncates" and request.method == "PUT":
            body = body[: len(body) // 2]
        return await self._pass_on(request, body)

    async def _pass_on(self, request: web.Request, body: bytes) -> web.Response:
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in ("host", "content-length", "expect", "transfer-encoding")
        }
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method, f"{self._behind}{request.raw_path}", data=body, headers=headers, allow_redirects=False
            ) as answer,
        ):
            kept = {name: value for name, value in answer.headers.items() if name.lower() != "transfer-encoding"}
            data = await answer.read()
            if request.method == "HEAD":
                return _Head(status=answer.status, headers=kept)
            kept.pop("Content-Length", None)
            return web.Response(status=answer.status, body=data, headers=kept)


class _Head(web.Response):
    """An answer to HEAD keeps the length of what it does not hold."""


@asynccontextmanager
async def moody_s3(url: str) -> AsyncIterator[tuple[MoodyS3, S3Store]]:
    """The server in front of the one at `url`, and a store that speaks to it."""
    moody = MoodyS3(url)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", moody.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with aiohttp.ClientSession() as session:
        await session.put(f"{url}/{BUCKET}")
    moody.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    store = store_at(moody.url)
    try:
        yield moody, store
    finally:
        moody.closing.set()
        await store.close()
        await runner.cleanup()


def store_at(url: str) -> S3Store:
    """A store over the bucket `runs` of the server at `url`."""
    return S3Store(bucket=BUCKET, endpoint_url=url, region=None, access_key="key", secret_key="secret")
