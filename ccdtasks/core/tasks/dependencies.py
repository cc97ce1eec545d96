"""Dependencies: which task runs after which others, made and removed by their owner, and shown as a tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID, uuid4

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.access import Access, Actor, person
from ccdtasks.core.audit import Audit
from ccdtasks.core.definition.parameters import check_value, fill, from_rows, unknown_parameter
from ccdtasks.core.definition.values import parse_values
from ccdtasks.core.ending.breakage import Act, Breakage, breakage_of
from ccdtasks.core.ending.chains import saved_values
from ccdtasks.core.ending.endings import Endings
from ccdtasks.core.records.graph import Graph, load_graph, lock_graph, names_of
from ccdtasks.core.records.upstream import MAIN, reference
from ccdtasks.core.tasks.tasks import Tasks
from ccdtasks.core.text import clean_line
from ccdtasks.db import Database
from ccdtasks.db.enums import RunStatus
from ccdtasks.db.models import Task, TaskDependency, TaskRun
from ccdtasks.errors import Conflict, Denied, Invalid, LimitReached, NotFound
from ccdtasks.events import Bus, TaskChanged
from ccdtasks.times import Clock

Mode = Literal["all", "any"]
"""Whether a task waits for all of the tasks that it runs after, or for the first of them."""

MAX_UPSTREAMS = 20


@dataclass(frozen=True, slots=True)
class Added:
    """A dependency that was made, changed or removed.

    `upstreams`: all that the task directly runs after now. `is_apart`: they do not all belong to each chain that leads
    to the task, so that in mode `all` it runs with the last good run of those that do not.
    """

    task: Task
    upstream: Task
    required: bool
    upstreams: Sequence[str]
    is_apart: bool


@dataclass(frozen=True, slots=True)
class Follower:
    """A task that a run leads to. `after`: what it directly runs after, all or any of it by `mode`."""

    name: str
    after: Sequence[str]
    mode: str


@dataclass(frozen=True, slots=True)
class TreeTask:
    """A task of a tree. `level`: 0 for the one that was asked about, less for what comes before, more for after.

    `beside`: what it directly runs after as well and is not in the tree.
    """

    task: Task
    level: int
    last_status: RunStatus | None
    beside: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class TreeEdge:
    """`task` runs after `upstream`; names."""

    task: str
    upstream: str
    required: bool


@dataclass(frozen=True, slots=True)
class Tree:
    """Everything before and after a task, in an order in which it can run.

    `depth`: steps on the longest path. `estimated_s`: along the slowest path, from the averages of good runs, None
    while there is none; `unknown` are the tasks without one.
    """

    task: Task
    tasks: Sequence[TreeTask]
    edges: Sequence[TreeEdge]
    depth: int
    estimated_s: int | None
    unknown: Sequence[str]

    def upstreams(self, name: str) -> list[TreeEdge]:
        """What the named task directly runs after."""
        return [edge for edge in self.edges if edge.task == name]

    def followers(self, name: str) -> list[TreeEdge]:
        """What directly runs after the named task."""
        return [edge for edge in self.edges if edge.upstream == name]


class Dependencies:
    """The acts on dependencies."""

    def __init__(
        self,
        *,
        db: Database,
        bus: Bus,
        clock: Clock,
        access: Access,
        audit: Audit,
        tasks: Tasks,
        endings: Endings,
    ) -> None:
        self._db = db
        self._bus = bus
        self._clock = clock
        self._access = access
        self._audit = audit
        self._tasks = tasks
        self._endings = endings

    async def add(
        self,
        actor: Actor,
        task: str,
        depends_on: str,
        *,
        required: bool = True,
        mode: Mode | None = None,
        values: Mapping[str, str] | str = "",
    ) -> Added:
        """Lets `task` run after each final end of `depends_on`; a pair that exists already is changed.

        `required`: only when the other has completed. `mode` is the task's, for all that it runs after. `values`: of
        the runs that start so; `@other-task/output_file` is a file of the other's run. Raises Conflict for a pair that
        is there already or would close a circle, Denied for somebody else's task, Invalid when a value is missing.
        """
        self._access.require_use(actor)
        given = parse_values(values) if isinstance(values, str) else dict(values)
        async with self._db.write() as session:
            await lock_graph(session)
            dependent = await self._tasks.find_in(session, actor, task, "change this task")
            upstream = await self._tasks.find_in(session, actor, depends_on, "let a task run after this one")
            await self.add_in(session, actor, dependent, upstream, required=required, mode=mode, given=given)
            await _require_values(session, dependent, upstream)
            await _require_upstreams(session, dependent, given)
            await self._endings.settle_chains(session)
            added = await _added(session, dependent, upstream, required=required)
        self._bus.publish(TaskChanged(dependent.id))
        return added

    async def add_in(
        self,
        session: AsyncSession,
        actor: Actor,
        dependent: Task,
        upstream: Task,
        *,
        required: bool,
        mode: Mode | None,
        given: Mapping[str, str],
    ) -> None:
        """As `add`, in the caller's transaction, which has locked the graph and sees to the values itself."""
        await self._require_possible(session, dependent, upstream)
        row = await _find(session, dependent, upstream)
        is_same = row is not None and row.required == required and not given
        if is_same and mode in (None, dependent.dependency_mode):
            raise Conflict(
                f"{dependent.task_name} runs after {upstream.task_name} already.",
                f"/task-dependencies {dependent.task_name} shows it",
            )
        if row is None:
            row = await self._insert(session, actor, dependent, upstream)
        row.required, row.parameters = required, {**row.parameters, **_checked(dependent, given)}
        dependent.dependency_mode = mode or dependent.dependency_mode
        await session.flush()
        details = {"on": upstream.task_name, "required": required, "mode": dependent.dependency_mode}
        self._audit.record(session, actor, "task.depend", dependent.id, details)

    async def remove(self, actor: Actor, task: str, depends_on: str) -> Added:
        """Lets `task` no longer run after `depends_on`; a run that waits only for it is ended."""
        self._access.require_use(actor)
        async with self._db.write() as session:
            await lock_graph(session)
            dependent = await self._tasks.find_in(session, actor, task, "change this task")
            upstream = await self._tasks.find_in(session, actor, depends_on, "change what runs after this task")
            row = await _find(session, dependent, upstream)
            if row is None:
                raise NotFound(
                    f"{dependent.task_name} does not run after {upstream.task_name}.",
                    f"/task-dependencies {dependent.task_name} shows what it runs after",
                )
            await session.delete(row)
            await session.flush()
            await self._endings.settle_chains(session)
            self._audit.record(session, actor, "task.undepend", dependent.id, {"on": upstream.task_name})
            removed = await _added(session, dependent, upstream, required=row.required)
        self._bus.publish(TaskChanged(dependent.id))
        return removed

    async def tree(self, actor: Actor, task: str) -> Tree:
        """Everything that the task runs after and everything that runs after it."""
        self._access.require_use(actor)
        async with self._db.read() as session:
            found = await self._tasks.find_in(session, actor, task)
            graph = await load_graph(session)
            members = {found.id, *graph.ancestors(found.id), *graph.descendants(found.id)}
            rows = {each.id: each for each in await session.scalars(select(Task).where(Task.id.in_(members)))}
            statuses = await _last_statuses(session, members)
            outside = {edge.upstream_id for each in members for edge in graph.upstreams(each)} - members
            names = {each: row.task_name for each, row in rows.items()} | await names_of(session, outside)
        levels, order = _levels(graph, found.id), graph.order(members)
        edges = [
            TreeEdge(names[e.task_id], names[e.upstream_id], e.required)
            for each in order
            for e in graph.upstreams(each)
            if e.upstream_id in members
        ]
        averages = {each: row.avg_duration_seconds or 0 for each, row in rows.items()}
        unknown = [names[each] for each in order if rows[each].avg_duration_seconds is None]
        return Tree(
            task=found,
            tasks=[
                TreeTask(
                    rows[each],
                    levels[each],
                    statuses.get(each),
                    [names[edge.upstream_id] for edge in graph.upstreams(each) if edge.upstream_id in outside],
                )
                for each in order
            ],
            edges=edges,
            depth=graph.longest(members, dict.fromkeys(members, 1)) - 1,
            estimated_s=graph.longest(members, averages) if len(unknown) < len(members) else None,
            unknown=unknown,
        )

    async def followers(self, task_id: UUID) -> list[Follower]:
        """Every task that a run of this one leads to, in the order in which they run."""
        async with self._db.read() as session:
            graph = await load_graph(session)
            reached = graph.order(graph.descendants(task_id))
            tasks = {*reached, *(edge.upstream_id for each in reached for edge in graph.upstreams(each))}
            rows = {each.id: each for each in await session.scalars(select(Task).where(Task.id.in_(tasks)))}
        return [
            Follower(
                rows[each].task_name,
                [rows[edge.upstream_id].task_name for edge in graph.upstreams(each)],
                rows[each].dependency_mode,
            )
            for each in reached
        ]

    async def broken_by(self, task_id: UUID, act: Act) -> Breakage:
        """What would become of the tasks after this one if it were paused or deleted."""
        async with self._db.read() as session:
            return await breakage_of(session, task_id, act)

    async def _require_possible(self, session: AsyncSession, dependent: Task, upstream: Task) -> None:
        if dependent.id == upstream.id:
            raise Conflict("A task cannot run after itself.", "name two tasks")
        if dependent.owner_user_id != upstream.owner_user_id:
            owner = person(upstream.owner_user_id)
            raise Denied(
                f"{upstream.task_name} belongs to {owner}, and a task runs only after tasks of its own owner.",
                "make a task of your own that does the same",
            )
        graph = await load_graph(session)
        circle = graph.circle(dependent.id, upstream.id)
        if circle:
            names = await names_of(session, circle)
            path = " -> ".join(names[each] for each in circle)
            raise Conflict(f"That would be a circle: {path}.", "remove one of these first: /task-depends-remove")

    async def _insert(self, session: AsyncSession, actor: Actor, dependent: Task, upstream: Task) -> TaskDependency:
        count = select(func.count()).where(TaskDependency.task_id == dependent.id)
        if (await session.scalar(count) or 0) >= MAX_UPSTREAMS:
            raise LimitReached(f"A task runs after {MAX_UPSTREAMS} others at most.")
        row = TaskDependency(
            id=uuid4(),
            task_id=dependent.id,
            depends_on_task_id=upstream.id,
            parameters={},
            created_at=self._clock.now(),
            created_by=actor.user_id,
        )
        session.add(row)
        return row


async def _added(session: AsyncSession, dependent: Task, upstream: Task, *, required: bool) -> Added:
    graph = await load_graph(session)
    before = [edge.upstream_id for edge in graph.upstreams(dependent.id)]
    names = await names_of(session, before)
    is_apart = len({frozenset(graph.roots(each)) for each in before}) > 1
    return Added(dependent, upstream, required, [names[each] for each in before], is_apart)


async def _find(session: AsyncSession, dependent: Task, upstream: Task) -> TaskDependency | None:
    return await session.scalar(
        select(TaskDependency).where(
            TaskDependency.task_id == dependent.id, TaskDependency.depends_on_task_id == upstream.id
        )
    )


def _checked(dependent: Task, given: Mapping[str, str]) -> dict[str, str]:
    known = {each.name: each for each in from_rows(dependent.required_parameters, dependent.optional_parameters)}
    for name, value in given.items():
        if name not in known:
            raise unknown_parameter(name, list(known))
        check_value(known[name], value)
    return dict(given)


async def _require_values(session: AsyncSession, dependent: Task, upstream: Task) -> None:
    """A run that another task starts has nobody to ask; so every value must be known beforehand."""
    saved = await saved_values(session, dependent)
    parameters = from_rows(dependent.required_parameters, dependent.optional_parameters)
    missing = [each.name for each in parameters if each.is_required and each.name not in saved]
    if missing:
        listed = ", ".join(f"`{name}`" for name in missing)
        example = " ".join(_example(name, upstream) for name in missing)
        raise Invalid(
            "values",
            f"{dependent.task_name} needs {listed}, and a run that another task starts has nobody to ask.",
            f"add values, for example {example}",
        )
    fill(parameters, saved)


def _example(name: str, upstream: Task) -> str:
    """`input_file:@scrape-news/output_file`; where it is to write its own file is no file of another task."""
    return f"{name}:..." if name.startswith("out") else f"{name}:@{upstream.task_name}/{MAIN}"


async def _require_upstreams(session: AsyncSession, dependent: Task, given: Mapping[str, str]) -> None:
    """The output of a task that this one does not run after would be no file, but these very words."""
    wanted = [found[0] for value in given.values() if (found := reference(value)) and found[1] == MAIN]
    if not wanted:
        return
    graph = await load_graph(session, TaskDependency.task_id == dependent.id)
    names = await names_of(session, {edge.upstream_id for edge in graph.upstreams(dependent.id)})
    for name in wanted:
        if name not in names.values():
            known = " or ".join(f"@{each}/{MAIN}" for each in sorted(names.values()))
            raise Invalid(
                "values",
                f"{dependent.task_name} does not run after {clean_line(name, 80)}, so it gets no file of it.",
                f"write {known}",
            )


def _levels(graph: Graph, start: UUID) -> dict[UUID, int]:
    """How many steps each task is away from `start` at most: below zero before it, above zero after it."""
    levels = {start: 0}
    before, after = graph.ancestors(start), graph.descendants(start)
    for each in reversed(graph.order(before)):
        levels[each] = min(levels[edge.task_id] for edge in graph.followers(each) if edge.task_id in levels) - 1
    for each in graph.order(after):
        levels[each] = max(levels[edge.upstream_id] for edge in graph.upstreams(each) if edge.upstream_id in levels) + 1
    return levels


async def _last_statuses(session: AsyncSession, tasks: set[UUID]) -> dict[UUID, RunStatus]:
    latest = (
        select(TaskRun.task_id, func.max(TaskRun.created_at).label("at"))
        .where(TaskRun.task_id.in_(tasks))
        .group_by(TaskRun.task_id)
        .subquery()
    )
    query = select(TaskRun.task_id, TaskRun.status).join(
        latest, (latest.c.task_id == TaskRun.task_id) & (latest.c.at == TaskRun.created_at)
    )
    return {row.task_id: row.status for row in await session.execute(query.order_by(TaskRun.attempt))}
