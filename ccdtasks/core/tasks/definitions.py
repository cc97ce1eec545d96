"""Definitions of tasks: everything by which a task can be made anew, as a copy beside it or as a JSON file."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.access import Actor
from ccdtasks.core.calendar.oneshot import is_oneshot, stored_oneshot
from ccdtasks.core.calendar.timezones import typed_zone
from ccdtasks.core.calendar.timing import typed_timing
from ccdtasks.core.records.graph import lock_graph
from ccdtasks.core.tasks.dependencies import Dependencies, Mode
from ccdtasks.core.tasks.editing import PARAMETERS, apply, require_values
from ccdtasks.core.tasks.schedules import Schedules
from ccdtasks.core.tasks.settingsjson import read_object, settings
from ccdtasks.core.tasks.tasks import ChannelPlace, TaskDraft, Tasks
from ccdtasks.core.text import clean_line
from ccdtasks.db import Database
from ccdtasks.db.models import Task, TaskDependency
from ccdtasks.errors import Invalid
from ccdtasks.events import Bus, TaskChanged
from ccdtasks.times import Clock

Json = dict[str, Any]
VERSION = 1
MAX_BYTES = 256 * 1024
_FORMAT = "ccdtasks_task"
_RESTS = "It is a copy."
_AT = re.compile(r"at (\d{4}-\d\d-\d\d \d\d:\d\d)")
_SWITCHES = ("notify_on_complete", "notify_on_error", "pushover_enabled")
_TEXT, _TABLE, _LIST, _SWITCH = (str, "text"), (dict, "a table"), (list, "a list"), (bool, "true or false")
_KEYS: dict[str, tuple[type, str]] = {
    _FORMAT: (int, "a whole number"),
    "name": _TEXT,
    "type": _TEXT,
    "description": _TEXT,
    "prompt": _TEXT,
    PARAMETERS: _TABLE,
    "config": _TABLE,
    "values": _TABLE,
    **dict.fromkeys(_SWITCHES, _SWITCH),
    "schedule": _TABLE,
    "depends_on": _LIST,
    "depends_mode": _TEXT,
}
_SCHEDULE_KEYS = {"when": _TEXT, "timezone": _TEXT}
_UPSTREAM_KEYS = {"task": _TEXT, "required": _SWITCH, "values": _TABLE}


@dataclass(frozen=True, slots=True)
class Upstream:
    """A task that it runs after, by name."""

    task_name: str
    required: bool = True
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Definition:
    """What a task is, without what became of it. `schedule`: cron or a moment, and its timezone."""

    draft: TaskDraft
    switches: Mapping[str, bool] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    schedule: tuple[str, str] | None = None
    upstreams: Sequence[Upstream] = ()
    mode: Mode = "all"


@dataclass(frozen=True, slots=True)
class Copied:
    """A task made from a definition. `has_passed`: its schedule was for once, is over, and was left out."""

    task: Task
    has_passed: bool


class Definitions:
    """The acts on definitions."""

    def __init__(
        self, *, db: Database, bus: Bus, clock: Clock, tasks: Tasks, schedules: Schedules, dependencies: Dependencies
    ) -> None:
        self._db = db
        self._bus = bus
        self._clock = clock
        self._tasks = tasks
        self._schedules = schedules
        self._dependencies = dependencies

    async def export(self, actor: Actor, name: str) -> Json:
        """A task as a JSON object that `read` reads; nothing secret is in it."""
        async with self._db.read() as session:
            task = await self._tasks.find_in(session, actor, name)
            return _document(await _definition(session, task))

    async def clone(self, actor: Actor, source: str, new_name: str) -> Definition:
        """The definition of a copy, checked, for `make`. It runs after no other task, whatever its source does."""
        async with self._db.read() as session:
            found = await _definition(session, await self._tasks.find_in(session, actor, source, "copy this task"))
        copy = replace(found, draft=replace(found.draft, name=new_name), upstreams=(), mode="all")
        await self._check(actor, copy)
        return copy

    async def read(self, actor: Actor, text: str, name: str | None = None) -> Definition:
        """The definition in a file, checked, for `make`. `name`: another one than the file's.

        Raises Invalid that names the line or the key, and Conflict when the name is taken.
        """
        found = _from_document(read_object(text))
        if name:
            found = replace(found, draft=replace(found.draft, name=name))
        await self._check(actor, found)
        return found

    async def make(self, actor: Actor, definition: Definition, place: ChannelPlace | None = None) -> Copied:
        """Makes the task, all of it or nothing. One with a schedule is paused, so that nothing runs unasked or twice.

        Raises NotFound when a task that it runs after does not exist.
        """
        async with self._db.write() as session:
            copied = await self._make(session, actor, definition, place)
        self._bus.publish(TaskChanged(copied.task.id))
        return copied

    async def _check(self, actor: Actor, definition: Definition) -> None:
        """Makes the task and takes it back, so that nothing which `make` refuses gets as far as a channel."""
        async with self._db.write() as session:
            await self._make(session, actor, definition, None)
            await session.rollback()

    async def _make(
        self, session: AsyncSession, actor: Actor, definition: Definition, place: ChannelPlace | None
    ) -> Copied:
        now, has_passed = self._clock.now(), False
        await lock_graph(session)
        task = await self._tasks.create_in(session, actor, definition.draft, place)
        await apply(session, task, {**definition.switches, "values": dict(definition.values)})
        if definition.schedule:
            when, zone_name = definition.schedule
            zone = await asyncio.to_thread(typed_zone, zone_name)
            has_passed = _has_passed(when, zone, now)
            if not has_passed:
                task.paused, task.paused_reason = True, _RESTS
                self._schedules.set_in(session, actor, task, typed_timing(when, zone, now), {})
        await self._link(session, actor, task, definition)
        await require_values(session, task)
        return Copied(task, has_passed)

    async def _link(self, session: AsyncSession, actor: Actor, task: Task, definition: Definition) -> None:
        for each in definition.upstreams:
            upstream = await self._tasks.find_in(session, actor, each.task_name, "let a task run after this one")
            await self._dependencies.add_in(
                session, actor, task, upstream, required=each.required, mode=definition.mode, given=each.values
            )


async def _definition(session: AsyncSession, task: Task) -> Definition:
    said = settings(task)
    rows = await session.execute(
        select(Task.task_name, TaskDependency.required, TaskDependency.parameters)
        .join(Task, Task.id == TaskDependency.depends_on_task_id)
        .where(TaskDependency.task_id == task.id, Task.deleted_at.is_(None))
        .order_by(TaskDependency.created_at, Task.task_name)
    )
    draft = TaskDraft(
        name=task.task_name,
        prompt=task.template_prompt,
        task_type=task.task_type,
        description=task.description,
        config=task.config,
        parameters=said[PARAMETERS],
    )
    return Definition(
        draft=draft,
        switches={name: said[name] for name in _SWITCHES},
        values=said["values"],
        schedule=(_when(task), task.schedule_timezone) if task.schedule_cron else None,
        upstreams=[Upstream(*row) for row in rows],
        mode="any" if task.dependency_mode == "any" else "all",
    )


def _when(task: Task) -> str:
    """The schedule as somebody would type it."""
    text = task.schedule_cron or ""
    if not is_oneshot(text):
        return text
    return f"at {stored_oneshot(text).moment.astimezone(ZoneInfo(task.schedule_timezone)):%Y-%m-%d %H:%M}"


def _document(found: Definition) -> Json:
    draft = found.draft
    return {
        _FORMAT: VERSION,
        "name": draft.name,
        "type": draft.task_type,
        "description": draft.description,
        "prompt": draft.prompt,
        PARAMETERS: dict(draft.parameters),
        "config": dict(draft.config),
        "values": dict(found.values),
        **found.switches,
        "schedule": {"when": found.schedule[0], "timezone": found.schedule[1]} if found.schedule else None,
        "depends_on": [
            {"task": each.task_name, "required": each.required, "values": dict(each.values)} for each in found.upstreams
        ],
        "depends_mode": found.mode,
    }


def _from_document(document: Json) -> Definition:
    if _FORMAT not in document:
        raise Invalid(_FORMAT, "This is not a task that ccdtasks exported.", "/task-export makes such a file")
    _check(document, _KEYS, "")
    if document[_FORMAT] != VERSION:
        raise Invalid(_FORMAT, "A newer ccdtasks exported this task.", "update this one first")
    for name in ("name", "prompt"):
        if not document.get(name):
            raise Invalid(name, f"The file has no `{name}`.")
    hints = document.get(PARAMETERS) or {}
    if not all(isinstance(each, dict) for each in hints.values()):
        raise Invalid(PARAMETERS, "`parameters` must be a table of tables, one for each parameter.")
    schedule, upstreams = document.get("schedule") or {}, document.get("depends_on") or []
    _check(schedule, _SCHEDULE_KEYS, "schedule.")
    for each in upstreams:
        if not isinstance(each, dict):
            raise Invalid("depends_on", "`depends_on` must be a list of tables.", '[{"task": "scrape-news"}]')
        _check(each, _UPSTREAM_KEYS, "depends_on.")
    return Definition(
        draft=TaskDraft(
            name=document["name"],
            prompt=document["prompt"],
            task_type=document.get("type"),
            description=document.get("description"),
            config=document.get("config") or {},
            parameters=hints,
        ),
        switches={name: document[name] for name in _SWITCHES if document.get(name) is not None},
        values=_texts("values", document.get("values") or {}),
        schedule=(schedule["when"], schedule.get("timezone") or "UTC") if schedule.get("when") else None,
        upstreams=[
            Upstream(
                each.get("task") or "",
                each.get("required") is not False,
                _texts("depends_on.values", each.get("values") or {}),
            )
            for each in upstreams
        ],
        mode="any" if document.get("depends_mode") == "any" else "all",
    )


def _check(table: Json, keys: Mapping[str, tuple[type, str]], parent: str) -> None:
    """Every key is known and of its kind; null is as if it were left out."""
    for key, value in table.items():
        if key not in keys:
            near = get_close_matches(key, keys, n=1, cutoff=0.5)
            hint = f"did you mean `{parent}{near[0]}`?" if near else f"it has {', '.join(keys)}"
            raise Invalid(parent + clean_line(key, 60), f"A task's file has no `{parent}{clean_line(key, 60)}`.", hint)
        kind, words = keys[key]
        if value is not None and not isinstance(value, kind):
            raise Invalid(parent + key, f"`{parent}{key}` must be {words}.")


def _texts(name: str, table: Json) -> Json:
    """The table, when it holds texts only."""
    for key, value in table.items():
        if not isinstance(value, str):
            raise Invalid(name, f"`{name}.{clean_line(key, 60)}` must be text.")
    return table


def _has_passed(when: str, zone: ZoneInfo, now: datetime) -> bool:
    found = _AT.fullmatch(when.strip())
    return found is not None and datetime.fromisoformat(found[1]).replace(tzinfo=zone) <= now
