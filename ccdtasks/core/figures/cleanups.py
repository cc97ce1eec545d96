"""Cleaning up, for people who want to: nothing is ever deleted by itself.

plan (says exactly what would go) --confirmed--> start (a row) --the engine, batch by batch--> done (audit, a message)

What stays: the sums of days and months; the last good run of a task, and that of each of its latest sets of values,
which changes are measured by; whatever a run that goes on needs; all of a chain that goes on. A run and its retries
go together. Of a deleted task everything may go, also the last good run, and no limit need be named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.amounts import counted
from ccdtasks.core.access import SYSTEM, Access, Actor
from ccdtasks.core.audit import Audit
from ccdtasks.core.definition import naming
from ccdtasks.core.outbox import Outbox
from ccdtasks.core.pages import page_size
from ccdtasks.core.records import removal
from ccdtasks.core.records.removal import Rule
from ccdtasks.core.tasks.tasks import Tasks
from ccdtasks.db import Database
from ccdtasks.db.enums import MessageType
from ccdtasks.db.models import Artifact, Cleanup, DiscordThread, Task, TaskRun
from ccdtasks.errors import Conflict, Invalid, NotFound
from ccdtasks.events import Bus, MessagePending
from ccdtasks.times import Clock, size_text

BATCH = 50
_DAYS_MAX = 36_500
_KEPT_MAX = 1_000_000
_NAMESAKES = 10


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants to be rid of: older than some days, all but the last so many starts, or both."""

    older_than_days: int | None = None
    keep_last: int | None = None
    files_only: bool = False
    failed_only: bool = False
    delete_threads: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go, exactly. `rule` is what a confirmation carries; `threads` stay, archived, unless it says so."""

    task: Task
    rule: Rule
    runs: int
    files: int
    size_bytes: int
    events: int
    threads: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.files if self.rule.files_only else self.runs)


@dataclass(frozen=True, slots=True)
class Work:
    """The next piece of a clean-up: the files of some runs, to be deleted from the store before their rows."""

    cleanup_id: UUID
    first_ids: Sequence[UUID]
    files: Sequence[Artifact]
    cursor: str | None


class Cleanups:
    """Clean-ups, from the wish to the end."""

    def __init__(
        self, *, db: Database, bus: Bus, clock: Clock, access: Access, audit: Audit, tasks: Tasks, outbox: Outbox
    ) -> None:
        self._db = db
        self._bus = bus
        self._clock = clock
        self._access = access
        self._audit = audit
        self._tasks = tasks
        self._outbox = outbox

    async def plan(self, actor: Actor, task_name: str, wanted: Wanted) -> Plan:
        """What would go; changes nothing. Raises Invalid when the wish names no limit.

        A deleted task is named by its id, or by its name when no other task has had it.
        """
        self._access.require_use(actor)
        async with self._db.read() as session:
            task = await self._task(session, actor, task_name)
            rule = await self._rule(session, task, wanted)
            counts = await removal.count(session, task, rule)
        return Plan(task, rule, *counts)

    async def deleted(self, actor: Actor, typed: str = "", limit: int = 25) -> Sequence[Task]:
        """Deleted tasks that still have runs and whose name contains what was typed, the latest first."""
        if not self._access.may_use(actor):
            return []
        named = Task.task_name.contains(naming.folded(typed)[:100], autoescape=True)
        query = self._gone(actor).where(named, exists().where(TaskRun.task_id == Task.id))
        async with self._db.read() as session:
            return (await session.scalars(query.limit(page_size(limit)))).all()

    async def start(self, actor: Actor, task_id: UUID, rule: Rule) -> Cleanup:
        """Asks for what a plan showed. Raises Conflict while an earlier clean-up of the task goes on."""
        async with self._db.write() as session:
            task = await session.get_one(Task, task_id)
            self._access.require_owner(actor, task.owner_user_id, "clean up this task")
            going = select(Cleanup.id).where(Cleanup.task_id == task_id, Cleanup.finished_at.is_(None))
            if await session.scalar(going.limit(1)):
                raise Conflict(f"{task.task_name} is being cleaned up already.", "wait until it is done")
            kept = [str(run_id) for run_id in await removal.kept_runs(session, task)]
            row = Cleanup(
                task_id=task_id,
                owner_user_id=task.owner_user_id,
                requested_by=actor.user_id,
                via=actor.via,
                rule={**asdict(rule), "before": rule.before.isoformat(), "kept": kept},
                removed={},
                created_at=self._clock.now(),
            )
            session.add(row)
            await session.flush()
            self._audit.record(session, actor, "task.cleanup", task_id, {"name": task.task_name, **row.rule})
        return row

    async def next_work(self) -> Work | None:
        """The next piece of the oldest clean-up; one that has nothing left is finished on the way."""
        oldest = select(Cleanup).where(Cleanup.finished_at.is_(None)).order_by(Cleanup.created_at).limit(1)
        while True:
            async with self._db.read() as session:
                row = await session.scalar(oldest)
                if row is None or row.task_id is None:
                    return None
                rule, kept = _rule_of(row.rule), _kept_of(row.rule)
                firsts, cursor = await removal.next_firsts(
                    session, row.task_id, rule, kept, cursor=row.cursor, limit=BATCH
                )
                if firsts:
                    return Work(row.id, firsts, await removal.files_of(session, firsts), cursor)
            async with self._db.write() as session:
                await self._finish(session, await session.get_one(Cleanup, row.id, with_for_update=True))
            self._bus.publish(MessagePending(row.id))

    async def remove(self, work: Work) -> None:
        """Removes the rows of a piece whose files are gone, those that still may go; and moves on behind it.

        With a file that came meanwhile, such as a chart, nothing is removed yet: the piece is the next one again.
        """
        async with self._db.write() as session:
            row = await session.get_one(Cleanup, work.cleanup_id)
            if row.finished_at is not None or row.task_id is None:
                return
            rule, kept = _rule_of(row.rule), _kept_of(row.rule)
            still = await removal.still_free(session, row.task_id, rule, kept, work.first_ids)
            if {file.id for file in await removal.files_of(session, still)} - {file.id for file in work.files}:
                return
            gone = await (
                removal.forget_files(session, still, self._clock.now())
                if rule.files_only
                else removal.delete_runs(session, still, delete_threads=rule.delete_threads)
            )
            if len(still) < len(work.first_ids):  # who stays after all has lost these files all the same
                await removal.note_gone(session, [file.id for file in work.files], self._clock.now())
            row.removed = {name: row.removed.get(name, 0) + number for name, number in gone.items()}
            row.cursor = work.cursor

    async def threads_to_close(self, limit: int = 20) -> Sequence[DiscordThread]:
        """Threads of removed runs that Discord still shows as open, or that are to be deleted."""
        wanted = (removal.TO_ARCHIVE, removal.TO_DELETE)
        async with self._db.read() as session:
            query = select(DiscordThread).where(DiscordThread.status.in_(wanted))
            return (await session.scalars(query.order_by(DiscordThread.created_at).limit(limit))).all()

    async def thread_closed(self, thread: DiscordThread) -> None:
        """Notes that Discord did so."""
        async with self._db.write() as session:
            row = await session.get(DiscordThread, thread.id)
            if row is not None and row.status == removal.TO_DELETE:
                await session.delete(row)
            elif row is not None:
                row.status, row.archived_at = "archived", self._clock.now()

    def _gone(self, actor: Actor) -> Select[Task]:
        query = select(Task).where(Task.deleted_at.is_not(None)).order_by(Task.deleted_at.desc())
        return query if self._access.is_admin(actor) else query.where(Task.owner_user_id == actor.user_id)

    async def _task(self, session: AsyncSession, actor: Actor, name_or_id: str) -> Task:
        try:
            return await self._tasks.find_in(session, actor, name_or_id, "clean up this task")
        except NotFound:
            task_id = _uuid(name_or_id)
            is_it = Task.id == task_id if task_id else Task.task_name == naming.folded(name_or_id)
            gone = (await session.scalars(self._gone(actor).where(is_it).limit(_NAMESAKES))).all()
            if not gone:
                raise
        if len(gone) > 1:
            listed = ", ".join(f"{each.id} ({each.deleted_at:%Y-%m-%d})" for each in gone)
            raise Conflict(f"Several deleted tasks were named {gone[0].task_name}.", f"name one by its id: {listed}")
        return gone[0]

    async def _rule(self, session: AsyncSession, task: Task, wanted: Wanted) -> Rule:
        """The wish as a moment: what was queued before it may go, and nothing that comes later."""
        days, keep = wanted.older_than_days, wanted.keep_last
        if days is None and keep is None and task.deleted_at is None:
            raise Invalid(
                "older_than_days", "Say how old, or how many runs to keep.", "such as 90 days, or the latest 100"
            )
        if days is not None and not 0 <= days <= _DAYS_MAX:
            raise Invalid("older_than_days", f"The days must be a number from 0 to {_DAYS_MAX:,}.")
        if keep is not None and not 0 <= keep <= _KEPT_MAX:
            raise Invalid("keep_last", f"The runs to keep must be a number from 0 to {_KEPT_MAX:,}.")
        before = self._clock.now() - timedelta(days=days or 0)
        if keep:
            nth = await removal.start_of_nth(session, task.id, keep)
            before = min(before, nth) if nth else datetime.min.replace(year=2000, tzinfo=before.tzinfo)
        return Rule(before.replace(microsecond=0), wanted.files_only, wanted.failed_only, wanted.delete_threads)

    async def _finish(self, session: AsyncSession, row: Cleanup) -> None:
        if row.finished_at is not None:
            return
        row.finished_at = self._clock.now()
        self._audit.record(session, SYSTEM, "task.cleaned", row.task_id, row.removed)
        said, task = removed_text(row.removed), await session.get_one(Task, row.task_id)
        payload = {"title": f"{task.task_name}: cleaned up", "text": f"{said} The figures of days and months stay."}
        await self._outbox.put(
            session, None, f"cleanup:{row.id}", MessageType.NOTIFICATION, payload, task_id=row.task_id
        )


def removed_text(removed: Mapping[str, int]) -> str:
    """`12 runs and 31 files (8.3 MB) were removed.`"""
    runs, files = removed.get("runs", 0), removed.get("files", 0)
    said = [counted(runs, "run")] if runs else []
    if files:
        said.append(f"{counted(files, 'file')} ({size_text(removed.get('size_bytes', 0))})")
    if not said:
        return "Nothing was removed."
    verb = "was" if runs + files == 1 else "were"
    return f"{' and '.join(said)} {verb} removed."


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text.strip())
    except ValueError:
        return None


def _rule_of(stored: Mapping[str, Any]) -> Rule:
    before = datetime.fromisoformat(stored["before"])
    return Rule(before, stored["files_only"], stored["failed_only"], stored["delete_threads"])


def _kept_of(stored: Mapping[str, Any]) -> list[UUID]:
    return [UUID(text) for text in stored["kept"]]
