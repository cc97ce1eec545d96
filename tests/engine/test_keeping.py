"""Files of a run on their way into the store, while the store is away, and when it is back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ccdtasks.adapters.storage import LocalStore
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.claims import Claim
from ccdtasks.core.endings import Outcome
from ccdtasks.core.tasks import TaskDraft
from ccdtasks.db.enums import ArtifactKind, ArtifactState, Reason, RunStatus
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


async def test_a_store_that_is_away_delays_a_file_and_loses_nothing(
    core: Core, guest: GuestFolder, tmp_path: Path
) -> None:
    """The store's folder cannot be made at first: a file is in its way."""
    (tmp_path / "mount").touch()
    claim = await _claim(core)
    async with _keeper(core, tmp_path / "mount/store", tmp_path / "spool") as keeper:
        drafts = await keeper.keep_folder(guest, "runs/1", {"a.csv": "All"}, 1000)
        draft = drafts["a.csv"]
        assert (draft.state, draft.location, draft.caption) == (ArtifactState.LOCAL, "runs/1/a.csv", "All")
        await core.claims.finish(claim, Outcome(RunStatus.FAILED, Reason.AGENT_ERROR, artifacts=[draft]))
        assert await keeper.read("runs/1/a.csv", ArtifactState.LOCAL, 10) == b"a,b"
        with pytest.raises(Unavailable):
            await keeper.send_spooled()
        (tmp_path / "mount").unlink()
        await keeper.send_spooled()
        [artifact] = (await core.runs.load(claim.run_id)).artifacts
        assert artifact.state is ArtifactState.STORED
        assert await keeper.read(artifact.location or "", artifact.state, 10) == b"a,b"
        assert not (tmp_path / "spool/runs/1/a.csv").exists()


async def test_a_spooled_file_that_got_lost_is_noted(core: Core, guest: GuestFolder, tmp_path: Path) -> None:
    (tmp_path / "mount").touch()
    claim = await _claim(core)
    async with _keeper(core, tmp_path / "mount/store", tmp_path / "spool") as keeper:
        drafts = await keeper.keep_folder(guest, "runs/1", {}, 1000)
        await core.claims.finish(claim, Outcome(RunStatus.FAILED, artifacts=list(drafts.values())))
        (tmp_path / "spool/runs/1/a.csv").unlink()
        (tmp_path / "mount").unlink()
        await keeper.send_spooled()
        [artifact] = (await core.runs.load(claim.run_id)).artifacts
        assert artifact.state is ArtifactState.MISSING
        assert "lost" in (artifact.note or "")


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
