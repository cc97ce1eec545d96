"""The log of the service: what strangers cannot write into it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest
from aiohttp import web

from ccdtasks.config import LogConfig
from ccdtasks.logs import set_up_log


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    """The log as the service sets it up; what was set up before is put back."""
    root = logging.getLogger()
    handlers, level = [*root.handlers], root.level
    root.handlers.clear()  # kept open: they are the test runner's
    set_up_log(LogConfig())
    yield capsys
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_what_is_no_http_is_answered_and_leaves_no_traceback(log: pytest.CaptureFixture[str]) -> None:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        raise RuntimeError("a mistake of ours")

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        for head in (b"GET / HTTP/1.1\r\n folded: x\r\n", b"GET / HTTP/1.1\r\nX: a\0b\r\n", b"\x16\x03\x01\r\n"):
            assert b" 400 " in await _ask(port, head)
        assert log.readouterr().err == ""
        assert b" 500 " in await _ask(port, b"GET / HTTP/1.1\r\nHost: x\r\n")
        assert "a mistake of ours" in log.readouterr().err
    finally:
        await runner.cleanup()


async def _ask(port: int, head: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head + b"\r\n")
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return answer
