"""What follows when a run has ended for good: the tasks that run after it, in the same transaction.

    root ends -> its followers: waiting_dependency -> queued      every upstream of the chain is satisfied (or any one)
                                                   -> failed      a required one was not: `dependency_failed`
                                                   -> cancelled   the task is paused, or nothing leads to it any more
    a run that was retried by hand completes -> another attempt of those that did not run because of it
    all ended -> one summary in the notification channel

All runs of a chain have the id of its first run as `chain_id`; a constraint allows each task one run in it, besides
retries. What should run is computed anew from rows at each end and at each change of the graph, under the lock of the
chain's first run: so it does not matter who ended first, or whether the process died in between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.definition.parameters import fill, from_rows
from ccdtasks.core.lookup import end_of_queue
from ccdtasks.core.outbox import Outbox
from ccdtasks.core.records.artifacts import artifacts_of
from ccdtasks.core.records.graph import Edge, Graph, load_graph, names_of
from ccdtasks.core.records.lineage import first_attempt, first_of, next_attempt
from ccdtasks.core.records.moves import move
from ccdtasks.core.records.upstream import (
    Inputs,
    Upstream,
    as_row,
    latest_completed,
    main_file,
    resolved,
    upstreams_of,
)
from ccdtasks.core.states import FINAL
from ccdtasks.db import Database
from ccdtasks.db.enums import MessageType, Reason, RunStatus, Trigger
from ccdtasks.db.models import Artifact, Task, TaskDependency, TaskRun
from ccdtasks.errors import Invalid, NotFound
from ccdtasks.times import Clock

KEY = "chain:"
"""The outbox key of a chain's summary begins so, and goes on with the id of the chain."""

EndWaiting = Callable[[AsyncSession, TaskRun, RunStatus, str], Awaitable[object]]
"""Ends a run that never started, with words; given by those who know how runs end."""

_ENDED_WORDS = {RunStatus.FAILED: "failed", RunStatus.CANCELLED: "was stopped"}


@dataclass(frozen=True, slots=True)
class ChainRow:
    """A task of a chain and its last attempt."""

    task_name: str
    run: TaskRun


@dataclass(frozen=True, slots=True)
class ChainView:
    """What a summary shows: the tasks in the order in which they ran.

    `ends`: those of them that nothing in the chain runs after; `files`: the main file of each good one of these.
    """

    chain_id: UUID
    rows: Sequence[ChainRow]
    ends: Sequence[ChainRow]
    files: Sequence[Artifact]


class _Next(Enum):
    NOTHING = auto()
    WAIT = auto()
    RUN = auto()
    FAIL = auto()


@dataclass(frozen=True, slots=True)
class _Verdict:
    next: _Next
    words: str = ""


@dataclass(frozen=True, slots=True)
class _Chain:
    """The rows of one chain as the transaction sees them. `runs`: the last attempt of each task."""

    chain_id: UUID
    graph: Graph
    reached: set[UUID]
    tasks: dict[UUID, Task]
    runs: dict[UUID, TaskRun]

    def may_revive(self, task_id: UUID) -> bool:
        """Whether a run that another one kept from running has another chance: one before it has ended since."""
        run = self.runs.get(task_id)
        if run is None or run.reason is not Reason.DEPENDENCY_FAILED or run.started_at or run.completed_at is None:
            return False
        before = [self.runs[edge.upstream_id] for edge in self.inside(task_id) if not self.is_pending(edge)]
        return any(each.completed_at and each.completed_at > run.completed_at for each in before)

    @property
    def is_over(self) -> bool:
        return self.reached <= self.runs.keys() and all(run.status in FINAL for run in self.runs.values())

    def is_followed(self, task_id: UUID) -> bool:
        """Whether another task of the chain runs after this one."""
        return any(edge.task_id in self.runs for edge in self.graph.followers(task_id))

    def inside(self, task_id: UUID) -> list[Edge]:
        """The edges to upstreams that have or will have a run in this chain."""
        return [edge for edge in self.graph.upstreams(task_id) if edge.upstream_id in self.reached]

    def is_pending(self, edge: Edge) -> bool:
        run = self.runs.get(edge.upstream_id)
        return run is None or run.status not in FINAL

    def is_good(self, edge: Edge) -> bool:
        """Whether the upstream has ended as the edge asks."""
        if self.is_pending(edge):
            return False
        return not edge.required or self.runs[edge.upstream_id].status is RunStatus.COMPLETED

    def judge(self, task_id: UUID) -> _Verdict:
        """What the ends of its upstreams mean for a task that has not run yet."""
        edges = self.inside(task_id)
        if all(self.is_pending(edge) for edge in edges):
            return _Verdict(_Next.NOTHING)
        good = [edge for edge in edges if self.is_good(edge)]
        bad = [edge for edge in edges if not self.is_pending(edge) and edge not in good]
        is_any = self.tasks[task_id].dependency_mode == "any"
        if bad and not (is_any and len(bad) < len(edges)):
            return _Verdict(_Next.FAIL, self._why(bad[0]))
        done = bool(good) if is_any else len(good) == len(edges)
        return _Verdict(_Next.RUN if done else _Next.WAIT)

    def _why(self, edge: Edge) -> str:
        run = self.runs[edge.upstream_id]
        name = self.tasks[edge.upstream_id].task_name
        never_began = run.started_at is None and run.trigger is Trigger.DEPENDENCY and not run.stop_requested_at
        how = "did not run" if never_began and run.error_message else _ENDED_WORDS.get(run.status, "has no result")
        return f"It did not run: {name} {how}."


class Chains:
    """The runs that follow from others."""

    def __init__(self, db: Database, clock: Clock, outbox: Outbox) -> None:
        self._db = db
        self._clock = clock
        self._outbox = outbox

    async def go_on(self, session: AsyncSession, run: TaskRun, end: EndWaiting) -> None:
        """Does what follows from the end of `run`, after which no retry comes, in the caller's transaction."""
        chain_id = run.chain_id
        if chain_id is None:
            direct = await load_graph(session, TaskDependency.depends_on_task_id == run.task_id)
            if not direct.followers(run.task_id):
                return
            chain_id = run.retry_of or run.id
            await session.flush()
            await session.execute(
                update(TaskRun)
                .where(or_(TaskRun.id == chain_id, TaskRun.retry_of == chain_id))
                .values(chain_id=chain_id)
                .execution_options(synchronize_session="fetch")
            )
        await self._settle(session, chain_id, end)

    async def settle_all(self, session: AsyncSession, end: EndWaiting) -> None:
        """Looks again at every run that waits for others, after a change of the graph or of a task."""
        await session.flush()
        waiting = select(TaskRun.chain_id).where(
            TaskRun.status == RunStatus.WAITING_DEPENDENCY, TaskRun.completed_at.is_(None)
        )
        for chain_id in sorted({each for each in await session.scalars(waiting) if each}):
            await self._settle(session, chain_id, end)

    async def load(self, chain_id: UUID) -> ChainView:
        """A chain as it stands."""
        async with self._db.read() as session:
            chain = await self._load(session, chain_id)
            if not chain.runs:
                raise NotFound("This chain does not exist.")
            names = await names_of(session, chain.runs.keys())
            rows = [ChainRow(names[each], chain.runs[each]) for each in chain.graph.order(chain.runs.keys())]
            ends = [row for row in rows if not chain.is_followed(row.run.task_id)]
            good = [row.run for row in ends if row.run.status is RunStatus.COMPLETED]
            files = [main_file(run, await artifacts_of(session, run.id)) for run in good]
        return ChainView(chain_id, rows, ends, [file for file in files if file])

    async def inputs(self, run_id: UUID) -> Inputs:
        """What the run gets from the tasks it runs after. Raises Invalid when a file that a value names is gone."""
        async with self._db.read() as session:
            run = await session.get_one(TaskRun, run_id)
            upstreams, expected = await upstreams_of(session, run)
        return Inputs(resolved(run.parameters, upstreams, expected), upstreams)

    async def _settle(self, session: AsyncSession, chain_id: UUID, end: EndWaiting) -> None:
        await session.flush()
        await session.execute(select(TaskRun.id).where(TaskRun.id == chain_id).with_for_update())
        chain = await self._load(session, chain_id)
        for task_id in chain.graph.order(chain.reached):
            run = chain.runs.get(task_id)
            if run is None or run.status is RunStatus.WAITING_DEPENDENCY:
                await self._advance(session, chain, task_id, end)
            elif chain.may_revive(task_id) and chain.judge(task_id).next is _Next.RUN:
                await self._revive(session, chain, task_id)
        for task_id, run in chain.runs.items():
            if run.status is RunStatus.WAITING_DEPENDENCY and task_id not in chain.reached:
                await end(session, run, RunStatus.CANCELLED, "It did not run: it no longer runs after another task.")
        if chain.is_over and len(chain.runs) > 1:
            await self._outbox.put(session, None, f"{KEY}{chain_id}", MessageType.NOTIFICATION, {})

    async def _load(self, session: AsyncSession, chain_id: UUID) -> _Chain:
        graph = await load_graph(session)
        query = (
            select(TaskRun)
            .where(TaskRun.chain_id == chain_id)
            .order_by(TaskRun.attempt, TaskRun.created_at)
            .execution_options(populate_existing=True)
        )
        rows = (await session.scalars(query)).all()
        root = next((run.task_id for run in rows if run.id == chain_id), None)
        reached = {root, *graph.descendants(root)} if root else set()
        tasks = await session.scalars(select(Task).where(Task.id.in_({*reached, *(run.task_id for run in rows)})))
        return _Chain(chain_id, graph, reached, {task.id: task for task in tasks}, {run.task_id: run for run in rows})

    async def _advance(self, session: AsyncSession, chain: _Chain, task_id: UUID, end: EndWaiting) -> None:
        """Moves one task of the chain as far as it can go now."""
        verdict = chain.judge(task_id)
        if verdict.next is _Next.NOTHING:
            return
        task, run = chain.tasks[task_id], chain.runs.get(task_id)
        if run is None:
            run = await self._insert(session, chain, task)
        if verdict.next is _Next.FAIL:
            await end(session, run, RunStatus.FAILED, verdict.words)
        elif verdict.next is _Next.RUN and (task.paused or not task.enabled):
            await end(session, run, RunStatus.CANCELLED, f"It did not run: {task.task_name} is paused.")
        elif verdict.next is _Next.RUN:
            try:
                run = await self._queue(session, chain, task, run)
            except Invalid as error:  # of any, what it lacks may still come from one that goes on
                if not any(chain.is_pending(edge) for edge in chain.inside(task_id)):
                    await end(session, run, RunStatus.FAILED, f"It did not run: {error.message}")
        chain.runs[task_id] = run

    async def _revive(self, session: AsyncSession, chain: _Chain, task_id: UUID) -> None:
        """Another attempt, in the same thread, of a run that was kept from running; a paused task stays as it is."""
        task, run = chain.tasks[task_id], chain.runs[task_id]
        if task.paused or not task.enabled:
            return
        try:
            values = await self._values(session, chain, task)
        except Invalid:
            return
        now = self._clock.now()
        attempt = await next_attempt(session, run, now, trigger=Trigger.DEPENDENCY, not_before=None, **values)
        first = await session.get_one(TaskRun, first_of(run))
        payload = {"task": task.task_name, "session_id": str(first.id), "trigger": Trigger.DEPENDENCY.value}
        await self._outbox.put(session, first, "opening", MessageType.RUN_OPENING, payload)
        await self._outbox.put(session, attempt, "card", MessageType.LIVE_CARD)
        chain.runs[task_id] = attempt

    async def _insert(self, session: AsyncSession, chain: _Chain, task: Task) -> TaskRun:
        run = await first_attempt(
            session,
            task,
            self._clock.now(),
            status=RunStatus.WAITING_DEPENDENCY,
            trigger=Trigger.DEPENDENCY,
            parameters=await saved_values(session, task),
            chain_id=chain.chain_id,
        )
        payload = {"task": task.task_name, "session_id": str(run.id), "trigger": run.trigger.value}
        await self._outbox.put(session, run, "opening", MessageType.RUN_OPENING, payload)
        await self._outbox.put(session, run, "card", MessageType.LIVE_CARD)
        return run

    async def _queue(self, session: AsyncSession, chain: _Chain, task: Task, run: TaskRun) -> TaskRun:
        """Gives the run its values and its upstream runs, and lets it go. Raises Invalid when it lacks something."""
        values = await self._values(session, chain, task)
        place = await end_of_queue(session, self._clock.now())
        return await move(session, run.id, RunStatus.QUEUED, epoch=run.epoch, queued_at=place, **values)

    async def _values(self, session: AsyncSession, chain: _Chain, task: Task) -> dict[str, Any]:
        """The columns `parameters` and `upstream_runs` of a run that may go. Raises Invalid when it lacks something."""
        upstreams, expected = await self._upstreams(session, chain, task)
        parameters = from_rows(task.required_parameters, task.optional_parameters)
        filled = fill(parameters, await saved_values(session, task))
        resolved(filled, upstreams, expected)
        return {"parameters": filled, "upstream_runs": as_row(upstreams)}

    async def _upstreams(self, session: AsyncSession, chain: _Chain, task: Task) -> tuple[list[Upstream], list[str]]:
        """The runs that the new one builds on: those of this chain, and of other tasks their last good ones."""
        edges = chain.graph.upstreams(task.id)
        names = await names_of(session, {edge.upstream_id for edge in edges})
        is_any, upstreams = task.dependency_mode == "any", []
        for edge in edges:
            if edge.upstream_id in chain.reached:
                run = None if chain.is_pending(edge) else chain.runs[edge.upstream_id]
            else:
                run = await latest_completed(session, edge.upstream_id)
                if run is None and edge.required and not is_any:
                    name = names[edge.upstream_id]
                    raise Invalid("task", f"{name} has no completed run yet.", f"/task-start {name}")
            if run is not None:
                upstreams.append(Upstream(names[edge.upstream_id], run, await artifacts_of(session, run.id)))
        return upstreams, list(names.values())


async def saved_values(session: AsyncSession, task: Task) -> dict[str, str]:
    """The values that a run of the task has when nobody is asked, besides defaults: the schedule's, then the edges'."""
    query = select(TaskDependency.parameters).where(TaskDependency.task_id == task.id)
    saved = dict(task.schedule_parameters or {})
    for values in await session.scalars(query.order_by(TaskDependency.created_at, TaskDependency.id)):
        saved |= values
    known = {each.name for each in from_rows(task.required_parameters, task.optional_parameters)}
    return {name: value for name, value in saved.items() if name in known}
