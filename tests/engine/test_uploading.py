"""Files on their way to a remote store that is away, slow, lying or picky; over restarts and kills."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from ccdtasks.adapters.s3 import S3Store
from ccdtasks.adapters.storage import LocalStore
from ccdtasks.app import open_core
from ccdtasks.config import Config, PathsConfig, StorageConfig
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import ArtifactKind, ArtifactState, Reason, RunStatus
from ccdtasks.db.models import Artifact, DiscordMessage
from ccdtasks.engine.assembly import open_keeper
from ccdtasks.engine.guest import GuestFolder
from ccdtasks.engine.keeping import Keeper
from ccdtasks.engine.uploading import UploadLoop
from ccdtasks.errors import Unavailable
from tests.clock import MoveableClock
from tests.doubles.s3 import BUCKET, MoodyS3, moody_s3, s3_server, store_at


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with s3_server() as url:
        yield url


class Box(SimpleNamespace):
    """A box with a remote store, and a run that left files."""

    core: Core
    keeper: Keeper
    moody: MoodyS3
    store: S3Store
    spool: Path
    loop: UploadLoop
    guest: GuestFolder

    async def leave(self, **files: bytes) -> None:
        """A run ends, with these files."""
        for name, data in files.items():
            (self.guest.path / "out" / name).write_bytes(data)
        await self.core.runs.start(SHELL, "chore")
        claim = await self.core.claims.claim_next(self.core.clock.now(), "boot", 10)
        assert claim is not None
        drafts = await self.keeper.keep_folder(self.guest, f"chore/{claim.run_id}/1", {}, 1 << 30)
        assert {draft.state for draft in drafts.values()} == {ArtifactState.LOCAL}
        await self.core.claims.finish(claim, Outcome(RunStatus.FAILED, Reason.BLOCKED, artifacts=list(drafts.values())))
        for path in (self.guest.path / "out").iterdir():
            path.unlink()

    async def files(self) -> dict[str, Artifact]:
        """All files, by name."""
        runs = (await self.core.runs.page(SHELL, limit=100)).rows
        return {each.name: each for row in runs for each in (await self.core.runs.load(row.run.id)).artifacts}

    async def states(self) -> dict[str, str]:
        return {name: artifact.state.value for name, artifact in (await self.files()).items()}

    def restart(self) -> None:
        """A new process over the same rows and folders."""
        self.loop = UploadLoop(self.core, self.keeper)


@pytest.fixture
async def box(core: Core, s3_url: str, tmp_path: Path) -> AsyncIterator[Box]:
    (tmp_path / "guest/out").mkdir(parents=True)
    await core.tasks.create(SHELL, TaskDraft("chore", "Do it"))
    async with moody_s3(s3_url) as (moody, store):
        spool = LocalStore(tmp_path / "spool")
        with ThreadPoolExecutor(1) as threads:
            keeper = Keeper(core, store, spool, threads)
            yield Box(
                core=core,
                keeper=keeper,
                moody=moody,
                store=store,
                spool=tmp_path / "spool",
                loop=UploadLoop(core, keeper),
                guest=GuestFolder(tmp_path / "guest"),
            )
        await spool.close()


async def test_a_run_does_not_wait_for_the_store_and_its_files_can_be_read_at_once(box: Box) -> None:
    box.moody.mood = "silent"
    await box.leave(a=b"mine")
    artifact = (await box.files())["a"]
    assert await box.keeper.bytes_of(artifact, 10) == b"mine"
    assert box.keeper.path_of(artifact) == box.spool / (artifact.location or "")
    assert box.moody.puts == []


@pytest.mark.parametrize("mood", ["errors", "drops", "truncates"])
async def test_an_outage_delays_files_and_loses_none(box: Box, clock: MoveableClock, mood: str) -> None:
    box.moody.mood = mood
    await box.leave(a=b"mine", b=os.urandom(100_000), c=b"x")
    with pytest.raises(Unavailable):
        await box.loop.send_waiting()
    assert await box.states() == {"a": "local", "b": "local", "c": "local"}
    box.moody.mood = "good"
    clock.advance(minutes=11)
    assert await box.loop.send_waiting() == 3
    assert await box.states() == {"a": "stored", "b": "stored", "c": "stored"}
    for artifact in (await box.files()).values():
        assert box.keeper.path_of(artifact) is None
        assert len(await box.keeper.bytes_of(artifact, 1 << 20)) == artifact.size_bytes
    assert list(box.spool.rglob("*")) == []


@pytest.mark.slow
async def test_a_store_that_is_away_is_asked_less_and_less(box: Box, clock: MoveableClock) -> None:
    box.moody.mood = "errors"
    await box.leave(**{f"f{number}": b"x" for number in range(20)})
    asked = []
    for _ in range(3600):
        before = len(box.moody.puts)
        try:
            await box.loop.send_waiting()
        except Unavailable:
            asked.append(len(box.moody.puts) - before)
        clock.advance(seconds=1)
    assert 8 <= len(asked) <= 20  # an hour of outage
    assert max(asked) <= 6  # three files, two attempts each
    box.moody.mood = "good"
    sent = 0
    for _ in range(1200):
        sent += await box.loop.send_waiting()
        clock.advance(seconds=1)
    assert sent == 20


@pytest.mark.slow
async def test_more_than_a_page_goes_at_once(box: Box) -> None:
    await box.leave(**{f"f{number:03}": b"x" for number in range(130)})
    assert await box.loop.send_waiting() == 130
    assert set((await box.states()).values()) == {"stored"}


async def test_one_file_that_the_store_dislikes_holds_up_no_other(box: Box, clock: MoveableClock) -> None:
    box.moody.mood = "refuses /bad"
    await box.leave(bad1=b"x", bad2=b"x", bad3=b"x", bad4=b"x", good1=b"x", good2=b"x")
    for _ in range(40):
        with suppress(Unavailable):
            await box.loop.send_waiting()
        clock.advance(seconds=5)
    states = await box.states()
    assert (states["good1"], states["good2"]) == ("stored", "stored")
    assert states["bad1"] == "local"


async def test_a_process_killed_in_the_middle_of_sending_sends_again(box: Box, clock: MoveableClock) -> None:
    box.moody.mood = "silent"
    await box.leave(a=b"mine")
    sending = asyncio.create_task(box.loop.send_waiting())
    await box.moody.asked.wait()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    box.moody.mood = "good"
    box.restart()
    assert await box.loop.send_waiting() == 1
    assert await box.keeper.bytes_of((await box.files())["a"], 10) == b"mine"


async def test_killed_between_the_store_and_the_row_it_is_sent_again_and_doubles_nothing(box: Box) -> None:
    await box.leave(a=b"mine")
    artifact = (await box.files())["a"]
    with (box.spool / (artifact.location or "")).open("rb") as file:
        await box.store.put(artifact.location or "", file.fileno(), content_type="text/plain", max_bytes=10)
    box.restart()
    assert await box.loop.send_waiting() == 1
    assert box.moody.puts == [artifact.location] * 2


async def test_killed_between_the_row_and_the_spool_the_copy_is_swept_later(box: Box, clock: MoveableClock) -> None:
    await box.leave(a=b"mine", b=b"too")
    files = await box.files()
    await box.core.artifacts.stored(files["a"].id, files["a"].location or "")
    long_ago = (clock.now().timestamp() - 2 * 86400,) * 2
    for artifact in files.values():
        os.utime(box.spool / (artifact.location or ""), long_ago)
    box.moody.mood = "errors"
    running = asyncio.create_task(box.loop.run())
    await box.moody.asked.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [path.name for path in box.spool.rglob("*") if path.is_file()] == ["b"]


async def test_what_was_lost_or_changed_on_the_disk_is_noted_and_not_sent_as_if_whole(box: Box) -> None:
    await box.leave(lost=b"mine", changed=b"mine", grown=b"mine", good=b"mine")
    files = await box.files()
    (box.spool / (files["lost"].location or "")).unlink()
    (box.spool / (files["changed"].location or "")).write_bytes(b"mime")
    (box.spool / (files["grown"].location or "")).write_bytes(b"mine, and more")
    await box.loop.send_waiting()
    files = await box.files()
    assert {name: artifact.state.value for name, artifact in files.items()} == {
        "lost": "missing",
        "changed": "missing",
        "grown": "missing",
        "good": "stored",
    }
    assert "lost before the store took it" in (files["lost"].note or "")
    assert "changed on the disk" in (files["changed"].note or "")


async def test_a_result_is_told_again_once_when_its_last_file_is_stored(box: Box) -> None:
    await box.leave(a=b"1", b=b"2", c=b"3")
    before = await _revision(box.core)
    await box.loop.send_waiting()
    assert await _revision(box.core) == before + 1


@pytest.mark.slow
async def test_a_large_file_goes_in_parts_and_comes_back_whole(box: Box, tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 100
    await box.leave(video=data)
    assert await box.loop.send_waiting() == 1
    assert len(box.moody.puts) == 13  # parts of 8 MiB
    artifact = (await box.files())["video"]
    with (tmp_path / "copy").open("wb") as copy:
        await box.keeper.fetch(artifact, copy.fileno())
    assert (tmp_path / "copy").read_bytes() == data


async def _revision(core: Core) -> int:
    [row] = (await core.runs.page(SHELL)).rows
    query = select(DiscordMessage.revision).where(
        DiscordMessage.task_run_id == row.run.id, DiscordMessage.key == "result"
    )
    async with core.db.read() as session:
        return (await session.scalars(query)).one()


@pytest.mark.slow
async def test_a_store_that_never_answers_is_given_up_and_asked_again(box: Box, clock: MoveableClock) -> None:
    box.store.patience_s = 1
    box.moody.mood = "silent"
    await box.leave(a=b"1", b=b"2", c=b"3")
    with pytest.raises(Unavailable):
        await box.loop.send_waiting()
    box.moody.mood = "good"
    clock.advance(minutes=11)
    assert await box.loop.send_waiting() == 3


async def test_a_full_disk_is_the_reason_that_a_missing_file_gives(core: Core, tmp_path: Path) -> None:
    """Files of the guest may be more than what the disk still has."""
    (tmp_path / "guest/out").mkdir(parents=True)
    (tmp_path / "guest/out/small").write_bytes(b"x")
    (tmp_path / "guest/out/large").write_bytes(bytes(4 << 20))
    with _small_disk(tmp_path / "disk") as disk, ThreadPoolExecutor(1) as threads:
        spool = LocalStore(disk)
        keeper = Keeper(core, store_at("http://127.0.0.1:9"), spool, threads)
        drafts = await keeper.keep_folder(GuestFolder(tmp_path / "guest"), "chore/1/1", {}, 1 << 30)
        assert drafts["small"].state is ArtifactState.LOCAL
        assert drafts["large"].state is ArtifactState.MISSING
        assert "No space left" in (drafts["large"].note or "")
        assert [path.name for path in disk.rglob("*") if path.is_file()] == ["small"]
        await spool.close()
        await keeper.store.close()


@pytest.mark.slow
def test_a_process_killed_while_it_sends_is_followed_by_one_that_goes_on(tmp_path: Path, s3_url: str) -> None:
    """kill -9 in the middle of a large file, once while the store swallows it and does not answer."""
    asyncio.run(_kill_and_go_on(tmp_path, s3_url))


async def _kill_and_go_on(folder: Path, s3_url: str) -> None:
    data = os.urandom(30 << 20)
    async with moody_s3(s3_url) as (moody, store):
        config = Config(paths=PathsConfig(data_dir=folder / "d"), storage=_storage(moody.url))
        async with open_core(config) as core:
            with ThreadPoolExecutor(1) as threads:
                async with open_keeper(core, threads) as keeper:
                    await core.tasks.create(SHELL, TaskDraft("chore", "Do it"))
                    run_id = (await core.runs.start(SHELL, "chore")).run.id
                    claim = await core.claims.claim_next(core.clock.now(), "boot", 10)
                    assert claim is not None
                    draft = await keeper.keep_bytes("video", data, f"chore/{run_id}/1", ArtifactKind.DOWNLOAD)
                    await core.claims.finish(claim, Outcome(RunStatus.FAILED, Reason.BLOCKED, artifacts=[draft]))
        moody.mood = "swallows parts"
        words = f"asyncio.run(send({str(folder / 'd')!r}, {moody.url!r}))"
        program = f"import asyncio; from tests.engine.test_uploading import send; {words}"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
        await moody.asked.wait()
        process.kill()
        await process.wait()
        moody.mood = "good"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
        assert await process.wait() == 0
        async with open_core(config) as core:
            (artifact,) = (await core.runs.load(run_id)).artifacts
        assert artifact.state is ArtifactState.STORED
        assert await store.read(artifact.location or "", 1 << 30) == data
        assert list((folder / "d/spool").rglob("*")) == []


async def send(data_dir: str, url: str) -> None:
    """What the process under test does: the upload loop over what an earlier one left."""
    async with open_core(Config(paths=PathsConfig(data_dir=Path(data_dir)), storage=_storage(url))) as core:
        with ThreadPoolExecutor(1) as threads:
            async with open_keeper(core, threads) as keeper:
                await UploadLoop(core, keeper).send_waiting()


def _storage(url: str) -> StorageConfig:
    return StorageConfig(kind="s3", bucket=BUCKET, endpoint_url=url, access_key="key", secret_key="secret")


@contextmanager
def _small_disk(path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)
