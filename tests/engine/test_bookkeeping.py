"""Clean-ups as the service carries them out: files first, over outages and restarts, and older runs into the sums."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select, update

from ccdtasks.adapters.storage import LocalStore
from ccdtasks.core import Core
from ccdtasks.core.figures.cleanups import Wanted
from ccdtasks.db.enums import ArtifactKind
from ccdtasks.db.models import Cleanup, DiscordThread, TaskRun
from ccdtasks.engine.bookkeeping import Bookkeeping
from ccdtasks.engine.keeping import Keeper
from ccdtasks.errors import Unavailable
from tests.clock import MoveableClock
from tests.people import ANN
from tests.stories import completed, lines, running


@pytest.fixture
def database_kind() -> str:
    """The rows are tested on both in tests/core; here it is about files."""
    return "sqlite"


@pytest.fixture
def folder(data_dir: Path) -> Path:
    return data_dir / "artifacts"


@pytest.fixture
async def keeper(core: Core, folder: Path) -> AsyncIterator[Keeper]:
    store = LocalStore(folder)
    with ThreadPoolExecutor(1) as threads:
        yield Keeper(core, store, None, threads)
    await store.close()


class Shut:
    """Discord that is away until it is opened."""

    def __init__(self) -> None:
        self.is_open = False
        self.closed: list[str] = []

    async def close_thread(self, thread: DiscordThread) -> None:
        if not self.is_open:
            raise Unavailable("discord", "Discord does not answer.", "it is tried again")
        self.closed.append(thread.thread_id)


async def _run(core: Core, keeper: Keeper, clock: MoveableClock) -> None:
    claimed = await running(core)
    await core.claims.record(claimed, lines({"type": "result", "summary": "Yes"}), 100)
    prefix = f"runs/{claimed.run_id}/1"
    table = await keeper.keep_bytes("results.csv", b"a,b\r\n", prefix, ArtifactKind.TABLE)
    shot = await keeper.keep_bytes("final.png", b"png", prefix, ArtifactKind.SCREENSHOT)
    await core.claims.collecting(claimed)
    await core.claims.finish(claimed, completed(artifacts=[table, shot]))
    await core.claims.removed(claimed)
    await core.runs.set_thread(claimed.run_id, "1", str(claimed.run_id.int % 10**18), "Run", "complete")
    clock.advance(days=1)


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


async def _begin(core: Core) -> None:
    plan = await core.cleanups.plan(ANN, "ticket-checker", Wanted(keep_last=1))
    await core.cleanups.start(ANN, plan.task.id, plan.rule)


async def _runs(core: Core) -> int:
    async with core.db.read() as session:
        return len((await session.scalars(select(TaskRun.id))).all())


async def test_files_go_and_then_their_rows(core: Core, keeper: Keeper, clock: MoveableClock, folder: Path) -> None:
    for _ in range(3):
        await _run(core, keeper, clock)
    assert _files(folder) == 6
    await _begin(core)
    books = Bookkeeping(core, keeper)
    while await books.step():
        pass
    assert (_files(folder), await _runs(core)) == (2, 1)
    async with core.db.read() as session:
        (row,) = await session.scalars(select(Cleanup))
    assert row.finished_at is not None
    assert (row.removed["runs"], row.removed["files"]) == (2, 4)


async def test_a_crash_between_files_and_rows_loses_nothing(
    core: Core, keeper: Keeper, clock: MoveableClock, folder: Path
) -> None:
    for _ in range(2):
        await _run(core, keeper, clock)
    await _begin(core)
    work = await core.cleanups.next_work()
    assert work is not None
    await keeper.delete(work.files[0])  # and the process dies
    while await Bookkeeping(core, keeper).step():
        pass
    assert (_files(folder), await _runs(core)) == (2, 1)


async def test_a_store_that_is_away_is_waited_for(
    core: Core, keeper: Keeper, clock: MoveableClock, folder: Path
) -> None:
    for _ in range(2):
        await _run(core, keeper, clock)
    await _begin(core)
    books = Bookkeeping(core, _Away(keeper))  # type: ignore[arg-type]
    assert not await books.step()
    assert (_files(folder), await _runs(core)) == (4, 2)
    while await Bookkeeping(core, keeper).step():
        pass
    assert (_files(folder), await _runs(core)) == (2, 1)


class _Away:
    """A keeper whose store does not answer."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper

    async def delete(self, _artifact: object) -> None:
        raise Unavailable("store", "The store does not answer.", "it is tried again")


async def test_threads_wait_for_discord(core: Core, keeper: Keeper, clock: MoveableClock) -> None:
    for _ in range(2):
        await _run(core, keeper, clock)
    await _begin(core)
    discord = Shut()
    while await Bookkeeping(core, keeper, discord).step():
        pass
    assert discord.closed == []
    discord.is_open = True
    await Bookkeeping(core, keeper, discord).step()
    assert len(discord.closed) == 1
    assert await core.cleanups.threads_to_close() == []


async def test_runs_of_an_older_version_are_counted_in_the_background(
    core: Core, keeper: Keeper, clock: MoveableClock
) -> None:
    await _run(core, keeper, clock)
    async with core.db.write() as session:
        await session.execute(update(TaskRun).values(counted_at=None))
    assert (await core.metrics.of(ANN)).is_counting
    assert await Bookkeeping(core, keeper).step()
    assert not (await core.metrics.of(ANN)).is_counting
