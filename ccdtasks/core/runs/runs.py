"""Runs as people see them: started, stopped, found, listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from ccdtasks.config import Config
from ccdtasks.core.access import Access, Actor
from ccdtasks.core.audit import Audit
from ccdtasks.core.definition import naming
from ccdtasks.core.definition.parameters import fill, from_rows
from ccdtasks.core.definition.taskconfig import read_config
from ccdtasks.core.definition.values import parse_values
from ccdtasks.core.ending.endings import Endings, Outcome
from ccdtasks.core.facts import Facts, Hold
from ccdtasks.core.limits import require_rate
from ccdtasks.core.lookup import find_run, going_runs
from ccdtasks.core.outbox import Outbox
from ccdtasks.core.outcome.comparing import whole_result
from ccdtasks.core.outcome.results import Result, columns_of, stored_result
from ccdtasks.core.outcome.resulttables import Order, Outline, Rows, result_of, rows_of
from ccdtasks.core.pages import Page, page_size
from ccdtasks.core.records.artifacts import artifacts_of
from ccdtasks.core.records.budgets import Budgets
from ccdtasks.core.records.line import place_of
from ccdtasks.core.records.lineage import first_attempt
from ccdtasks.core.records.upstream import as_row, latest_upstreams, resolved
from ccdtasks.core.states import ACTIVE, FINAL
from ccdtasks.core.tasks.tasks import Tasks
from ccdtasks.db import Database
from ccdtasks.db.enums import MessageType, RunStatus, Trigger
from ccdtasks.db.models import Artifact, DiscordThread, RunEvent, Session, Task, TaskRun
from ccdtasks.errors import Conflict, NotFound
from ccdtasks.events import Bus, Event, MessagePending, RunChanged, RunQueued
from ccdtasks.times import Clock

_FEW_ROWS, _FEW_TABLES = 5, 3


_LIGHT = tuple(
    defer(column, raiseload=True) for column in (TaskRun.result_data, TaskRun.step_timings, TaskRun.error_stacktrace)
)
"""Lists leave out what may be megabytes a run and no line shows."""


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A run that was put into the queue. `session_id` is what people are shown; `position` counts from 1."""

    run: TaskRun
    session_id: UUID
    position: int


@dataclass(frozen=True, slots=True)
class RunRow:
    """A line of a list of runs. `position`: its place in the queue while it waits, from 1."""

    run: TaskRun
    task_name: str
    position: int | None = None


@dataclass(frozen=True, slots=True)
class RunView:
    """What a card needs. `attempts`: how many this run may have in all; `session`: that of the latest claim.

    `hold`: why no run starts at present. `result`: what it found, in a brief view without the rows of its tables;
    `tables`: those with rows, and the first few of each.
    """

    run: TaskRun
    task: Task
    session: Session | None
    artifacts: Sequence[Artifact]
    position: int | None
    attempts: int
    hold: Hold | None = None
    result: Result | None = None
    tables: Sequence[Rows] = ()


@dataclass(frozen=True, slots=True)
class Overview:
    """What goes on: runs that are going or wait, and the latest ones that ended; `task` when one was asked for.

    `holds`: why no run starts at present.
    """

    task: Task | None
    going: Sequence[RunRow]
    recent: Sequence[RunRow]
    holds: Sequence[Hold] = ()


class Runs:
    """The acts on runs."""

    def __init__(
        self,
        *,
        db: Database,
        bus: Bus,
        clock: Clock,
        config: Config,
        access: Access,
        audit: Audit,
        tasks: Tasks,
        outbox: Outbox,
        endings: Endings,
        facts: Facts,
        budgets: Budgets,
    ) -> None:
        self._db = db
        self._bus = bus
        self._clock = clock
        self._config = config
        self._access = access
        self._audit = audit
        self._tasks = tasks
        self._outbox = outbox
        self._endings = endings
        self._facts = facts
        self._budgets = budgets

    async def start(
        self,
        actor: Actor,
        task_name: str,
        values: Mapping[str, str] | str = "",
        trigger: Trigger = Trigger.MANUAL,
    ) -> StartedRun:
        """Puts a run of the task into the queue. `values`: by name, or as typed: `origin:SFO dates:"Feb 15-22"`.

        Raises Invalid for values that the task does not take, LimitReached when the actor starts too many a minute.
        """
        self._access.require_use(actor)
        given = parse_values(values) if isinstance(values, str) else dict(values)
        async with self._db.write() as session:
            task = await self._tasks.find_in(session, actor, task_name, "start this task")
            started = await self._insert(session, actor, task, given, trigger)
        self._publish_queued(started.run)
        return started

    async def again(self, actor: Actor, run_id: UUID, values: Mapping[str, str] | None = None) -> StartedRun:
        """Starts the run's task once more with the same values, some of them replaced by `values`."""
        async with self._db.write() as session:
            run = await self._own(session, actor, str(run_id), "run this again")
            task = await session.get_one(Task, run.task_id)
            if task.deleted_at:
                raise Conflict(f"{task.task_name} was deleted.", "/task-create makes a new one")
            known = {parameter.name for parameter in from_rows(task.required_parameters, task.optional_parameters)}
            kept = {name: value for name, value in run.parameters.items() if name in known}
            started = await self._insert(session, actor, task, {**kept, **(values or {})}, Trigger.MANUAL)
        self._publish_queued(started.run)
        return started

    async def stop(self, actor: Actor, name_or_id: str, force: bool = False) -> TaskRun:
        """Stops a run, named by its task or by its id. One that waits is cancelled at once; else the wish is noted.

        Raises Conflict when nothing is running, when the run has ended, or when a task's name means several runs.
        """
        self._access.require_use(actor)
        async with self._db.write() as session:
            run = await self._one_to_stop(session, actor, name_or_id)
            self._access.require_owner(actor, run.owner_user_id, "stop this run")
            if run.status in FINAL:
                raise Conflict(f"This run has ended already: {run.status}.")
            run.stop_requested_at = run.stop_requested_at or self._clock.now()
            run.stop_requested_by = run.stop_requested_by or actor.user_id
            run.stop_force = run.stop_force or force
            await session.flush()
            if run.status in ACTIVE:
                await self._outbox.touch(session, run.id, "card")
            else:
                await self._endings.end(session, run, Outcome(RunStatus.CANCELLED))
            self._audit.record(session, actor, "run.stop", run.id, {"force": force})
        self._publish(RunChanged(run.id), MessagePending(run.id))
        return run

    async def find(self, actor: Actor, id_or_prefix: str) -> TaskRun:
        """The run whose id, or whose session's id, begins so (four digits at least)."""
        self._access.require_use(actor)
        async with self._db.read() as session:
            return await self._own(session, actor, id_or_prefix, "see this run")

    async def page(
        self,
        actor: Actor,
        task_name: str | None = None,
        status: RunStatus | None = None,
        after: str | None = None,
        limit: int = 20,
    ) -> Page[RunRow]:
        """Runs, newest first: of one task, or all that the actor may see. `after`: the last page's `next_after`."""
        self._access.require_use(actor)
        size = page_size(limit)
        async with self._db.read() as session:
            query = select(TaskRun, Task.task_name).join(Task, Task.id == TaskRun.task_id).options(*_LIGHT)
            if task_name is not None:
                task = await self._tasks.find_in(session, actor, task_name)
                query = query.where(TaskRun.task_id == task.id)
            elif not self._access.is_admin(actor):
                query = query.where(TaskRun.owner_user_id == actor.user_id)
            if status is not None:
                query = query.where(TaskRun.status == status)
                if status not in FINAL:
                    query = query.where(TaskRun.completed_at.is_(None))  # so that the small partial index serves
            if after is not None:
                last = await find_run(session, after)
                query = query.where(tuple_(TaskRun.created_at, TaskRun.id) < (last.created_at, last.id))
            query = query.order_by(TaskRun.created_at.desc(), TaskRun.id.desc()).limit(size + 1)
            found = (await session.execute(query)).all()
            rows = [RunRow(run, name, await place_of(session, run, self._clock.now())) for run, name in found[:size]]
        return Page(rows, str(rows[-1].run.id) if len(found) > size else None)

    async def status(self, actor: Actor, task_name: str | None = None, recent: int = 5) -> Overview:
        """What goes on now and what ended last, of one task or of all that the actor may see."""
        self._access.require_use(actor)
        async with self._db.read() as session:
            task = await self._tasks.find_in(session, actor, task_name) if task_name is not None else None
            owner = None if task or self._access.is_admin(actor) else actor.user_id
            going = [
                RunRow(run, name, await place_of(session, run, self._clock.now()))
                for run, name in await going_runs(session, task_id=task.id if task else None, owner=owner)
            ]
            query = (
                select(TaskRun, Task.task_name)
                .join(Task, Task.id == TaskRun.task_id)
                .options(*_LIGHT)
                .where(TaskRun.completed_at.is_not(None))
                .order_by(TaskRun.created_at.desc())
                .limit(page_size(recent))
            )
            if task:
                query = query.where(TaskRun.task_id == task.id)
            elif owner:
                query = query.where(TaskRun.owner_user_id == owner)
            ended = [RunRow(run, name) for run, name in await session.execute(query)]
            holds = list((await self._facts.holds_in(session)).values())
        return Overview(task, going, ended, holds)

    async def events(
        self, actor: Actor, run_id: UUID, after: datetime | None = None, limit: int = 200
    ) -> Sequence[RunEvent]:
        """The log of a run in order. `at` rises strictly within a run: the last row's `at` is the next `after`."""
        async with self._db.read() as session:
            await self._own(session, actor, str(run_id), "see the log of this run")
            query = select(RunEvent).where(RunEvent.run_id == run_id).order_by(RunEvent.at).limit(min(limit, 1000))
            if after is not None:
                query = query.where(RunEvent.at > after)
            return (await session.scalars(query)).all()

    async def load(self, run_id: UUID) -> RunView:
        """Everything that a run is, for parts that act for the appliance itself; a long result costs its length."""
        async with self._db.read() as session:
            view = await self._view(session, await session.get(TaskRun, run_id))
            result = stored_result(view.run.result_data)
            return replace(view, result=result, tables=first_rows(result) if result else ())

    async def brief(self, run_id: UUID) -> RunView:
        """Everything that a card shows, which costs the same however long the result is."""
        async with self._db.read() as session:
            options = [defer(TaskRun.result_data, raiseload=True)]
            view = await self._view(session, await session.get(TaskRun, run_id, options=options))
            result, outlines = await result_of(session, run_id) or (None, [])
            tables = [
                await rows_of(session, run_id, outline, order=Order(), start=0, limit=_FEW_ROWS)
                for outline in outlines[:_FEW_TABLES]
            ]
            return replace(
                view, result=result, tables=[*tables, *(Rows(each, Order(), 0, []) for each in outlines[_FEW_TABLES:])]
            )

    async def result(self, run_id: UUID) -> Result | None:
        """The result of a run with all its rows, read beside the event loop; None when it has none."""
        async with self._db.read() as session:
            return await whole_result(session, run_id)

    async def rows(
        self, actor: Actor, run_id: UUID, table: int, start: int, limit: int
    ) -> tuple[TaskRun, Sequence[Outline], Rows]:
        """Some rows of the result's table of that number, counted from 0, and all the tables that there are.

        Raises NotFound for a run that left no rows.
        """
        async with self._db.read() as session:
            run = await self._own(session, actor, str(run_id), "see this run")
            _, outlines = await result_of(session, run_id) or (None, [])
            if not outlines:
                raise NotFound("This run left no rows.")
            outline = outlines[min(table, len(outlines) - 1)]
            found = await rows_of(session, run_id, outline, order=Order(), start=start, limit=page_size(limit))
            return run, outlines, found

    async def set_thread(self, run_id: UUID, channel_id: str, thread_id: str, name: str, status: str) -> None:
        """Notes the thread that the bot found, made or renamed, for the run and all its retries.

        `status`: running, complete, failed, cancelled.
        """
        async with self._db.write() as session:
            run = await session.get_one(TaskRun, run_id)
            first = run.retry_of or run.id
            query = select(TaskRun).where((TaskRun.id == first) | (TaskRun.retry_of == first))
            for each in await session.scalars(query):
                each.discord_channel_id, each.discord_thread_id = channel_id, thread_id
            thread = await session.scalar(select(DiscordThread).where(DiscordThread.thread_id == thread_id))
            if thread is None:
                thread = DiscordThread(thread_id=thread_id, task_run_id=first, created_at=self._clock.now())
                session.add(thread)
            thread.parent_channel_id, thread.thread_name, thread.status = channel_id, name[:100], status
            task = await session.get_one(Task, run.task_id)
            task.discord_thread_id_current = thread_id

    async def _insert(
        self, session: AsyncSession, actor: Actor, task: Task, given: Mapping[str, str], trigger: Trigger
    ) -> StartedRun:
        values = fill(from_rows(task.required_parameters, task.optional_parameters), given)
        upstreams, expected = await latest_upstreams(session, task.id)
        resolved(values, upstreams, expected)
        now = self._clock.now()
        await require_rate(session, actor, self._config.limits.starts_per_minute, now)
        await self._budgets.require(session, task)
        run = await first_attempt(
            session,
            task,
            now,
            status=RunStatus.QUEUED,
            trigger=trigger,
            started_by=actor.user_id,
            parameters=values,
            upstream_runs=as_row(upstreams),
        )
        payload = {"task": task.task_name, "session_id": str(run.id), "parameters": values, "trigger": trigger.value}
        await self._outbox.put(session, run, "opening", MessageType.RUN_OPENING, payload)
        await self._outbox.put(session, run, "card", MessageType.LIVE_CARD)
        self._audit.record(session, actor, "run.start", run.id, {"task": task.task_name})
        place = await place_of(session, run, now) or 1
        run.live = {"position": place}
        return StartedRun(run, run.id, place)

    async def _own(self, session: AsyncSession, actor: Actor, id_or_prefix: str, act: str) -> TaskRun:
        run = await find_run(session, id_or_prefix)
        self._access.require_owner(actor, run.owner_user_id, act)
        return run

    async def _one_to_stop(self, session: AsyncSession, actor: Actor, name_or_id: str) -> TaskRun:
        task = await session.scalar(
            select(Task).where(Task.task_name == naming.folded(name_or_id), Task.deleted_at.is_(None))
        )
        if task is None:
            try:
                return await find_run(session, name_or_id)
            except NotFound:
                await self._tasks.find_in(session, actor, name_or_id, "stop this run")
                raise
        self._access.require_owner(actor, task.owner_user_id, "stop this run")
        going = [run for run, _ in await going_runs(session, task_id=task.id)]
        if not going:
            raise Conflict(f"{task.task_name} is not running.")
        if len(going) > 1:
            listed = ", ".join(run.id.hex[:8] for run in going[:5])
            raise Conflict(f"{len(going)} runs of {task.task_name} are going.", f"name one: {listed}")
        return going[0]

    async def _view(self, session: AsyncSession, run: TaskRun | None) -> RunView:
        if run is None:
            raise NotFound("This run does not exist.")
        task = await session.get_one(Task, run.task_id)
        return RunView(
            run=run,
            task=task,
            session=await session.get(Session, run.session_id) if run.session_id else None,
            artifacts=await artifacts_of(session, run.id),
            position=await place_of(session, run, self._clock.now()),
            attempts=max(run.attempt, read_config(task.config).retries.attempts),
            hold=next(iter((await self._facts.holds_in(session)).values()), None),
        )

    def _publish(self, *events: Event) -> None:
        for event in events:
            self._bus.publish(event)

    def _publish_queued(self, run: TaskRun) -> None:
        self._publish(RunQueued(run.id), RunChanged(run.id), MessagePending(run.id))


def first_rows(result: Result) -> list[Rows]:
    """The tables of a result that was read whole, as `result_of` and `rows_of` would find them."""
    tables = [(None, result.items), *result.tables.items()]
    return [
        Rows(Outline(place, name, len(rows), columns_of(rows)), Order(), 0, rows[:_FEW_ROWS])
        for place, (name, rows) in enumerate(tables)
        if rows
    ]
