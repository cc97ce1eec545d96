"""Scheduled runs that fail again and again: after five in a row the task is paused and its owner told."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.calendar.schedulelog import entry
from ccdtasks.core.ending.breakage import breakage_of
from ccdtasks.core.outbox import Outbox
from ccdtasks.db.enums import MessageType, Reason, RunStatus, Trigger
from ccdtasks.db.models import ScheduleHistory, Task, TaskRun

LONGEST = 5
_OF_THE_BOX = frozenset(
    {
        Reason.MODEL_AUTH,
        Reason.MODEL_UNAVAILABLE,
        Reason.ENGINE_UNAVAILABLE,
        Reason.IMAGE_MISSING,
        Reason.DISK_FULL,
    }
)
"""What fails every task alike says nothing about this one."""


async def count_failure(session: AsyncSession, outbox: Outbox, task: Task, run: TaskRun, now: datetime) -> None:
    """Counts the end of a run after which no retry follows, in the terminal transaction."""
    if run.status is RunStatus.COMPLETED:
        task.schedule_failures = 0
    if run.status is not RunStatus.FAILED or run.reason in _OF_THE_BOX or task.schedule_cron is None:
        return
    if run.reason is Reason.BUDGET and run.started_at is None:  # the day or the month is spent; the next one is not
        return
    first = await session.get_one(TaskRun, run.retry_of) if run.retry_of else run
    if first.trigger is not Trigger.SCHEDULED:
        return
    task.schedule_failures += 1
    if task.schedule_failures < LONGEST or task.paused:
        return
    why = f"{task.schedule_failures} scheduled runs in a row failed, the last one so: {run.error_message or run.reason}"
    task.paused, task.paused_reason, task.next_run_at = True, why[:200], None
    news = {
        "about": "schedule",
        "kind": "paused",
        "task": task.task_name,
        "owner": task.owner_user_id,
        "reason": why,
        "run": str(run.id),
        "stopped": (await breakage_of(session, task.id, "pause")).stopped,
        "text": f"{task.task_name} is paused. {why}",
    }
    await outbox.put(session, None, f"paused:{run.id}", MessageType.NOTIFICATION, news, task_id=task.id)
    details = {"reason": why, "run": str(run.id)}
    row = entry(task.id, "paused", now, details=details, schedule_before=task.schedule_cron)
    session.add(ScheduleHistory(**row, schedule_after=task.schedule_cron))
