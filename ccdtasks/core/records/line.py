"""The line of runs that wait for a session: who goes when, and a run's place in it.

What an admin put first goes first. Then owners take turns: a run's turn is the number of its owner's runs that go on
or stand before it, so the order is the one in which `claim_next` would take them if nothing ended meanwhile.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Subquery, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ccdtasks.core.states import ACTIVE
from ccdtasks.db.enums import RunStatus, Trigger
from ccdtasks.db.models import TaskRun


def active_of_owners() -> Subquery:
    """`owner_user_id` -> `runs`: how many of each owner's runs have a session."""
    return (
        select(TaskRun.owner_user_id, func.count().label("runs"))
        .where(TaskRun.status.in_(ACTIVE))
        .group_by(TaskRun.owner_user_id)
        .subquery()
    )


def may_go(now: datetime) -> ColumnElement[bool]:
    """The condition of a run that waits for a session and for nothing else.

    A run of a schedule also waits for the end of the run of its task that goes on.
    """
    other = aliased(TaskRun)
    is_alone = ~exists().where(other.task_id == TaskRun.task_id, other.completed_at.is_(None), other.status.in_(ACTIVE))
    return (
        (TaskRun.status == RunStatus.QUEUED)
        & or_(TaskRun.not_before.is_(None), TaskRun.not_before <= now)
        & or_(TaskRun.trigger != Trigger.SCHEDULED, is_alone)
    )


def line(now: datetime) -> Subquery:
    """`id` and `place` (from 1) of every run in the line."""
    active = active_of_owners()
    own_order = (TaskRun.priority.desc(), TaskRun.queued_at, TaskRun.id)
    before = func.row_number().over(partition_by=TaskRun.owner_user_id, order_by=own_order)
    waiting = (
        select(
            TaskRun.id, TaskRun.priority, TaskRun.queued_at, (before + func.coalesce(active.c.runs, 0)).label("turn")
        )
        .outerjoin(active, active.c.owner_user_id == TaskRun.owner_user_id)
        .where(may_go(now))
        .subquery()
    )
    order: tuple[Any, ...] = (waiting.c.priority.desc(), waiting.c.turn, waiting.c.queued_at, waiting.c.id)
    return select(waiting.c.id, func.row_number().over(order_by=order).label("place")).subquery()


async def place_of(session: AsyncSession, run: TaskRun, now: datetime) -> int | None:
    """The run's place in the line, from 1; None when it does not stand in it."""
    if run.status is not RunStatus.QUEUED or (run.not_before is not None and run.not_before > now):
        return None
    places = line(now)
    return await session.scalar(select(places.c.place).where(places.c.id == run.id))
