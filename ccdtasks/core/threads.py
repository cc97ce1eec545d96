"""The threads of runs: which one a run has in Discord, and what it is called there."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import or_, select, update

from ccdtasks.db import Database
from ccdtasks.db.models import DiscordThread, Task, TaskRun
from ccdtasks.times import Clock


class Threads:
    """One thread for a run and its retries, known by the first run's id."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def find(self, first_run_id: UUID) -> DiscordThread | None:
        """The thread of a run and its retries, or None while there is none."""
        query = select(DiscordThread).where(
            DiscordThread.task_run_id == first_run_id, DiscordThread.archived_at.is_(None)
        )
        async with self._db.read() as session:
            return await session.scalar(query)

    async def keep(self, first_run_id: UUID, thread_id: str, name: str, channel_id: str, status: str) -> None:
        """Notes the thread that Discord has now; an earlier one of the same run is gone. Repeating it is harmless."""
        async with self._db.write() as session:
            await session.execute(
                update(DiscordThread)
                .where(DiscordThread.task_run_id == first_run_id, DiscordThread.thread_id != thread_id)
                .values(archived_at=self._clock.now())
            )
            thread = await session.scalar(select(DiscordThread).where(DiscordThread.thread_id == thread_id))
            if thread is None:
                thread = DiscordThread(
                    thread_id=thread_id, task_run_id=first_run_id, status=status, created_at=self._clock.now()
                )
                session.add(thread)
            thread.thread_name, thread.parent_channel_id = name, channel_id
            thread.status, thread.archived_at = status, None
            same = or_(TaskRun.id == first_run_id, TaskRun.retry_of == first_run_id)
            place = {"discord_thread_id": thread_id, "discord_channel_id": channel_id}
            await session.execute(update(TaskRun).where(same).values(**place))
            task_id = await session.scalar(select(TaskRun.task_id).where(TaskRun.id == first_run_id))
            await session.execute(update(Task).where(Task.id == task_id).values(discord_thread_id_current=thread_id))
