"""Everything that the report page of a run shows, in a few queries, each with a bound: a long run costs no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from ccdtasks.core.access import Access, Actor
from ccdtasks.core.definition.taskconfig import read_config
from ccdtasks.core.facts import Facts, Hold
from ccdtasks.core.outcome.results import Result
from ccdtasks.core.outcome.resulttables import Order, Outline, Rows, result_of, rows_of
from ccdtasks.core.records.artifacts import artifacts_of
from ccdtasks.core.records.line import place_of
from ccdtasks.core.records.patterns import Pattern, pattern_of
from ccdtasks.core.records.runlog import LogPage, Wanted, log_of
from ccdtasks.db import Database
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.db.models import Artifact, Intervention, RunValue, Session, Task, TaskRun
from ccdtasks.errors import NotFound
from ccdtasks.times import Clock

PAGE_ROWS = 100
"""Rows of a table on one page."""

_FEW_ROWS = 10
_POINTS = 30
_CHARTS = 12
_TRIES = 50
_CHAIN = 60
_ASKED = 60


@dataclass(frozen=True, slots=True)
class TableView:
    """How a reader wants to see a table."""

    order: Order = field(default_factory=Order)
    start: int = 0


@dataclass(frozen=True, slots=True)
class ReportWanted:
    """What of the long parts is shown. `tables`: by the number of the table."""

    tables: Mapping[int, TableView] = field(default_factory=dict)
    log: Wanted = field(default_factory=Wanted)


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt of the run's start, or a task of its chain with its last attempt."""

    run_id: UUID
    task_name: str
    owner_user_id: str
    attempt: int
    status: RunStatus
    reason: Reason | None
    error_message: str | None
    not_before: datetime | None
    started_at: datetime | None
    duration_seconds: int | None


@dataclass(frozen=True, slots=True)
class Point:
    """A value of an earlier run, or of this one."""

    at: datetime
    number: float
    unit: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """A run as its page shows it.

    `run.result_data` is not loaded: `result` is the result without its tables, `tables` are the rows that are wanted.
    `attempts`: the tries of this start, in order. `chain`: the tasks that ran together, in order; one is no chain.
    `pattern`: what kind of failure it is, and how often it happened.
    `history`: the values of the last good runs up to this one, oldest first. `position` and `hold`: while it waits.
    """

    run: TaskRun
    task: Task
    session: Session | None
    result: Result | None
    tables: Sequence[Rows]
    log: LogPage
    artifacts: Sequence[Artifact]
    asked: Sequence[Intervention]
    attempts: Sequence[Try]
    max_attempts: int
    chain: Sequence[Try]
    history: Mapping[str, Sequence[Point]]
    position: int | None
    hold: Hold | None
    pattern: Pattern | None


class Reports:
    """Looks at runs as a whole."""

    def __init__(self, db: Database, clock: Clock, access: Access, facts: Facts) -> None:
        self._db = db
        self._clock = clock
        self._access = access
        self._facts = facts

    async def may_see(self, actor: Actor, run_id: UUID) -> bool:
        """Whether there is such a run, and the actor is its owner or an admin."""
        async with self._db.read() as session:
            owner = await session.scalar(select(TaskRun.owner_user_id).where(TaskRun.id == run_id))
        is_known = owner is not None and self._access.may_use(actor)
        return is_known and (owner == actor.user_id or self._access.is_admin(actor))

    async def load(self, run_id: UUID, wanted: ReportWanted | None = None) -> Report:
        """The report of a run, for parts that know that they may show it. Raises NotFound."""
        wanted = wanted or ReportWanted()
        async with self._db.read() as session:
            run = await session.get(TaskRun, run_id, options=[defer(TaskRun.result_data, raiseload=True)])
            if run is None:
                raise NotFound("There is nothing here.", "check the address")
            task = await session.get_one(Task, run.task_id)
            result, outlines = await result_of(session, run_id) or (None, [])
            asked = select(Intervention).where(Intervention.run_id == run_id).order_by(Intervention.asked_at)
            return Report(
                run=run,
                task=task,
                session=await session.get(Session, run.session_id) if run.session_id else None,
                result=result,
                tables=[await _rows(session, run_id, outline, wanted) for outline in outlines],
                log=await log_of(session, run_id, _fitting(wanted.log, run)),
                artifacts=await artifacts_of(session, run_id),
                asked=(await session.scalars(asked.limit(_ASKED))).all(),
                attempts=await _attempts(session, run),
                max_attempts=max(run.attempt, read_config(task.config).retries.attempts),
                chain=await _chain(session, run),
                history=await _history(session, run, result),
                position=await place_of(session, run, self._clock.now()),
                hold=next(iter((await self._facts.holds_in(session)).values()), None),
                pattern=await pattern_of(session, run) if run.status is RunStatus.FAILED else None,
            )


def _fitting(wanted: Wanted, run: TaskRun) -> Wanted:
    """The log of a completed run is read from its beginning; how another one stands is said at the end."""
    return wanted if wanted.from_end is not None else replace(wanted, from_end=run.status is not RunStatus.COMPLETED)


async def _rows(session: AsyncSession, run_id: UUID, outline: Outline, wanted: ReportWanted) -> Rows:
    """The wanted rows; of a further table the first few, until somebody asks for more."""
    view = wanted.tables.get(outline.place)
    limit = PAGE_ROWS if view or outline.place == 0 else _FEW_ROWS
    view = view or TableView()
    return await rows_of(session, run_id, outline, order=view.order, start=view.start, limit=limit)


_TRY = (
    TaskRun.id.label("run_id"),
    Task.task_name,
    TaskRun.owner_user_id,
    TaskRun.attempt,
    TaskRun.status,
    TaskRun.reason,
    TaskRun.error_message,
    TaskRun.not_before,
    TaskRun.started_at,
    TaskRun.duration_seconds,
)


async def _attempts(session: AsyncSession, run: TaskRun) -> list[Try]:
    first = run.retry_of or run.id
    query = select(*_TRY).join(Task, Task.id == TaskRun.task_id)
    query = query.where(or_(TaskRun.id == first, TaskRun.retry_of == first))
    rows = await session.execute(query.order_by(TaskRun.attempt, TaskRun.created_at).limit(_TRIES))
    return [Try(**row._mapping) for row in rows]


async def _chain(session: AsyncSession, run: TaskRun) -> list[Try]:
    """The last try of each task of the chain, in the order in which the tasks came up."""
    if run.chain_id is None:
        return []
    query = select(*_TRY).join(Task, Task.id == TaskRun.task_id).where(TaskRun.chain_id == run.chain_id)
    rows = await session.execute(query.order_by(TaskRun.created_at, TaskRun.attempt).limit(_CHAIN))
    last: dict[str, Try] = {}
    for row in rows:
        last[row.task_name] = Try(**row._mapping)
    return [*last.values()]


async def _history(session: AsyncSession, run: TaskRun, result: Result | None) -> dict[str, list[Point]]:
    """The first few values of the result as the latest good runs with the same values up to this one found them."""
    history = {}
    for name in [*result.values][:_CHARTS] if result else ():
        query = (
            select(RunValue.at, RunValue.number, RunValue.unit, TaskRun.parameters)
            .join(TaskRun, TaskRun.id == RunValue.run_id)
            .where(RunValue.task_id == run.task_id, RunValue.name == name)
            .where(RunValue.at <= (run.completed_at or datetime.max.replace(tzinfo=UTC)))
            .order_by(RunValue.at.desc())
            .limit(_POINTS)
        )
        rows = reversed((await session.execute(query)).all())
        history[name] = [Point(*point) for *point, values in rows if values == run.parameters]
    return history
