"""The one way in which a run changes its state: an UPDATE guarded by the old state and by the epoch."""

from __future__ import annotations

from collections.abc import Set
from typing import Any
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.states import sources_of
from ccdtasks.db.enums import RunStatus
from ccdtasks.db.models import TaskRun


class Lost(Exception):
    """The run belongs to a later claim or has ended: nothing was written, and the caller lets go of it."""


async def move(
    session: AsyncSession,
    run_id: UUID,
    target: RunStatus,
    *,
    epoch: int,
    sources: Set[RunStatus] | None = None,
    new_epoch: int | None = None,
    **values: Any,
) -> TaskRun:
    """Moves the run to `target` and returns its fresh row; raises Lost when state or epoch are not as expected.

    `sources` narrows the states that the table of moves allows; `new_epoch` shuts out the present claim.
    """
    allowed = sources_of(target) if sources is None else sources_of(target) & sources
    result = await session.execute(
        update(TaskRun)
        .where(TaskRun.id == run_id, TaskRun.epoch == epoch, TaskRun.status.in_(allowed))
        .values(status=target, epoch=epoch if new_epoch is None else new_epoch, **values)
        .execution_options(synchronize_session=False)
    )
    assert isinstance(result, CursorResult)  # noqa: S101 - an UPDATE has no other result
    if result.rowcount != 1:
        raise Lost(f"run {run_id} is not in epoch {epoch} on the way to {target}")
    return await session.get_one(TaskRun, run_id, populate_existing=True)
