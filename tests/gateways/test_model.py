"""The model gateway from a session's side: what goes through, what comes back, and what never does."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ccdtasks.errors import Conflict, Invalid
from ccdtasks.gateways.credential import Credential
from ccdtasks.gateways.model import ModelGateway
from ccdtasks.gateways.prices import PriceTable
from tests.doubles.model_upstream import Drops, Hangs, ModelUpstream, Streams, refuses
from tests.gateways.modelling import BODY, DUMMY, KEY, SECRET, TOKEN, error_of, grant, session

pytestmark = pytest.mark.timeout(60)  # a stream that never ends must fail, not hang


@pytest.fixture
async def upstream() -> AsyncIterator[ModelUpstream]:
    async with ModelUpstream(SECRET) as double:
        yield double
        assert double.faults == []


@pytest.mark.parametrize("real", [KEY, TOKEN], ids=["key", "token"])
@pytest.mark.parametrize(
    "shown",
    [
        {"x-api-key": DUMMY},
        {"x-api-key": "", "Authorization": f"Bearer {DUMMY}"},
        {
            "x-api-key": "",
            "Authorization": f"Bearer {DUMMY}",
            "anthropic-beta": "claude-code-20250219,oauth-2025-04-20",
        },
    ],
    ids=["as key", "as auth token", "as subscription token"],
)
async def test_each_kind_of_dummy_reaches_the_api_as_each_kind_of_credential(
    folder: Path, real: Credential, shown: dict[str, str]
) -> None:
    async with ModelUpstream(SECRET, real.kind, prefix="/a/prefix") as upstream:
        async with session(folder, upstream.url, credential=real) as client:
            if not shown["x-api-key"]:
                shown = {name: value for name, value in shown.items() if value}
                headers = {"anthropic-version": "2023-06-01", **shown}
                async with client.http.post(
                    "http://localhost/v1/messages?beta=true", data=json.dumps(BODY), headers=headers
                ) as response:
                    status, body = response.status, await response.read()
            else:
                status, body = await client.ask(headers=shown)
        assert status == 200
        assert b"message_stop" in body
        assert upstream.faults == []
        assert upstream.requests[0].path_and_query == "/a/prefix/v1/messages?beta=true"


async def test_everything_but_the_credential_is_passed_on_unchanged(folder: Path, upstream: ModelUpstream) -> None:
    body = b'{ "model":"claude-sonnet-5",\n "messages" : [{"role":"user","content":"\xc3\xa4 \\u00e4"}], "x":1.0 }'
    sent = {
        "anthropic-beta": "claude-code-20250219, interleaved-thinking-2025-05-14",
        "User-Agent": "claude-cli/2.1.197 (external, sdk-cli)",
        "X-Claude-Code-Session-Id": "abc",
        "x-app": "cli",
        "Cookie": "a=b",
    }
    async with session(folder, upstream.url) as client:
        status, _ = await client.ask(body, headers=sent)
    assert status == 200
    (seen,) = upstream.requests
    assert seen.body == body
    del sent["Cookie"]
    assert {name: seen.header(name) for name in sent} == {name: [value] for name, value in sent.items()}


async def test_the_answer_streams_while_the_api_still_holds_the_rest(folder: Path, upstream: ModelUpstream) -> None:
    hold = asyncio.Event()
    upstream.then(Streams(hold=hold))
    async with session(folder, upstream.url) as client, client.post() as response:
        first = b""
        while b"Hello" not in first:  # hangs here if anything is buffered
            first += await response.content.readany()
        assert b"there" not in first
        assert response.headers["request-id"] == "req_1"
        assert "Set-Cookie" not in response.headers
        hold.set()
        rest = await response.read()
    assert b"there" in rest
    assert b"message_stop" in rest


async def test_a_whole_answer_passes_and_is_metered(folder: Path, upstream: ModelUpstream) -> None:
    usage = {"input_tokens": 10, "output_tokens": 20}
    answer = refuses(200, "unused")
    answer.body = {"type": "message", "usage": usage}
    upstream.then(answer)
    async with session(folder, upstream.url) as client:
        status, body = await client.ask({**BODY, "stream": False})
    assert (status, json.loads(body)["usage"]) == (200, usage)
    total = client.served.total["claude-sonnet-5"]
    assert (total.input_tokens, total.output_tokens, total.requests) == (10, 20, 1)


async def test_tokens_are_counted_without_a_bill(folder: Path, upstream: ModelUpstream) -> None:
    async with session(folder, upstream.url) as client:
        assert await client.ask(path="/v1/messages/count_tokens") == (200, b'{"input_tokens": 42}')
    assert client.served.total == {}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/messages"),
        ("POST", "/v1/messages/batches"),
        ("POST", "/v1/files"),
        ("GET", "/v1/models"),
        ("POST", "/v1/messages/"),
        ("POST", "//v1/messages"),
        ("POST", "/v1/messages/count_tokens/.."),
        ("POST", "/v1/complete"),
        ("DELETE", "/v1/messages?beta=true"),
    ],
)
async def test_no_other_call_reaches_the_api(folder: Path, upstream: ModelUpstream, method: str, path: str) -> None:
    async with session(folder, upstream.url) as client:
        status, body = await client.ask(path=path, method=method)
    assert (status, error_of(body)[0]) == (403, "permission_error")
    assert upstream.requests == []


@pytest.mark.parametrize(
    "shown",
    [
        {"x-api-key": "sk-ant-api03-other"},
        {"x-api-key": SECRET},
        {"Authorization": f"Bearer {DUMMY}x"},
        {"Authorization": f"Basic {DUMMY}"},
        {"x-api-key": ""},
    ],
)
async def test_only_the_sessions_own_dummy_opens_the_socket(
    folder: Path, upstream: ModelUpstream, shown: dict[str, str]
) -> None:
    async with session(folder, upstream.url) as client:
        status, body = await client.ask(headers=shown)
    assert (status, error_of(body)[0]) == (403, "permission_error")
    assert upstream.requests == []


async def test_a_refused_credential_ends_the_cli_at_once_and_is_reported(folder: Path, upstream: ModelUpstream) -> None:
    failures: list[bool] = []
    wrong = Credential("api_key", "sk-ant-api03-expired")
    async with session(folder, upstream.url, credential=wrong, on_auth_failure=lambda: failures.append(True)) as client:
        status, body = await client.ask()
    assert status == 403
    assert error_of(body)[0] == "authentication_error"
    assert failures == [True]
    assert client.served.auth_failed


async def test_a_revoked_token_counts_as_a_refused_credential(folder: Path, upstream: ModelUpstream) -> None:
    failures: list[bool] = []
    upstream.then(refuses(403, "permission_error", "OAuth token has been revoked. Please obtain a new token."))
    async with session(folder, upstream.url, on_auth_failure=lambda: failures.append(True)) as client:
        status, body = await client.ask()
    assert (status, error_of(body)[0], failures) == (403, "authentication_error", [True])


async def test_without_a_credential_every_request_says_so(folder: Path, upstream: ModelUpstream) -> None:
    failures: list[bool] = []
    async with session(folder, upstream.url, credential=None, on_auth_failure=lambda: failures.append(True)) as client:
        status, body = await client.ask()
    assert (status, error_of(body)[0], failures) == (403, "authentication_error", [True])
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("status", "kind", "headers"),
    [
        (429, "rate_limit_error", {"retry_after": "7", "anthropic_ratelimit_unified_reset": "1800000000"}),
        (529, "overloaded_error", {"x_should_retry": "true"}),
        (400, "invalid_request_error", {}),
        (500, "api_error", {}),
        (403, "permission_error", {}),
    ],
)
async def test_the_apis_own_errors_pass_with_their_headers(
    folder: Path, upstream: ModelUpstream, status: int, kind: str, headers: dict[str, str]
) -> None:
    upstream.then(refuses(status, kind, "as said", **headers))
    failures: list[bool] = []
    async with (
        session(folder, upstream.url, on_auth_failure=lambda: failures.append(True)) as client,
        client.post() as response,
    ):
        assert response.status == status
        assert error_of(await response.read()) == (kind, "as said")
        for name, value in headers.items():
            assert response.headers[name.replace("_", "-")] == value
    assert failures == []
    assert not client.served.auth_failed


async def test_the_secret_never_comes_back_nor_into_a_log(
    folder: Path, upstream: ModelUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    upstream.then(refuses(400, "invalid_request_error", f"you sent {SECRET}", x_echo=f"Bearer {SECRET}"), Drops())
    async with session(folder, upstream.url) as client:
        async with client.post() as response:
            everything = await response.read() + str(response.headers).encode()
        status, dropped = await client.ask()
    assert status == 502
    assert b"you sent [removed]" in everything
    assert SECRET.encode() not in everything + dropped
    assert SECRET not in caplog.text
    assert SECRET not in repr(KEY) + repr(client.served) + repr(grant())


async def test_an_api_that_cannot_be_reached_is_an_error_the_cli_repeats(folder: Path) -> None:
    async with session(folder, "http://127.0.0.1:1") as client:
        status, body = await client.ask()
    assert (status, error_of(body)[0]) == (502, "api_error")


async def test_an_api_that_never_answers_is_given_up(folder: Path, upstream: ModelUpstream) -> None:
    hangs = Hangs()
    upstream.then(hangs)
    async with session(folder, upstream.url, silence_s=0.05) as client:
        status, body = await client.ask()
        await hangs.left.wait()
    assert (status, error_of(body)[0]) == (504, "timeout_error")


@pytest.mark.parametrize("silent", [False, True], ids=["cut", "silent"])
async def test_a_stream_that_breaks_looks_broken_and_is_metered(
    folder: Path, upstream: ModelUpstream, silent: bool
) -> None:
    text = "x" * 400
    upstream.then(Streams(texts=(text, "more"), cut=not silent, hold=asyncio.Event() if silent else None))
    async with session(folder, upstream.url, silence_s=0.5 if silent else 120.0) as client:
        with pytest.raises(aiohttp.ClientPayloadError):
            await client.ask()
        if silent:
            await upstream.client_left.wait()
    total = client.served.total["claude-sonnet-5"]
    assert (total.input_tokens, total.cache_read_tokens, total.cache_write_tokens) == (1000, 200, 40)
    assert total.output_tokens == 100  # a quarter of the characters that came: the API never said the number


async def test_a_client_that_leaves_frees_the_api_at_once(folder: Path, upstream: ModelUpstream) -> None:
    upstream.then(Streams(hold=asyncio.Event()))
    async with session(folder, upstream.url) as client:
        async with client.post() as response:
            await response.content.readany()
            response.close()
        await upstream.client_left.wait()
    assert client.served.total["claude-sonnet-5"].requests == 1


async def test_a_revoked_session_is_cut_and_refused(folder: Path, upstream: ModelUpstream) -> None:
    upstream.then(Streams(hold=asyncio.Event()))
    async with session(folder, upstream.url) as client:
        async with client.post() as response:
            await response.content.readany()
            client.served.revoke()
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
        await upstream.client_left.wait()
        status, body = await client.ask()
        assert status == 403
        assert "over" in error_of(body)[1]
    assert len(upstream.requests) == 1


async def test_closing_settles_what_was_flowing(folder: Path, upstream: ModelUpstream) -> None:
    upstream.then(Streams(hold=asyncio.Event()))
    async with session(folder, upstream.url) as client, client.post() as response:
        await response.content.readany()
        await client.served.close()
        assert client.served.total["claude-sonnet-5"].input_tokens == 1000
        assert not (folder / "model.sock").exists()
    assert sum(usage.requests for usage in client.usages) == 1


async def test_a_socket_is_served_again_at_its_path_after_a_crash(folder: Path, upstream: ModelUpstream) -> None:
    path = folder / "model.sock"
    async with ModelGateway(KEY, upstream.url, PriceTable()) as first:
        crashed = await first.serve(path, grant(), lambda _: None)
        async with session(folder, upstream.url) as client:  # the second life; the first one's socket lies there
            assert (await client.ask())[0] == 200
            await crashed.close()  # and must not remove what is not its own any more
            assert path.is_socket()
            assert path.stat().st_mode & 0o777 == 0o666
    assert not path.exists()


async def test_what_is_no_socket_is_never_removed(folder: Path, upstream: ModelUpstream) -> None:
    (folder / "model.sock").write_text("precious")
    with pytest.raises(Conflict):
        async with session(folder, upstream.url):
            pass
    assert (folder / "model.sock").read_text() == "precious"


async def test_a_path_too_long_for_a_socket_is_named(folder: Path, upstream: ModelUpstream) -> None:
    long = folder / ("x" * 60) / ("y" * 60)
    long.mkdir(parents=True)
    with pytest.raises(Invalid, match="107"):
        async with session(long, upstream.url):
            pass


async def test_the_first_request_is_dated(folder: Path, upstream: ModelUpstream) -> None:
    async with session(folder, upstream.url) as client:
        await client.ask(path="/v1/models")
        assert client.served.first_request_at is None
        await client.ask()
        first = client.served.first_request_at
        await client.ask()
        assert first is not None
        assert client.served.first_request_at == first


async def test_a_body_of_megabytes_passes_and_one_beyond_the_limit_does_not(
    folder: Path, upstream: ModelUpstream
) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 8_000_000}}
    big: dict[str, Any] = {**BODY, "messages": [{"role": "user", "content": [image]}]}
    async with session(folder, upstream.url) as client:
        assert (await client.ask(big))[0] == 200
        assert len(upstream.requests[0].body) > 8_000_000
        async with client.post(b" " * (32 * 1024 * 1024 + 1)) as response:
            assert response.status == 413
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("url", ["ftp://x", "http://", "https://u:p@host", "https://host?x=1", "host"])
def test_an_address_that_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        ModelGateway(KEY, url, PriceTable())
    assert caught.value.field == "claude.base_url"


def test_a_dummy_has_the_shape_of_the_real_thing_and_is_new_each_time() -> None:
    assert KEY.dummy().startswith("sk-ant-api03-")
    assert TOKEN.dummy().startswith("sk-ant-oat01-")
    assert KEY.dummy() != KEY.dummy()
    assert len(KEY.dummy()) == len(TOKEN.dummy()) == 108


async def test_a_session_cannot_use_up_the_descriptors_of_all(folder: Path, upstream: ModelUpstream) -> None:
    async with session(folder, upstream.url) as client:
        crowd = [await asyncio.open_unix_connection(folder / "model.sock") for _ in range(600)]
        cut = [asyncio.ensure_future(reader.read()) for reader, _ in crowd]
        done, _ = await asyncio.wait(cut, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 600 - 64 - 128:  # those that arrive in one batch are counted after it
            done, _ = await asyncio.wait(cut, timeout=10)
        for _, writer in crowd:
            writer.close()
        await asyncio.wait(cut)
        assert (await client.ask())[0] == 200
