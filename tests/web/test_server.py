"""What holds for every answer, and what visitors see of mistakes."""

from __future__ import annotations

import asyncio
import logging
import socket

import aiohttp
import pytest

from ccdtasks import errors
from ccdtasks.config import BadConfig, Config, ServerConfig
from ccdtasks.core import Core
from ccdtasks.engine.keeping import Keeper
from ccdtasks.errors import CcdError, Unavailable
from ccdtasks.web import open_web
from ccdtasks.web.errors import STATUSES, TITLES
from tests.web.conftest import Serve, Site

EVERYWHERE = ["/", "/login", "/healthz", "/readyz", "/nothing", "/static/style.css", "/static/none", "/api/v1/none"]


@pytest.mark.parametrize("path", EVERYWHERE)
async def test_every_answer_is_closed_to_other_sites(site: Site, path: str) -> None:
    async with site.browser.get(site.url + path, allow_redirects=False) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] in ("no-referrer", "same-origin")
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Server"] == "ccdtasks"
        if not path.startswith("/static/style"):
            assert answer.headers["Cache-Control"] == "no-store"


def test_each_class_of_mistake_is_in_each_table() -> None:
    classes = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CcdError)}
    for table in (STATUSES, TITLES):
        assert classes - {CcdError} <= set(table)


async def test_people_get_a_page_and_programs_get_json(site: Site) -> None:
    async with site.browser.get(f"{site.url}/nothing") as answer:
        assert answer.status == 404
        assert answer.content_type == "text/html"
        assert "There is nothing here." in await answer.text()
    async with site.browser.get(f"{site.url}/api/v1/nothing", headers=await site.api()) as answer:
        assert answer.status == 404
        assert (await answer.json())["error"]["code"] == "not_found"


async def test_a_part_that_is_away_is_named_and_nothing_else_is_told(serve: Serve) -> None:
    async def podman() -> None:
        raise Unavailable("podman", "secret-of-podman /run/podman.sock")

    async def store() -> None:
        raise RuntimeError("secret-of-the-store")

    async def never() -> None:
        await asyncio.Event().wait()

    async def database() -> None:
        return

    async with serve(database=database, podman=podman, store=store) as site:
        async with site.browser.get(f"{site.url}/healthz") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ok"})
        async with site.browser.get(f"{site.url}/readyz") as answer:
            text = await answer.text()
            assert answer.status == 503
            assert (await answer.json())["parts"] == {"database": "ok", "podman": "away", "store": "away"}
            assert "secret" not in text
    async with serve(discord=never, database=database) as site, site.browser.get(f"{site.url}/readyz") as answer:
        assert (await answer.json())["parts"] == {"database": "ok", "discord": "away"}
    async with serve(database=database) as site, site.browser.get(f"{site.url}/readyz") as answer:
        assert (answer.status, (await answer.json())["status"]) == (200, "ok")


async def test_who_asks_often_costs_the_parts_nothing(serve: Serve) -> None:
    asked = []

    async def podman() -> None:
        asked.append(1)

    async with serve(podman=podman) as site:
        for _ in range(20):
            async with site.browser.get(f"{site.url}/readyz") as answer:
                assert answer.status == 200
    assert len(asked) == 1


async def test_the_log_keeps_no_token_of_a_link(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with site.browser.get(f"{site.url}/nothing?t=secret-token"):
            pass
        async with asyncio.timeout(10):
            while "/nothing" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0)
    assert "secret-token" not in caplog.text


async def test_too_large_a_body_is_refused(site: Site) -> None:
    async with site.browser.post(f"{site.url}/login", data={"token": "x" * (2 << 20)}) as answer:
        assert answer.status == 413
        assert "more than this address takes" in await answer.text()


async def test_a_method_that_is_not_there_is_said(site: Site) -> None:
    async with site.browser.delete(f"{site.url}/login") as answer:
        assert answer.status == 405


async def test_a_port_in_use_is_one_clear_sentence(core: Core, keeper: Keeper, config: Config) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        object.__setattr__(config.server, "port", port)
        with pytest.raises(BadConfig, match=rf"\[server\] port {port} is used by another program"):
            async with open_web(core, keeper, {}):
                pass


class TestOff:
    @pytest.fixture
    def server(self) -> ServerConfig:
        return ServerConfig(enabled=False)

    async def test_nothing_listens(self, core: Core, keeper: Keeper) -> None:
        async with open_web(core, keeper, {}) as port:
            assert port is None


@pytest.mark.parametrize(
    "raw", [b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", b"A" * 100_000, b"<script>\r\n\r\n"]
)
async def test_what_is_not_http_gets_no_page(site: Site, raw: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(site.url.rpartition(":")[2]))
    writer.write(raw)
    answer = await reader.read()
    writer.close()
    assert b"text/html" not in answer
    assert b"Traceback" not in answer
    async with aiohttp.ClientSession() as other, other.get(f"{site.url}/healthz") as health:
        assert health.status == 200
    assert "AssertionError" not in caplog.text
