"""Which runs a clean-up may remove, and their removal: by starts, each a run with its retries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, delete, exists, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ccdtasks.db.enums import ArtifactState, RunStatus
from ccdtasks.db.models import Artifact, Base, DiscordThread, RunEvent, Session, Task, TaskRun

TO_ARCHIVE, TO_DELETE = "to_archive", "to_delete"
"""States of threads whose run was removed, until Discord has done it."""

_RECENT_GOOD = 200
_SETS_KEPT = 20
_PUSHES = "pushover_notifications"  # the log of pushes stays, without its run


@dataclass(frozen=True, slots=True)
class Rule:
    """A wish made precise: starts queued before `before`; with `failed_only`, those of which every try failed."""

    before: datetime
    files_only: bool = False
    failed_only: bool = False
    delete_threads: bool = False


async def kept_runs(session: AsyncSession, task: Task) -> list[UUID]:
    """The last good run of each of the latest sets of values: what the next results are compared with.

    Not of a deleted task, which has no next result. And what runs that go on build upon.
    """
    compared = [] if task.deleted_at else await _last_good(session, task.id)
    needed = await session.scalars(select(TaskRun.upstream_runs).where(TaskRun.completed_at.is_(None)))
    named = {UUID(run_id) for upstreams in needed for run_id in (upstreams or {}).values()}
    return [*compared, *named]


async def _last_good(session: AsyncSession, task_id: UUID) -> list[UUID]:
    good = (
        select(TaskRun.id, TaskRun.retry_of, TaskRun.parameters)
        .where(TaskRun.task_id == task_id, TaskRun.status == RunStatus.COMPLETED)
        .order_by(TaskRun.created_at.desc())
        .limit(_RECENT_GOOD)
    )
    by_values: dict[str, UUID] = {}
    for run_id, retry_of, parameters in await session.execute(good):
        by_values.setdefault(repr(sorted(parameters.items())), retry_of or run_id)
    return list(by_values.values())[:_SETS_KEPT]


async def start_of_nth(session: AsyncSession, task_id: UUID, number: int) -> datetime | None:
    """When the task's `number`th latest start was queued; None when it has fewer."""
    query = select(TaskRun.created_at).where(TaskRun.task_id == task_id, TaskRun.retry_of.is_(None))
    return await session.scalar(query.order_by(TaskRun.created_at.desc()).offset(number - 1).limit(1))


async def count(session: AsyncSession, task: Task, rule: Rule) -> tuple[int, int, int, int, int]:
    """How many runs, files, bytes, events and threads would go."""
    firsts = _firsts(task.id, rule, await kept_runs(session, task)).cte("firsts")
    retries = select(TaskRun.id).join(firsts, TaskRun.retry_of == firsts.c.id)
    runs = select(select(firsts.c.id).union_all(retries).subquery().c.id)
    stored = select(func.count(), func.coalesce(func.sum(Artifact.size_bytes), 0)).where(
        Artifact.run_id.in_(runs), Artifact.state != ArtifactState.MISSING
    )
    files, size_bytes = (await session.execute(stored)).one()
    if rule.files_only:
        return 0, files, int(size_bytes), 0, 0
    run_count = await session.scalar(select(func.count()).select_from(runs.subquery())) or 0
    events = await session.scalar(select(func.count()).where(RunEvent.run_id.in_(runs))) or 0
    threads = await session.scalar(select(func.count()).where(DiscordThread.task_run_id.in_(runs))) or 0
    return run_count, files, int(size_bytes), events, threads


async def next_firsts(
    session: AsyncSession, task_id: UUID, rule: Rule, kept: Sequence[UUID], *, cursor: str | None, limit: int
) -> tuple[list[UUID], str | None]:
    """The next starts that may go, the oldest first, behind the cursor of the last piece; and the new cursor."""
    query = _firsts(task_id, rule, kept).add_columns(TaskRun.created_at)
    if rule.files_only:
        query = query.where(_has_files())
    if cursor:
        at, _, run_id = cursor.partition(" ")
        query = query.where(tuple_(TaskRun.created_at, TaskRun.id) > (datetime.fromisoformat(at), UUID(run_id)))
    found = (await session.execute(query.order_by(TaskRun.created_at, TaskRun.id).limit(limit))).all()
    return [row[0] for row in found], f"{found[-1][1].isoformat()} {found[-1][0]}" if found else None


async def still_free(
    session: AsyncSession, task_id: UUID, rule: Rule, kept: Sequence[UUID], firsts: Sequence[UUID]
) -> list[UUID]:
    """Those of `firsts` that may still go: meanwhile somebody may have tried one again. Locks them."""
    query = _firsts(task_id, rule, kept).where(TaskRun.id.in_(firsts))
    return list(await session.scalars(query.with_for_update(of=TaskRun)))


async def files_of(session: AsyncSession, firsts: Sequence[UUID]) -> Sequence[Artifact]:
    """The files of these starts that lie somewhere."""
    query = select(Artifact).where(Artifact.run_id.in_(_all_of(firsts)), Artifact.state != ArtifactState.MISSING)
    return (await session.scalars(query)).all()


async def forget_files(session: AsyncSession, firsts: Sequence[UUID], now: datetime) -> dict[str, int]:
    """Notes that the files of these starts are gone; everything else of them stays."""
    files = await files_of(session, firsts)
    removed = {"files": len(files), "size_bytes": sum(file.size_bytes for file in files)}
    await note_gone(session, [file.id for file in files], now)
    await session.execute(update(TaskRun).where(TaskRun.id.in_(_all_of(firsts))).values(minio_artifacts=None))
    return removed


async def note_gone(session: AsyncSession, file_ids: Sequence[UUID], now: datetime) -> None:
    """Says of files that lie nowhere any more why that is."""
    gone = {"state": ArtifactState.MISSING, "location": None, "note": f"Cleaned up on {now:%Y-%m-%d}."}
    await session.execute(update(Artifact).where(Artifact.id.in_(file_ids)).values(**gone))


async def delete_runs(session: AsyncSession, firsts: Sequence[UUID], *, delete_threads: bool) -> dict[str, int]:
    """Deletes these starts with everything that belongs to them; their threads wait for Discord."""
    run_ids = list(await session.scalars(_all_of(firsts)))
    if not run_ids:
        return {}
    files = await files_of(session, firsts)
    removed = {"runs": len(run_ids), "files": len(files), "size_bytes": sum(file.size_bytes for file in files)}
    session_ids = list(await session.scalars(select(Session.id).where(Session.run_id.in_(run_ids))))
    state = TO_DELETE if delete_threads else TO_ARCHIVE
    await session.execute(
        update(DiscordThread)
        .where(DiscordThread.task_run_id.in_(run_ids))
        .values(task_run_id=None, session_id=None, status=state)
    )
    await session.execute(update(TaskRun).where(TaskRun.id.in_(run_ids)).values(session_id=None))
    for target, ids in (("sessions", session_ids), ("task_runs", run_ids)):
        for table, column in _pointing_at(target):
            gone = await session.execute(_gone(table, column, ids))
            if table.name == RunEvent.__tablename__:
                removed["events"] = removed.get("events", 0) + int(getattr(gone, "rowcount", 0))
    await session.execute(delete(Session).where(Session.id.in_(session_ids)))
    retries_first = [TaskRun.retry_of.is_not(None), TaskRun.retry_of.is_(None)]
    for condition in retries_first:
        await session.execute(delete(TaskRun).where(TaskRun.id.in_(run_ids), condition))
    return removed


def _firsts(task_id: UUID, rule: Rule, kept: Sequence[UUID]) -> Select[Any]:
    """The ids of starts that may go with all their tries: all ended, counted and without a container."""
    other, up = aliased(TaskRun), aliased(Session)
    in_chain = aliased(TaskRun)
    goes_on = exists().where(in_chain.chain_id == TaskRun.chain_id, in_chain.completed_at.is_(None))
    held = exists().where(other.retry_of == TaskRun.id, ~_is_over(other, rule))
    open_session = exists().where(up.run_id == TaskRun.id, up.removed_at.is_(None))
    query = select(TaskRun.id).where(
        TaskRun.task_id == task_id,
        TaskRun.retry_of.is_(None),
        TaskRun.created_at < rule.before,
        _is_over(TaskRun, rule),
        ~held,
        ~open_session,
        or_(TaskRun.chain_id.is_(None), ~goes_on),
    )
    return query.where(TaskRun.id.not_in(kept)) if kept else query


def _is_over(run: Any, rule: Rule) -> ColumnElement[bool]:
    over: ColumnElement[bool] = run.completed_at.is_not(None) & run.counted_at.is_not(None)
    return over & (run.status == RunStatus.FAILED) if rule.failed_only else over


def _has_files() -> ColumnElement[bool]:
    member = aliased(TaskRun)
    lies = (Artifact.run_id == member.id) & (Artifact.state != ArtifactState.MISSING)
    return exists().where(or_(member.id == TaskRun.id, member.retry_of == TaskRun.id), lies)


def _all_of(firsts: Sequence[UUID]) -> Select[Any]:
    return select(TaskRun.id).where(or_(TaskRun.id.in_(firsts), TaskRun.retry_of.in_(firsts)))


def _pointing_at(target: str) -> list[tuple[Table, Any]]:
    """Every column of another table that points at `target`: what is added to the schema is not forgotten here."""
    skipped = {"task_runs", "sessions", DiscordThread.__tablename__}
    return [
        (table, key.parent)
        for table in Base.metadata.sorted_tables
        for key in table.foreign_keys
        if key.column.table.name == target and table.name not in skipped
    ]


def _gone(table: Table, column: Any, ids: Sequence[Any]) -> Any:
    if table.name in (_PUSHES, "profiles"):
        return update(table).where(column.in_(ids)).values({column.name: None})
    return delete(table).where(column.in_(ids))
