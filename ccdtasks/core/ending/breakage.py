"""What it breaks to pause or to delete a task that others run after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.amounts import some
from ccdtasks.core.records.graph import Graph, load_graph
from ccdtasks.db.models import Task
from ccdtasks.errors import Conflict

Act = Literal["pause", "delete"]

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Breakage:
    """`stopped`: what would no longer be started; `go_on`: what runs directly after the task, and still would."""

    stopped: Sequence[str] = ()
    go_on: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.stopped or self.go_on)


async def breakage_of(session: AsyncSession, task_id: UUID, act: Act) -> Breakage:
    """The tasks after this one by what would become of them, in the order in which they run."""
    graph = await load_graph(session)
    after = graph.order(graph.descendants(task_id))
    rows = await session.execute(select(Task.id, Task.task_name, Task.dependency_mode).where(Task.id.in_(after)))
    names, anys = dict[UUID, str](), set[UUID]()
    for each, name, mode in rows:
        names[each] = name
        if mode == "any":
            anys.add(each)
    stopped = _stopped(graph, task_id, after, anys, act)
    direct = {edge.task_id for edge in graph.followers(task_id)}
    return Breakage(
        [names[each] for each in after if each in stopped],
        [names[each] for each in after if each in direct - stopped],
    )


async def require_confirmed(session: AsyncSession, task: Task, act: Act, *, confirm: bool) -> None:
    """Raises Conflict that names what `act` would break, unless that is confirmed."""
    broken = Breakage() if confirm else await breakage_of(session, task.id, act)
    if not broken:
        return
    said = []
    if broken.stopped:
        verb = "runs" if len(broken.stopped) == 1 else "run"
        said.append(f"It would no longer start {some(broken.stopped, _SHOWN)}, which {verb} after {task.task_name}.")
    if broken.go_on:
        verb = "goes" if len(broken.go_on) == 1 else "go"
        said.append(f"{some(broken.go_on, _SHOWN)} {verb} on without {task.task_name}.")
    raise Conflict(" ".join(said), "confirm it: the button in Discord, --yes in the shell")


def _stopped(graph: Graph, task_id: UUID, after: Sequence[UUID], anys: set[UUID], act: Act) -> set[UUID]:
    """As `core.chains` will judge: nobody starts what comes after a task that is never started itself, while one that
    is passed over in the middle of a chain counts as a failed one."""
    is_passed_over = act == "pause" and bool(graph.upstreams(task_id))
    gone = {task_id}
    for each in after:
        lost = [edge.upstream_id in gone and (edge.required or not is_passed_over) for edge in graph.upstreams(each)]
        if all(lost) or (is_passed_over and each not in anys and any(lost)):
            gone.add(each)
    return gone - {task_id}
