"""Steps of a chain's life: what runs after what, and how each run ends."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import select

from ccdtasks.core import Core
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.records.artifacts import ArtifactDraft
from ccdtasks.core.runs.claims import Claim
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.db.models import Task, TaskRun
from tests.clock import MoveableClock
from tests.people import ANN
from tests.stories import BOOT, FINAL_PNG, RESULT, completed, lines


async def link(core: Core, *pairs: str, **more: Any) -> None:
    """`analyze > scrape`: analyze runs after scrape."""
    for pair in pairs:
        task, upstream = pair.split(" > ")
        await core.dependencies.add(ANN, task, upstream, **more)


async def begin_next(core: Core) -> Claim:
    """The next run in the queue gets a session that is up."""
    claimed = await core.claims.claim_next(core.clock.now(), BOOT, 10)
    assert claimed is not None, "nothing is in the queue"
    await core.claims.created(claimed, "c" * 64)
    await core.claims.running(claimed)
    return claimed


async def finish(
    core: Core,
    claimed: Claim,
    *files: ArtifactDraft,
    reason: Reason | None = None,
    result: dict[str, Any] | None = None,
) -> None:
    """Ends a run well, or for `reason`; its container is gone."""
    if reason is None:
        await core.claims.record(claimed, lines({"type": "result", **RESULT, **(result or {})}), 100)
        await core.claims.collecting(claimed)
        await core.claims.finish(claimed, completed(artifacts=[FINAL_PNG, *files]))
    else:
        await core.claims.finish(claimed, Outcome(RunStatus.FAILED, reason))
    await core.claims.removed(claimed)


async def finish_next(
    core: Core, clock: MoveableClock, *files: ArtifactDraft, minutes: float = 0, reason: Reason | None = None
) -> str:
    """The next run in the queue from start to end; the name of its task."""
    claimed = await begin_next(core)
    clock.advance(minutes=minutes)
    await finish(core, claimed, *files, reason=reason)
    return (await core.tasks.load(claimed.task_id)).task_name


async def runs_of(core: Core, chain_id: UUID | None = None) -> list[tuple[str, RunStatus]]:
    """Task and state of all runs (of a chain), oldest first."""
    query = select(Task.task_name, TaskRun.status).join(Task, Task.id == TaskRun.task_id)
    if chain_id:
        query = query.where(TaskRun.chain_id == chain_id)
    async with core.db.read() as session:
        return [
            (name, status)
            for name, status in await session.execute(query.order_by(TaskRun.created_at, TaskRun.attempt))
        ]


async def run_of(core: Core, name: str) -> TaskRun:
    """The latest run of a task."""
    async with core.db.read() as session:
        query = select(TaskRun).join(Task, Task.id == TaskRun.task_id).where(Task.task_name == name)
        found = await session.scalar(query.order_by(TaskRun.created_at.desc(), TaskRun.attempt.desc()).limit(1))
    assert found is not None, f"{name} has no run"
    return found
