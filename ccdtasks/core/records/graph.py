"""Which task runs after which: the graph of dependencies and the questions that are asked of it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from uuid import UUID

from sqlalchemy import ColumnElement, delete, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ccdtasks.db.models import Task, TaskDependency


@dataclass(frozen=True, slots=True)
class Edge:
    """`task_id` runs after `upstream_id`, which must complete when `required`, and else only end."""

    task_id: UUID
    upstream_id: UUID
    required: bool = True


class Graph:
    """Edges between tasks, without a circle."""

    def __init__(self, edges: Iterable[Edge]) -> None:
        self._upstreams: dict[UUID, list[Edge]] = defaultdict(list)
        self._followers: dict[UUID, list[Edge]] = defaultdict(list)
        self._rank: dict[UUID, int] = {}
        for edge in edges:
            self._upstreams[edge.task_id].append(edge)
            self._followers[edge.upstream_id].append(edge)
            for each in (edge.upstream_id, edge.task_id):
                self._rank.setdefault(each, len(self._rank))

    def upstreams(self, task_id: UUID) -> Sequence[Edge]:
        """What the task directly runs after."""
        return self._upstreams.get(task_id, [])

    def followers(self, task_id: UUID) -> Sequence[Edge]:
        """What directly runs after the task."""
        return self._followers.get(task_id, [])

    def ancestors(self, task_id: UUID) -> set[UUID]:
        """Every task that comes before, near or far."""
        return _reached(task_id, lambda each: [edge.upstream_id for edge in self.upstreams(each)])

    def descendants(self, task_id: UUID) -> set[UUID]:
        """Every task that comes after, near or far."""
        return _reached(task_id, lambda each: [edge.task_id for edge in self.followers(each)])

    def roots(self, task_id: UUID) -> set[UUID]:
        """Where chains that come to the task begin: what comes before it and runs after nothing, or it alone."""
        return {each for each in {task_id, *self.ancestors(task_id)} if not self.upstreams(each)}

    def order(self, tasks: Collection[UUID]) -> list[UUID]:
        """The tasks in an order in which they can run; those that do not mind, as they were linked."""
        chosen = sorted(tasks, key=lambda each: self._rank.get(each, 0))
        return list(
            TopologicalSorter(
                {
                    each: [edge.upstream_id for edge in self.upstreams(each) if edge.upstream_id in tasks]
                    for each in chosen
                }
            ).static_order()
        )

    def circle(self, task_id: UUID, upstream_id: UUID) -> list[UUID] | None:
        """The circle that a new edge would close, along "runs after" from `task_id` and back; None without one."""
        came_from: dict[UUID, UUID] = {}
        waiting = deque([upstream_id])
        while waiting:
            here = waiting.popleft()
            if here == task_id:
                return [task_id, *_way_back(came_from, task_id, upstream_id)]
            for edge in self.upstreams(here):
                if edge.upstream_id not in came_from and edge.upstream_id != upstream_id:
                    came_from[edge.upstream_id] = here
                    waiting.append(edge.upstream_id)
        return None

    def longest(self, tasks: Collection[UUID], weights: Mapping[UUID, int]) -> int:
        """The largest sum of weights along a path through `tasks`."""
        best: dict[UUID, int] = {}
        for each in self.order(tasks):
            before = [best[edge.upstream_id] for edge in self.upstreams(each) if edge.upstream_id in best]
            best[each] = max(before, default=0) + weights.get(each, 0)
        return max(best.values(), default=0)


async def load_graph(session: AsyncSession, *only: ColumnElement[bool]) -> Graph:
    """All dependencies between tasks that were not deleted, oldest first, or those of which the conditions hold."""
    task, upstream, row = aliased(Task), aliased(Task), TaskDependency
    query = (
        select(row.task_id, row.depends_on_task_id, row.required)
        .join(task, task.id == row.task_id)
        .join(upstream, upstream.id == row.depends_on_task_id)
        .where(task.deleted_at.is_(None), upstream.deleted_at.is_(None), *only)
        .order_by(row.created_at, task.task_name, upstream.task_name)
    )
    return Graph(
        Edge(task_id, upstream_id, required) for task_id, upstream_id, required in await session.execute(query)
    )


async def names_of(session: AsyncSession, tasks: Collection[UUID]) -> dict[UUID, str]:
    """The tasks' names by id."""
    query = select(Task.id, Task.task_name).where(Task.id.in_(tasks))
    return {row.id: row.task_name for row in await session.execute(query)}


async def lock_graph(session: AsyncSession) -> None:
    """One change of the graph at a time, so that two halves of a circle cannot be inserted side by side.

    SQLite has one writer anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(text("LOCK TABLE task_dependencies IN SHARE ROW EXCLUSIVE MODE"))


async def remove_from_graph(session: AsyncSession, task_id: UUID) -> None:
    """Takes a task out of the graph, in the caller's transaction."""
    row = TaskDependency
    await lock_graph(session)
    await session.execute(delete(row).where(or_(row.task_id == task_id, row.depends_on_task_id == task_id)))


def _reached(start: UUID, neighbours: Callable[[UUID], Iterable[UUID]]) -> set[UUID]:
    seen: set[UUID] = set()
    waiting = [start]
    while waiting:
        for each in neighbours(waiting.pop()):
            if each not in seen:
                seen.add(each)
                waiting.append(each)
    return seen


def _way_back(came_from: Mapping[UUID, UUID], goal: UUID, start: UUID) -> list[UUID]:
    way = [goal]
    while way[-1] != start:
        way.append(came_from[way[-1]])
    return way[::-1]
