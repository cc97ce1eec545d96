"""Looks a run's result up beside that of the last good run: what is new, before anything about it is told."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Text, cast, select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.outcome.changes import Changes, compare
from ccdtasks.core.outcome.results import Result, stored_result
from ccdtasks.db.enums import RunStatus
from ccdtasks.db.models import TaskRun

_LOOKED_BACK = 50


async def changes_of(session: AsyncSession, run_id: UUID) -> Changes | None:
    """What this run's result says that the last good one with the same values did not; None without such a run.

    Nothing here holds up the event loop, however long the results are.
    """
    run = (await session.execute(select(TaskRun.task_id, TaskRun.parameters).where(TaskRun.id == run_id))).one()
    before = await _last_good(session, run_id, run.task_id, run.parameters)
    now = await whole_result(session, run_id)
    if before is None or now is None:
        return None
    earlier = await whole_result(session, before.id)
    if earlier is None:
        return None
    return await asyncio.to_thread(compare, earlier, now, str(before.id), before.completed_at)


async def whole_result(session: AsyncSession, run_id: UUID) -> Result | None:
    """The result with all its rows, read beside the event loop."""
    text = await session.scalar(select(cast(TaskRun.result_data, Text)).where(TaskRun.id == run_id))
    return await asyncio.to_thread(lambda: stored_result(json.loads(text))) if text else None


async def _last_good(session: AsyncSession, run_id: UUID, task_id: UUID, parameters: dict[str, Any]) -> Row[Any] | None:
    """The latest completed run of the task that had the same values, among the last fifty."""
    query = (
        select(TaskRun.id, TaskRun.completed_at, TaskRun.parameters)
        .where(TaskRun.task_id == task_id, TaskRun.status == RunStatus.COMPLETED, TaskRun.id != run_id)
        .order_by(TaskRun.created_at.desc(), TaskRun.id.desc())
        .limit(_LOOKED_BACK)
    )
    return next((row for row in await session.execute(query) if row.parameters == parameters), None)
