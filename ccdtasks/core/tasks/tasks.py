"""Tasks: made, found, listed and deleted by their owners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Literal
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Select, case, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.access import Access, Actor
from ccdtasks.core.audit import Audit
from ccdtasks.core.calendar.schedulelog import by, entry
from ccdtasks.core.definition import naming
from ccdtasks.core.definition.categories import check_type, infer_type
from ccdtasks.core.definition.parameters import Parameter, placeholders
from ccdtasks.core.definition.taskconfig import TaskConfig, config_row, read_config
from ccdtasks.core.ending.breakage import require_confirmed
from ccdtasks.core.ending.endings import Endings
from ccdtasks.core.lookup import going_runs
from ccdtasks.core.pages import Page, page_size
from ccdtasks.core.records.graph import lock_graph, remove_from_graph
from ccdtasks.core.states import BY_INTEREST
from ccdtasks.core.tasks.editing import Edited, apply
from ccdtasks.core.text import clean_line
from ccdtasks.db import Database
from ccdtasks.db.enums import RunStatus
from ccdtasks.db.models import DiscordChannel, ScheduleHistory, Task, TaskRun
from ccdtasks.errors import Conflict, Invalid, NotFound
from ccdtasks.events import Bus, TaskChanged
from ccdtasks.times import Clock

TaskFilter = Literal["all", "active", "paused", "failed", "scheduled"]


@dataclass(frozen=True, slots=True)
class TaskDraft:
    """A task as somebody describes it. `parameters`: name -> {"description", "default", "pattern", "choices"}."""

    name: str
    prompt: str
    task_type: str | None = None
    description: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChannelPlace:
    """Where a task lives in Discord: ids and names of its channel and category."""

    channel_id: str
    channel_name: str
    category_id: str | None = None
    category_name: str | None = None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A line of a list of tasks. `active`: its runs that have not ended; of these `last_status` is the one to hear of.

    When none goes on, `last_status` is how the latest run ended.
    """

    task: Task
    active: int
    last_status: RunStatus | None

    @property
    def success_rate(self) -> float | None:
        """Completed runs among those that completed or failed, 0 to 1; None before the first."""
        ended = self.task.success_count + self.task.failure_count
        return self.task.success_count / ended if ended else None


@dataclass(frozen=True, slots=True)
class _Checked:
    name: str
    prompt: str
    task_type: str
    description: str | None
    config: TaskConfig
    parameters: Sequence[Parameter]


class Tasks:
    """The acts on tasks."""

    def __init__(self, *, db: Database, bus: Bus, clock: Clock, access: Access, audit: Audit, endings: Endings) -> None:
        self._db = db
        self._bus = bus
        self._clock = clock
        self._access = access
        self._audit = audit
        self._endings = endings

    async def check(self, actor: Actor, draft: TaskDraft) -> None:
        """Raises everything that `create` would refuse, and makes nothing."""
        self._access.require_use(actor)
        checked = _check(draft)
        async with self._db.read() as session:
            await _require_free(session, checked.name)

    async def create(self, actor: Actor, draft: TaskDraft, place: ChannelPlace | None = None) -> Task:
        """Makes a task. Raises Invalid for a wrong name, prompt or setting, Conflict when the name is taken."""
        async with self._db.write() as session:
            task = await self.create_in(session, actor, draft, place)
        self._bus.publish(TaskChanged(task.id))
        return task

    async def create_in(
        self, session: AsyncSession, actor: Actor, draft: TaskDraft, place: ChannelPlace | None
    ) -> Task:
        """As `create`, in the caller's transaction."""
        self._access.require_use(actor)
        checked = _check(draft)
        await _require_free(session, checked.name)
        task = Task(
            id=uuid4(),
            task_name=checked.name,
            task_type=checked.task_type,
            description=checked.description,
            template_prompt=checked.prompt,
            required_parameters=[each.as_row() for each in checked.parameters if each.is_required],
            optional_parameters=[each.as_row() for each in checked.parameters if not each.is_required],
            config=config_row(checked.config),
            effect=checked.config.effect,
            owner_user_id=actor.user_id,
            created_by=actor.user_id,
            created_at=self._clock.now(),
        )
        session.add(task)
        await session.flush()
        if place:
            await _place(session, task.id, place)
        self._audit.record(session, actor, "task.create", task.id, {"name": task.task_name})
        return task

    async def find(self, actor: Actor, name: str) -> Task:
        """The task of that name. NotFound names the nearest one; Denied when it belongs to somebody else."""
        self._access.require_use(actor)
        async with self._db.read() as session:
            return await self.find_in(session, actor, name)

    async def find_in(self, session: AsyncSession, actor: Actor, name: str, act: str = "see this task") -> Task:
        """As `find`, in the caller's transaction. `act` completes the refusal: `start this task`."""
        wanted = naming.folded(name)
        task = await session.scalar(select(Task).where(Task.task_name == wanted, Task.deleted_at.is_(None)))
        if task is None:
            raise await self._not_found(session, actor, wanted)
        self._access.require_owner(actor, task.owner_user_id, act)
        return task

    async def names(self, actor: Actor, prefix: str = "", limit: int = 25) -> list[str]:
        """Names for autocomplete: those that begin with `prefix` first, then those that contain it."""
        if not self._access.may_use(actor):
            return []
        typed = naming.folded(prefix)[:100]
        begins = Task.task_name.startswith(typed, autoescape=True)
        query = (
            self._visible(actor, select(Task.task_name))
            .where(Task.task_name.contains(typed, autoescape=True))
            .order_by(begins.desc(), Task.task_name)
            .limit(page_size(limit))
        )
        async with self._db.read() as session:
            return list(await session.scalars(query))

    async def peek(self, actor: Actor, name: str) -> Task | None:
        """The task of that name if the actor may see it, for completions: no mistake is one yet."""
        if not self._access.may_use(actor):
            return None
        async with self._db.read() as session:
            found: Task | None = await session.scalar(
                self._visible(actor, select(Task)).where(Task.task_name == naming.folded(name))
            )
            return found

    async def page(
        self, actor: Actor, filter: TaskFilter = "all", after: str | None = None, limit: int = 25
    ) -> Page[TaskRow]:
        """The actor's tasks by name (an admin's list has everyone's). `after`: the last page's `next_after`."""
        self._access.require_use(actor)
        # grouped and not correlated, so that SQLite reads the small index of runs that have not ended
        going = (
            select(TaskRun.task_id, func.count().label("runs"), func.max(_interest()).label("interest"))
            .where(TaskRun.completed_at.is_(None))
            .group_by(TaskRun.task_id)
            .subquery()
        )
        active = func.coalesce(going.c.runs, 0)
        last = _last_status()
        columns = select(Task, active, going.c.interest, last)
        query = self._visible(actor, columns.outerjoin(going, going.c.task_id == Task.id))
        query = query.where(*_matching(filter, active, last))
        if after is not None:
            query = query.where(Task.task_name > clean_line(after, 200))
        size = page_size(limit)
        async with self._db.read() as session:
            found = (await session.execute(query.order_by(Task.task_name).limit(size + 1))).all()
        rows = [TaskRow(task, count, _status(rank, ended)) for task, count, rank, ended in found[:size]]
        return Page(rows, rows[-1].task.task_name if len(found) > size else None)

    async def edit(self, actor: Actor, name: str, changes: Mapping[str, Any]) -> Edited:
        """Changes a task by fields (`core.fields`) -> what was typed, or a value of JSON; None: as if never set.

        Runs that start from now on have it. Everything is checked before anything is written: Invalid for a value that
        cannot be taken, also when a schedule, a dependency or a run in line would then lack one; Denied for others.
        """
        async with self._db.write() as session:
            await lock_graph(session)
            task = await self.find_in(session, actor, name, "change this task")
            await session.refresh(task, with_for_update=True)
            made = await apply(session, task, changes)
            if made:
                details = {each.field: [clean_line(each.before, 300), clean_line(each.after, 300)] for each in made}
                self._audit.record(session, actor, "task.edit", task.id, details)
        if made:
            self._bus.publish(TaskChanged(task.id))
        return Edited(task, made)

    async def delete(self, actor: Actor, name: str, confirm: bool = False) -> Task:
        """Hides a task for good and frees its name; its history stays. Conflict while a run of it is going.

        When others run after it, a Conflict names them, unless the actor has confirmed it.
        """
        async with self._db.write() as session:
            task = await self.find_in(session, actor, name, "delete this task")
            going = await going_runs(session, task_id=task.id, limit=1)
            if going:
                raise Conflict(f"{task.task_name} is running right now.", f"stop it first: /task-stop {task.task_name}")
            await require_confirmed(session, task, "delete", confirm=confirm)
            task.deleted_at, task.enabled, task.next_run_at = self._clock.now(), False, None
            if task.schedule_cron:
                row = entry(task.id, "removed", task.deleted_at, schedule_before=task.schedule_cron, **by(actor))
                session.add(ScheduleHistory(**row))
            await remove_from_graph(session, task.id)
            await self._endings.settle_chains(session)
            self._audit.record(session, actor, "task.delete", task.id, {"name": task.task_name})
        self._bus.publish(TaskChanged(task.id))
        return task

    async def set_place(self, task_id: UUID, place: ChannelPlace) -> None:
        """Notes the channel that the bot found or made for a task."""
        async with self._db.write() as session:
            await _place(session, task_id, place)
        self._bus.publish(TaskChanged(task_id))

    async def load(self, task_id: UUID) -> Task:
        """A task by id, also a deleted one, for parts that hold its id already."""
        async with self._db.read() as session:
            task = await session.get(Task, task_id)
        if task is None:
            raise NotFound("This task does not exist.")
        return task

    def _visible(self, actor: Actor, query: Select[Any]) -> Select[Any]:
        query = query.where(Task.deleted_at.is_(None))
        return query if self._access.is_admin(actor) else query.where(Task.owner_user_id == actor.user_id)

    async def _not_found(self, session: AsyncSession, actor: Actor, name: str) -> NotFound:
        known = list(await session.scalars(self._visible(actor, select(Task.task_name)).limit(2000)))
        near = get_close_matches(name, known, n=1, cutoff=0.65)
        hint = (
            f"did you mean {near[0]}?"
            if near
            else "/task-list shows what there is"
            if known
            else "/task-create makes one"
        )
        return NotFound(f"There is no task named {clean_line(name, 100) or 'that'}.", hint)


def _check(draft: TaskDraft) -> _Checked:
    name = naming.check_name(draft.name)
    prompt = naming.check_prompt(draft.prompt)
    found = placeholders(prompt)
    unknown = [hint for hint in draft.parameters if hint not in {each.name for each in found}]
    if unknown:
        raise Invalid("parameters", f"The prompt has no placeholder {{{unknown[0]}}}.", "name it in the prompt first")
    return _Checked(
        name=name,
        prompt=prompt,
        task_type=check_type(draft.task_type) if draft.task_type else infer_type(name, prompt),
        description=naming.check_description(draft.description) if draft.description else None,
        config=read_config(draft.config),
        parameters=[naming.with_hints(each, draft.parameters.get(each.name, {})) for each in found],
    )


async def _require_free(session: AsyncSession, name: str) -> None:
    taken = await session.scalar(select(Task.id).where(Task.task_name == name, Task.deleted_at.is_(None)))
    if taken:
        raise Conflict(f"There is a task named {name} already.", "choose another name, or delete the old task")


async def _place(session: AsyncSession, task_id: UUID, place: ChannelPlace) -> None:
    await session.execute(
        update(Task)
        .where(Task.id == task_id)
        .values(discord_channel_id=place.channel_id, discord_category_id=place.category_id)
    )
    await _note_channel(session, place, "task", task_id)
    if place.category_id:
        category = replace(place, channel_id=place.category_id, channel_name=place.category_name or "")
        await _note_channel(session, category, "task-category", None)


async def _note_channel(session: AsyncSession, place: ChannelPlace, kind: str, task_id: UUID | None) -> None:
    row = await session.scalar(select(DiscordChannel).where(DiscordChannel.channel_id == place.channel_id))
    if row is None:
        row = DiscordChannel(channel_id=place.channel_id)
        session.add(row)
    row.channel_name, row.channel_type, row.task_id = place.channel_name[:100], kind, task_id
    row.category_id, row.category_name = place.category_id, (place.category_name or "")[:100] or None


def _interest() -> ColumnElement[int]:
    return case({status.value: rank for rank, status in enumerate(BY_INTEREST)}, value=TaskRun.status)


def _status(interest: int | None, last: str | None) -> RunStatus | None:
    if interest is not None:
        return BY_INTEREST[interest]
    return RunStatus(last) if last else None


def _last_status() -> Any:
    return (
        select(TaskRun.status)
        .where(TaskRun.task_id == Task.id)
        .order_by(TaskRun.created_at.desc())
        .limit(1)
        .correlate(Task)
        .scalar_subquery()
    )


def _matching(filter: TaskFilter, active: Any, last: Any) -> list[ColumnElement[bool]]:
    conditions: dict[str, list[ColumnElement[bool]]] = {
        "all": [],
        "active": [active > 0],
        "paused": [Task.paused.is_(True)],
        "failed": [last == RunStatus.FAILED],
        "scheduled": [Task.schedule_cron.is_not(None)],
    }
    if filter not in conditions:
        raise Invalid("filter", f"There is no filter `{clean_line(filter, 40)}`.", f"use {', '.join(conditions)}")
    return conditions[filter]
