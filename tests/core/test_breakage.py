"""What is said to break is what would break: each saying is tried on the chains themselves."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from ccdtasks.core import Core
from ccdtasks.core.ending.breakage import Act
from ccdtasks.db.enums import RunStatus
from ccdtasks.errors import Conflict
from tests.clock import MoveableClock
from tests.core.chains import finish_next, link, runs_of
from tests.people import ANN
from tests.stories import make_task


async def prepare(core: Core, pairs: tuple[str, ...], anys: str, optional: tuple[str, ...]) -> None:
    """The tasks of `pairs`, linked; those in `anys` run after any, and the pairs of `optional` also after a failure."""
    for name in sorted({name for pair in pairs for name in pair.split(" > ")}):
        await make_task(core, name, retries={"attempts": 1})
    for pair in pairs:
        await link(core, pair, mode="any" if pair[0] in anys else "all", required=pair not in optional)


class Case(NamedTuple):
    """A graph (`anys`: tasks that run after any; `optional`: pairs), what is done to a task, and what comes of it."""

    pairs: tuple[str, ...]
    act: Act
    task: str
    stopped: tuple[str, ...] = ()
    go_on: tuple[str, ...] = ()
    anys: str = ""
    optional: tuple[str, ...] = ()


LINE, DIAMOND, JOIN = ("b > a", "c > b"), ("b > a", "c > a", "d > b", "d > c"), ("c > a", "c > b")


@pytest.mark.parametrize(
    "case",
    [
        Case(LINE, "delete", "a", stopped=("b", "c")),
        Case(LINE, "pause", "a", stopped=("b", "c")),
        Case(LINE, "pause", "c"),
        Case(LINE, "pause", "b", stopped=("c",)),
        Case(LINE, "pause", "b", go_on=("c",), optional=("c > b",)),
        Case(LINE, "delete", "b", stopped=("c",), optional=("c > b",)),
        Case(DIAMOND, "pause", "b", stopped=("d",)),
        Case(DIAMOND, "delete", "b", go_on=("d",)),
        Case(DIAMOND, "pause", "b", go_on=("d",), anys="d"),
        Case(DIAMOND, "delete", "a", stopped=("b", "c", "d")),
        Case(JOIN, "pause", "a", go_on=("c",), anys="c"),
        Case(JOIN, "delete", "a", go_on=("c",)),
    ],
    ids=str,
)
async def test_what_stops_and_what_goes_on(core: Core, clock: MoveableClock, case: Case) -> None:
    await prepare(core, case.pairs, case.anys, case.optional)
    task = case.task
    broken = await core.dependencies.broken_by((await core.tasks.find(ANN, task)).id, case.act)
    assert (tuple(broken.stopped), tuple(broken.go_on)) == (case.stopped, case.go_on)
    await (
        core.tasks.delete(ANN, task, confirm=True) if case.act == "delete" else core.schedules.pause(ANN, task, True)
    )
    for root in (name for name in "ab" if name != task and name not in [pair[0] for pair in case.pairs]):
        await core.runs.start(ANN, root)
        while (await core.queue.page(ANN)).total:
            await finish_next(core, clock)
    done = {name for name, status in await runs_of(core) if status is RunStatus.COMPLETED}
    assert done.isdisjoint(case.stopped)
    assert done >= set(case.go_on)


async def test_a_refusal_says_both(core: Core) -> None:
    await prepare(core, ("b > a", "c > a", "c > d"), "", ())
    with pytest.raises(Conflict) as refused:
        await core.tasks.delete(ANN, "a")
    assert refused.value.message == "It would no longer start b, which runs after a. c goes on without a."
    with pytest.raises(Conflict, match=r"^c goes on without d\. \(confirm"):
        await core.schedules.pause(ANN, "d")
    await core.schedules.pause(ANN, "d", confirm=True)
