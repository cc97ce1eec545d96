"""Files as browsers get them: whole, in parts, and never as pages of ours."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from ccdtasks.core.access import SHELL
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.records.artifacts import ArtifactDraft
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import ArtifactKind, ArtifactState, Reason, RunStatus
from ccdtasks.db.models import Artifact
from ccdtasks.engine.keeping import ArtifactStore
from tests.doubles.s3 import s3_server, store_at
from tests.web.conftest import ALICE, BOB, Site

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR" + bytes(100)
EVIL = b"<html><script>alert(document.domain)</script></html>"


@dataclass
class Shop:
    """A run of Alice's that left files."""

    site: Site
    source: Path

    async def keep(self, name: str, data: bytes, kind: ArtifactKind = ArtifactKind.SCREENSHOT) -> Artifact:
        """A file of a run, in the store."""
        self.source.write_bytes(data)
        descriptor = os.open(self.source, os.O_RDONLY)
        location = f"chore/{uuid4()}/{len(name)}"
        await self.site.keeper.store.put(location, descriptor, content_type="image/png", max_bytes=len(data))
        os.close(descriptor)
        return await self.row(name, data, kind, location)

    async def row(self, name: str, data: bytes, kind: ArtifactKind, location: str | None) -> Artifact:
        core = self.site.core
        await core.tasks.create(ALICE, TaskDraft(f"t{uuid4().hex}", "Do it"))
        await core.runs.start(ALICE, (await core.tasks.page(ALICE)).rows[0].task.task_name)
        claim = await core.claims.claim_next(core.clock.now(), "boot", 10)
        assert claim is not None
        state = ArtifactState.STORED if location else ArtifactState.MISSING
        digest = hashlib.sha256(data).hexdigest()
        draft = ArtifactDraft(name, kind, "image/png", len(data), digest, None, state, location, "The disk was full.")
        await core.claims.finish(claim, Outcome(RunStatus.FAILED, Reason.BLOCKED, artifacts=[draft]))
        return (await core.runs.load(claim.run_id)).artifacts[0]

    def address(self, artifact: Artifact, more: str = "") -> str:
        return self.site.url + self.site.core.links.file_path(artifact.id) + more


@pytest.fixture
def shop(site: Site, tmp_path: Path) -> Shop:
    return Shop(site, tmp_path / "source")


async def _get(address: str, **headers: str) -> tuple[aiohttp.ClientResponse, bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(address, headers=headers, allow_redirects=False) as answer,
    ):
        return answer, await answer.read()


async def test_a_file_is_saved_under_its_name_and_never_shown(shop: Shop) -> None:
    for name, data in (("page.html", EVIL), ("x.svg", EVIL), ("final.png", PNG)):
        answer, got = await _get(shop.address(await shop.keep(name, data)))
        assert (answer.status, got) == (200, data)
        assert answer.headers["Content-Disposition"].startswith(f'attachment; filename="{name}"')
        assert answer.content_type == "application/octet-stream"
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("data", "kind"),
    [(PNG, "image/png"), (b"\xff\xd8\xff\xe0" + bytes(20), "image/jpeg"), (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp")],
)
async def test_what_is_an_image_by_its_bytes_may_be_shown(shop: Shop, data: bytes, kind: str) -> None:
    answer, got = await _get(shop.address(await shop.keep("final.png", data), "&show=1"))
    assert (answer.content_type, answer.headers["Content-Disposition"], got) == (kind, "inline", data)
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; img-src 'self'; style-src")


@pytest.mark.parametrize("data", [EVIL, b"", b"\x89PNG\r\n\x1a\n<script>", b"GIF8", b"<svg onload=alert(1)>", b"RIFF"])
async def test_what_only_calls_itself_an_image_is_saved(shop: Shop, data: bytes) -> None:
    answer, _ = await _get(shop.address(await shop.keep("final.png", data), "&show=1"))
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.content_type == "application/octet-stream"


async def test_a_broken_download_goes_on_where_it_stopped(shop: Shop) -> None:
    data = os.urandom(300_000)
    artifact = await shop.keep("a.bin", data)
    answer, got = await _get(shop.address(artifact), Range="bytes=100000-")
    assert (answer.status, got) == (206, data[100_000:])
    assert answer.headers["Content-Range"] == "bytes 100000-299999/300000"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert (await _get(shop.address(artifact), Range="bytes=300000-"))[0].status == 416


async def test_a_hundred_megabytes_are_streamed(shop: Shop) -> None:
    data = os.urandom(1 << 20) * 100
    artifact = await shop.keep("video.webm", data, ArtifactKind.DOWNLOAD)
    digest = hashlib.sha256()
    async with aiohttp.ClientSession() as session, session.get(shop.address(artifact)) as answer:
        async for part in answer.content.iter_any():
            digest.update(part)
    assert digest.hexdigest() == artifact.sha256


async def test_names_of_strangers_are_one_header_and_no_more(shop: Shop) -> None:
    artifact = await shop.keep('pri"ces\r\nX-Evil: 1 🇩🇪.csv', b"x")
    answer, _ = await _get(shop.address(artifact))
    assert "X-Evil" not in answer.headers
    assert "%F0%9F%87%A9" in answer.headers["Content-Disposition"]


async def test_a_link_opens_its_own_file_alone(shop: Shop) -> None:
    one, other = await shop.keep("a", b"a"), await shop.keep("b", b"b")
    token = shop.address(one).partition("?t=")[2]
    for address in (
        f"{shop.site.url}/files/{other.id}?t={token}",
        f"{shop.site.url}/files/{one.id}?t=",
        f"{shop.site.url}/files/{one.id}?t={token[:-1]}",
        f"{shop.site.url}/files/{one.id}?t={shop.site.core.links.run_path(one.run_id).partition('?t=')[2]}",
    ):
        answer, got = await _get(address)
        assert answer.status == 403
        assert b"not valid here" in got
    for bad in ("x", "../../etc/passwd", "%2e%2e%2f", str(uuid4())):
        assert (await _get(f"{shop.site.url}/files/{bad}?t={token}"))[0].status in (403, 404)


async def test_a_link_that_has_expired_says_so(shop: Shop) -> None:
    artifact = await shop.keep("a", b"a")
    address = shop.address(artifact)
    shop.site.core.clock.advance(seconds=shop.site.core.config.storage.link_ttl_s)  # type: ignore[attr-defined]
    answer, got = await _get(address)
    assert answer.status == 403
    assert b"expired" in got
    assert b"/task-files gives a new one" in got


async def test_without_a_link_the_login_decides(shop: Shop) -> None:
    artifact = await shop.keep("a", b"mine")
    address, browser = f"{shop.site.url}/files/{artifact.id}", shop.site.browser
    answer, _ = await _get(address)
    assert (answer.status, answer.headers["Location"]) == (303, f"/login?next=%2Ffiles%2F{artifact.id}")
    await shop.site.log_in(BOB)
    async with browser.get(address) as other:
        assert other.status == 403
    await shop.site.log_in(ALICE)
    async with browser.get(address) as own:
        assert await own.read() == b"mine"


async def test_a_file_that_is_gone_or_was_never_kept_says_why(shop: Shop) -> None:
    missing = await shop.row("lost.bin", b"x", ArtifactKind.DOWNLOAD, None)
    answer, got = await _get(shop.address(missing))
    assert answer.status == 404
    assert b"The disk was full." in got
    gone = await shop.keep("a", b"a")
    path = shop.site.keeper.path_of(gone)
    assert path is not None
    path.unlink()
    answer, got = await _get(shop.address(gone))
    assert answer.status == 404
    escaping = await shop.row("a", b"a", ArtifactKind.DOWNLOAD, "../secret.key")
    assert (await _get(shop.address(escaping)))[0].status == 404


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with s3_server() as url:
        yield url


class TestInABucket:
    @pytest.fixture
    async def store(self, s3_url: str) -> ArtifactStore:
        async with aiohttp.ClientSession() as session:
            await session.put(f"{s3_url}/runs")
        return store_at(s3_url)

    async def test_our_link_leads_to_one_of_the_bucket_that_soon_ends(self, shop: Shop, s3_url: str) -> None:
        artifact = await shop.keep("page ü.html", EVIL)
        answer, _ = await _get(shop.address(artifact))
        assert answer.status == 302
        assert answer.headers["Location"].startswith(s3_url)
        assert "X-Amz-Expires=300" in answer.headers["Location"]
        there, got = await _get(answer.headers["Location"])
        assert got == EVIL
        assert there.headers["Content-Disposition"].startswith("attachment")
        assert there.content_type == "application/octet-stream"

    async def test_an_image_is_shown_by_us_and_another_thing_is_not(self, shop: Shop) -> None:
        answer, got = await _get(shop.address(await shop.keep("a.png", PNG), "&show=1"))
        assert (answer.status, answer.content_type, got) == (200, "image/png", PNG)
        answer, _ = await _get(shop.address(await shop.keep("a.png", EVIL), "&show=1"))
        assert answer.status == 302

    async def test_a_file_of_the_shell_comes_back_whole(self, shop: Shop, tmp_path: Path) -> None:
        artifact = await shop.keep("a.bin", b"x" * 1000)
        with (tmp_path / "copy").open("wb") as copy:
            await shop.site.keeper.fetch(artifact, copy.fileno())
        assert (tmp_path / "copy").read_bytes() == b"x" * 1000
        assert (await shop.site.core.artifacts.find(SHELL, artifact.run_id, "a.bin")).sha256 == artifact.sha256
