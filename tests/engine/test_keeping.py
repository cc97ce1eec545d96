"""Files of a run on their way into the store, while the store is away, and when it is back."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ccdtasks.adapters.storage import LocalStore
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.runs.claims import Claim
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import ArtifactKind, ArtifactState, RunStatus
from ccdtasks.engine.guest import GuestFolder
from ccdtasks.engine.keeping import Keeper, kind_of, type_of
from ccdtasks.errors import Unavailable


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
def guest(tmp_path: Path) -> GuestFolder:
    (tmp_path / "guest/out").mkdir(parents=True)
    (tmp_path / "guest/out/a.csv").write_text("a,b")
    return GuestFolder(tmp_path / "guest")


@asynccontextmanager
async def _keeper(core: Core, store: Path, spool: Path | None) -> AsyncIterator[Keeper]:
    with ThreadPoolExecutor(1) as threads:
        stores = [LocalStore(path) for path in (store, spool) if path]
        yield Keeper(core, stores[0], stores[1] if spool else None, threads)
        for each in stores:
            await each.close()


async def _claim(core: Core) -> Claim:
    await core.tasks.create(SHELL, TaskDraft("chore", "Do it"))
    await core.runs.start(SHELL, "chore")
    claim = await core.claims.claim_next(core.clock.now(), "boot", 10)
    assert claim is not None
    return claim


async def test_without_any_place_a_file_is_missing_with_a_note(core: Core, guest: GuestFolder, tmp_path: Path) -> None:
    (tmp_path / "mount").touch()
    async with _keeper(core, tmp_path / "mount/store", None) as keeper:
        draft = (await keeper.keep_folder(guest, "runs/1", {}, 1000))["a.csv"]
    assert draft.state is ArtifactState.MISSING
    assert "cannot be used" in (draft.note or "")


async def test_what_is_more_than_allowed_is_not_kept(core: Core, guest: GuestFolder, tmp_path: Path) -> None:
    (guest.path / "out/b.bin").write_bytes(bytes(900))
    (guest.path / "out/c.bin").write_bytes(bytes(900))
    async with _keeper(core, tmp_path / "store", None) as keeper:
        drafts = await keeper.keep_folder(guest, "runs/1", {}, 1000)
    states = {path: draft.state for path, draft in drafts.items()}
    assert states == {"a.csv": ArtifactState.STORED, "b.bin": ArtifactState.STORED, "c.bin": ArtifactState.MISSING}


async def test_files_of_one_name_in_two_folders_are_both_kept(core: Core, guest: GuestFolder, tmp_path: Path) -> None:
    (guest.path / "out/sub").mkdir()
    (guest.path / "out/sub/a.csv").write_text("other")
    async with _keeper(core, tmp_path / "store", None) as keeper:
        drafts = await keeper.keep_folder(guest, "runs/1", {}, 1000)
        kept = {path: await keeper.store.read(draft.location or "", 100) for path, draft in drafts.items()}
    assert kept == {"a.csv": b"a,b", "sub/a.csv": b"other"}


async def test_no_name_that_a_guest_can_choose_is_lost_or_escapes(
    core: Core, guest: GuestFolder, tmp_path: Path
) -> None:
    """Emoji, writing from right to left, what turns it, the longest names, and bytes that are no text at all."""
    names = ["✈️ 🇩🇪.csv", "دليل.csv", "x\u202egpj.exe", "x" * 255, "価" * 85, "..csv", "-rf", "a\nb", 'q"u`o.txt', " "]
    for name in names:
        (guest.path / "out" / name).write_text(name)
    with open(os.fsencode(guest.path / "out") + b"/\xff\xfe.bin", "wb") as file:
        file.write(b"raw")
    (guest.path / "out/trap").symlink_to("/etc/passwd")
    async with _keeper(core, tmp_path / "store", None) as keeper:
        drafts = await keeper.keep_folder(guest, "chore/1/1", {}, 100_000)
        kept = [await keeper.store.read(draft.location or "", 1000) for draft in drafts.values()]
    assert {draft.state for draft in drafts.values()} == {ArtifactState.STORED}
    assert sorted(kept) == sorted([name.encode() for name in names] + [b"raw", b"a,b"])
    assert len({draft.location for draft in drafts.values()}) == len(names) + 2
    assert {path.parent for path in (tmp_path / "store").rglob("*") if path.is_file()} == {tmp_path / "store/chore/1/1"}
    assert not any("\u202e" in draft.name for draft in drafts.values())


async def test_what_we_write_ourselves_never_lands_on_a_file_of_the_guest(core: Core, tmp_path: Path) -> None:
    async with _keeper(core, tmp_path / "store", None) as keeper:
        taken = {"container.log"}
        drafts = [
            await keeper.keep_bytes(name, name.encode(), "chore/1/1", ArtifactKind.LOG, taken)
            for name in ("container.log", "results-a/b.csv", "results-a|b.csv", "../../../etc/x", "x\x00" * 300)
        ]
        assert [draft.state for draft in drafts] == [ArtifactState.STORED] * 5
        assert len({draft.location for draft in drafts} | {"chore/1/1/container.log"}) == 6


async def test_that_there_were_too_many_files_is_told(core: Core, guest: GuestFolder, tmp_path: Path) -> None:
    for number in range(250):
        (guest.path / f"out/{number}.txt").write_text("x")
    async with _keeper(core, tmp_path / "store", None) as keeper:
        drafts = list((await keeper.keep_folder(guest, "chore/1/1", {}, 100_000)).values())
    assert len(drafts) == 201
    assert drafts[-1].state is ArtifactState.MISSING
    assert "more files than are kept" in (drafts[-1].note or "")


async def test_bytes_that_changed_in_the_store_are_refused(core: Core, guest: GuestFolder, tmp_path: Path) -> None:
    claim = await _claim(core)
    async with _keeper(core, tmp_path / "store", None) as keeper:
        draft = (await keeper.keep_folder(guest, "chore/1/1", {}, 1000))["a.csv"]
        await core.claims.finish(claim, Outcome(RunStatus.FAILED, artifacts=[draft]))
        [artifact] = (await core.runs.load(claim.run_id)).artifacts
        assert await keeper.bytes_of(artifact, 10) == b"a,b"
        (tmp_path / "store/chore/1/1/a.csv").write_text("a,c")
        with pytest.raises(Unavailable, match="damaged"):
            await keeper.bytes_of(artifact, 10)
        with (tmp_path / "copy").open("wb") as copy, pytest.raises(Unavailable, match="damaged"):
            await keeper.fetch(artifact, copy.fileno())


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("final.png", ArtifactKind.SCREENSHOT),
        ("logs/shot.png", ArtifactKind.LOG),
        ("a.CSV", ArtifactKind.TABLE),
        ("paper.pdf", ArtifactKind.DOWNLOAD),
        ("none", ArtifactKind.DOWNLOAD),
    ],
)
def test_files_are_sorted_by_place_and_ending(path: str, kind: ArtifactKind) -> None:
    assert kind_of(path) is kind


def test_no_file_of_a_guest_is_served_as_a_page_of_ours() -> None:
    for name in ("x.html", "x.HTM", "x.svg", "x.js", "x.xhtml", "x.xml"):
        assert type_of(name) == "text/plain"
    assert type_of("x.png") == "image/png"
    assert type_of("x.jsonl") == "application/x-ndjson"
    assert type_of("x") == "application/octet-stream"


async def test_what_only_pretends_to_be_a_picture_is_kept_as_a_file(
    core: Core, guest: GuestFolder, tmp_path: Path
) -> None:
    (tmp_path / "guest/out/real.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 20)
    (tmp_path / "guest/out/fake.png").write_bytes(b"<svg onload=alert(1)>")
    (tmp_path / "guest/out/empty.jpg").touch()
    async with _keeper(core, tmp_path / "store", None) as keeper:
        drafts = await keeper.keep_folder(guest, "runs/1", {}, 1000)
    kinds = {name: (draft.kind, draft.content_type) for name, draft in drafts.items() if name != "a.csv"}
    assert kinds == {
        "real.png": (ArtifactKind.SCREENSHOT, "image/png"),
        "fake.png": (ArtifactKind.DOWNLOAD, "application/octet-stream"),
        "empty.jpg": (ArtifactKind.DOWNLOAD, "application/octet-stream"),
    }
