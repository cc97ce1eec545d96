"""Both stores keep what they are given; S3 against a real HTTP server that speaks it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import aiohttp
import pytest

from ccdtasks.adapters.s3 import S3Store
from ccdtasks.adapters.storage import LocalStore, TooLarge
from ccdtasks.errors import NotFound, Unavailable

Store: TypeAlias = LocalStore | S3Store


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def _s3(url: str) -> S3Store:
    return S3Store(bucket="runs", endpoint_url=url, region=None, access_key="key", secret_key="secret")


@pytest.fixture(params=["local", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store
    if request.param == "local":
        made = LocalStore(tmp_path / "artifacts")
    else:
        url = request.getfixturevalue("s3_url")
        async with aiohttp.ClientSession() as session:
            await session.put(f"{url}/runs")
        made = _s3(url)
    yield made
    await made.close()


@contextmanager
def _open(path: Path, data: bytes) -> Iterator[int]:
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


async def test_keeps_what_it_is_given(store: Store, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    with _open(tmp_path / "source", data) as source:
        stored = await store.put("run/a.bin", source, content_type="application/octet-stream", max_bytes=len(data))
    assert (stored.size_bytes, stored.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert await store.read(stored.location, len(data)) == data


async def test_an_empty_file_is_kept_too(store: Store, tmp_path: Path) -> None:
    with _open(tmp_path / "source", b"") as source:
        stored = await store.put("run/empty", source, content_type="text/plain", max_bytes=0)
    assert stored.size_bytes == 0
    assert await store.read(stored.location, 1) == b""


async def test_a_file_that_grew_is_not_kept(store: Store, tmp_path: Path) -> None:
    with _open(tmp_path / "source", b"1234") as source, pytest.raises(TooLarge):
        await store.put("run/a", source, content_type="text/plain", max_bytes=3)
    with pytest.raises(NotFound):
        await store.read("run/a", 10)


async def test_reading_has_a_limit(store: Store, tmp_path: Path) -> None:
    with _open(tmp_path / "source", b"1234") as source:
        stored = await store.put("run/a", source, content_type="text/plain", max_bytes=4)
    with pytest.raises(TooLarge):
        await store.read(stored.location, 3)


async def test_what_is_gone_is_said(store: Store) -> None:
    await store.delete("run/nothing")
    with pytest.raises(NotFound):
        await store.read("run/nothing", 10)


async def test_checks_itself_and_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    await store.check()
    with _open(tmp_path / "source", b"after the check") as source:
        stored = await store.put("run/a", source, content_type="text/plain", max_bytes=100)
    assert await store.read(stored.location, 100) == b"after the check"
    if isinstance(store, LocalStore):
        assert [path.name for path in (tmp_path / "artifacts").rglob("*") if path.is_file()] == ["a"]


async def test_local_files_do_not_leave_their_folder(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "artifacts")
    (tmp_path / "secret").write_text("x")
    with pytest.raises(NotFound):
        await store.read("../secret", 10)
    await store.close()


async def test_a_local_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = LocalStore(tmp_path / "file/artifacts")
    with pytest.raises(Unavailable) as caught:
        await store.check()
    assert caught.value.part == "store"
    await store.close()


async def test_a_signed_link_downloads_the_file_under_its_name(s3_url: str, tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session:
        await session.put(f"{s3_url}/runs")
        store = _s3(s3_url)
        with _open(tmp_path / "source", b"a,b") as source:
            stored = await store.put("run/x", source, content_type="text/csv", max_bytes=10)
        link = await store.link(stored.location, name='pri"ces 🇩.csv', ttl_s=60)
        assert link is not None
        async with session.get(link) as answer:
            assert await answer.read() == b"a,b"
            said = answer.headers["Content-Disposition"]
            assert said == "attachment; filename=\"pri_ces _.csv\"; filename*=UTF-8''pri%22ces%20%F0%9F%87%A9.csv"
            assert answer.content_type == "application/octet-stream"
        await store.close()


async def test_a_bucket_that_is_away_is_said_without_the_key() -> None:
    store = _s3("http://127.0.0.1:9")
    with pytest.raises(Unavailable) as caught:
        await store.check()
    assert caught.value.part == "store"
    assert "secret" not in str(caught.value)
    await store.close()
