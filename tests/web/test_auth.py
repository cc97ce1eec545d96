"""Who gets in: by token, by the session of a browser, by a signed link; and who does not."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from ccdtasks.config import ServerConfig
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.core.vault import BadLink, ExpiredLink
from tests.clock import MoveableClock
from tests.web.conftest import ALICE, BOB, Site


async def _post_token(site: Site, token: str, **headers: str) -> tuple[int, str]:
    form = {"token": token, "next": "/"}
    async with site.browser.post(f"{site.url}/login", data=form, headers=headers, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Set-Cookie", "")


async def _home(site: Site) -> tuple[int, str]:
    async with site.browser.get(f"{site.url}/", allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location", "")


async def test_a_stranger_is_sent_to_the_login_and_back(site: Site) -> None:
    assert await _home(site) == (303, "/login?next=%2F")
    await site.log_in()
    assert (await _home(site))[0] == 200


async def test_the_session_of_a_browser_cannot_be_read_taken_along_or_kept(site: Site, clock: MoveableClock) -> None:
    status, cookie = await _post_token(site, await site.token())
    assert status == 303
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert (await _home(site))[0] == 200
    clock.advance(hours=12)
    assert (await _home(site))[0] == 303


async def test_a_session_ends_with_its_token(site: Site) -> None:
    await site.log_in()
    await site.core.tokens.revoke(SHELL, "test")
    assert (await _home(site))[0] == 303


async def test_a_session_lasts_no_longer_than_its_token(site: Site, clock: MoveableClock) -> None:
    made = await site.core.tokens.create(SHELL, "short", expires_at=clock.now() + timedelta(minutes=1))
    _, cookie = await _post_token(site, made.secret)
    assert "Max-Age=60" in cookie


async def test_logging_out_ends_it_here(site: Site) -> None:
    await site.log_in()
    async with site.browser.post(f"{site.url}/logout", allow_redirects=False) as answer:
        assert answer.headers["Location"] == "/login"
    assert (await _home(site))[0] == 303


async def test_a_cookie_of_ones_own_making_opens_nothing(site: Site, clock: MoveableClock) -> None:
    forged = site.core.vault.sign("link:run", str(uuid4()), clock.now() + timedelta(hours=1))
    for cookie in (forged, "x", str(uuid4())):
        async with site.browser.get(f"{site.url}/", cookies={"ccdtasks": cookie}, allow_redirects=False) as answer:
            assert answer.status == 303


async def test_wrong_tokens_are_limited_by_address(site: Site, clock: MoveableClock) -> None:
    right = await site.token()
    for _ in range(10):
        assert (await _post_token(site, "ccd_wrong"))[0] == 403
    async with site.browser.post(f"{site.url}/login", data={"token": right}) as answer:
        assert answer.status == 429
        assert 0 < int(answer.headers["Retry-After"]) <= 300
    async with site.browser.get(f"{site.url}/api/v1/runs", headers={"Authorization": f"Bearer {right}"}) as answer:
        assert answer.status == 429
    clock.advance(seconds=301)
    assert (await _post_token(site, right))[0] == 303


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("GET /api/v1/runs", b"Authorization: Bearer ccd_\xff\xfe", b"", 401),
        ("POST /login", b"Content-Type: application/x-www-form-urlencoded", b"token=\xff", 422),
        ("POST /login", b"Content-Type: application/x-www-form-urlencoded; charset=klingon", b"token=x", 422),
    ],
)
async def test_bytes_that_are_no_text_are_no_incident(
    site: Site, path: str, headers: bytes, body: bytes, status: int
) -> None:
    reader, writer = await asyncio.open_connection(*site.url.removeprefix("http://").split(":"))
    more = b"Host: x\r\nConnection: close\r\nContent-Length: %d" % len(body)
    writer.write(path.encode() + b" HTTP/1.1\r\n" + more + b"\r\n" + headers + b"\r\n\r\n" + body)
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_a_form_that_another_site_sends_does_nothing(site: Site, headers: dict[str, str]) -> None:
    status, cookie = await _post_token(site, await site.token(), **headers)
    assert (status, cookie) == (403, "")
    await site.log_in()
    async with site.browser.post(f"{site.url}/logout", headers=headers) as answer:
        assert answer.status == 403
    assert (await _home(site))[0] == 200


async def test_our_own_form_is_known_by_its_origin(site: Site) -> None:
    assert (await _post_token(site, await site.token(), Origin=site.url))[0] == 303
    assert (await _post_token(site, await site.token(), **{"Sec-Fetch-Site": "same-origin"}))[0] == 303


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:1", "/a\r\nX: 1"]
)
async def test_the_login_leads_to_no_other_site(site: Site, target: str) -> None:
    form = {"token": await site.token(), "next": target}
    async with site.browser.post(f"{site.url}/login", data=form, allow_redirects=False) as answer:
        assert answer.headers["Location"] == "/"


async def test_a_cookie_is_no_way_into_the_api(site: Site) -> None:
    await site.log_in()
    async with site.browser.get(f"{site.url}/api/v1/runs") as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert (await answer.json())["error"]["code"] == "not_logged_in"


async def test_the_page_of_a_wrong_token_shows_no_token(site: Site) -> None:
    async with site.browser.post(f"{site.url}/login", data={"token": 'ccd_"><script>', "next": '"><script>'}) as answer:
        text = await answer.text()
    assert "<script" not in text
    assert "ccd_&#34;" not in text


class TestBehindAProxy:
    @pytest.fixture
    def server(self) -> ServerConfig:
        return ServerConfig(port=0, trusted_proxies=("127.0.0.1", "10.0.0.0/8"), public_url="https://tasks.example.com")

    async def test_visitors_are_told_apart_and_cannot_lie(self, site: Site) -> None:
        right = await site.token()
        for number in range(10):
            mine = {"X-Forwarded-For": f"198.51.100.{number}, 203.0.113.9, 10.1.2.3"}
            assert (await _post_token(site, "ccd_wrong", **mine))[0] == 403
        assert (await _post_token(site, right, **{"X-Forwarded-For": "203.0.113.9"}))[0] == 429
        assert (await _post_token(site, right, **{"X-Forwarded-For": "203.0.113.10"}))[0] == 303

    async def test_https_is_what_the_proxy_says(self, site: Site) -> None:
        _, cookie = await _post_token(site, await site.token(), **{"X-Forwarded-Proto": "https"})
        assert cookie.startswith("__Host-ccdtasks=")
        assert "Secure" in cookie
        async with site.browser.get(f"{site.url}/healthz", headers={"X-Forwarded-Proto": "https"}) as answer:
            assert "max-age" in answer.headers["Strict-Transport-Security"]

    async def test_a_proxy_that_hides_the_host_is_no_stranger(self, site: Site) -> None:
        headers = {"Origin": "https://tasks.example.com", "X-Forwarded-Proto": "https"}
        assert (await _post_token(site, await site.token(), **headers))[0] == 303

    async def test_links_lead_there(self, core: Core) -> None:
        assert (core.links.run(uuid4()) or "").startswith("https://tasks.example.com/r/")


async def test_nobody_else_is_believed_about_addresses(site: Site) -> None:
    for number in range(10):
        assert (await _post_token(site, "ccd_wrong", **{"X-Forwarded-For": f"203.0.113.{number}"}))[0] == 403
    assert (await _post_token(site, "ccd_wrong", **{"X-Forwarded-For": "203.0.113.99"}))[0] == 429
    async with site.browser.get(f"{site.url}/healthz", headers={"X-Forwarded-Proto": "https"}) as answer:
        assert "Strict-Transport-Security" not in answer.headers


class TestIpv6:
    @pytest.fixture
    def server(self) -> ServerConfig:
        return ServerConfig(port=0, trusted_proxies=("127.0.0.1",))

    async def test_a_whole_network_is_one_visitor(self, site: Site) -> None:
        for number in range(10):
            assert (await _post_token(site, "ccd_wrong", **{"X-Forwarded-For": f"[2001:db8::{number}]:443"}))[0] == 403
        assert (await _post_token(site, "ccd_wrong", **{"X-Forwarded-For": "2001:db8::ffff"}))[0] == 429
        assert (await _post_token(site, "ccd_wrong", **{"X-Forwarded-For": "2001:db8:0:1::1"}))[0] == 403


async def test_a_signed_link_opens_its_own_thing_and_expires(core: Core, clock: MoveableClock) -> None:
    run_id = uuid4()
    token = core.links.run_path(run_id).partition("?t=")[2]
    for _ in range(3):
        core.links.require_run(run_id, token)  # opening consumes nothing
    with pytest.raises(BadLink):
        core.links.require_run(uuid4(), token)
    with pytest.raises(BadLink):
        core.links.require_file(run_id, token)
    clock.advance(seconds=core.config.storage.link_ttl_s)
    with pytest.raises(ExpiredLink):
        core.links.require_run(run_id, token)


async def test_without_a_public_address_there_is_no_link(core: Core) -> None:
    assert core.links.run(uuid4()) is None


async def test_the_front_page_shows_ones_own_runs_and_is_escaped(site: Site) -> None:
    for actor, name in ((ALICE, "mine"), (BOB, "his")):
        await site.core.tasks.create(actor, TaskDraft(name, "Look."))
        await site.core.runs.start(actor, name)
    await site.log_in(ALICE)
    async with site.browser.get(site.url) as answer:
        text = await answer.text()
    assert "mine" in text
    assert "his" not in text.replace("This", "").replace("this", "")
