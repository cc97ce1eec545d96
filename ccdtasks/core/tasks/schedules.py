"""Schedules as people set them: when a task runs by itself, with which values, and when it pauses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.config import Config
from ccdtasks.core.access import Access, Actor
from ccdtasks.core.audit import Audit
from ccdtasks.core.calendar.schedulelog import by, entry
from ccdtasks.core.calendar.timezones import complete_zone, find_zone, typed_zone, zone_names
from ccdtasks.core.calendar.timing import Preview, Timing, preview, stored_timing, typed_timing
from ccdtasks.core.definition.parameters import fill, from_rows, missing
from ccdtasks.core.definition.values import parse_values
from ccdtasks.core.ending.breakage import require_confirmed
from ccdtasks.core.pages import page_size
from ccdtasks.core.tasks.tasks import Tasks
from ccdtasks.db import Database
from ccdtasks.db.models import ScheduleHistory, Task, UserSettings
from ccdtasks.errors import Conflict, Invalid
from ccdtasks.events import Bus, TaskChanged
from ccdtasks.times import Clock

PREVIEWED = 5
_MOST = 100


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A task and what its schedule does from now on; no preview without a schedule."""

    task: Task
    preview: Preview | None


@dataclass(frozen=True, slots=True)
class Shown:
    """A task, its next times, and what became of its schedule, newest first."""

    task: Task
    preview: Preview | None
    history: Sequence[ScheduleHistory]


class Schedules:
    """The acts on schedules."""

    def __init__(
        self, *, db: Database, bus: Bus, clock: Clock, config: Config, access: Access, audit: Audit, tasks: Tasks
    ) -> None:
        self._db = db
        self._bus = bus
        self._clock = clock
        self._config = config
        self._access = access
        self._audit = audit
        self._tasks = tasks
        self._zone_names: list[str] = []

    async def preview(
        self, when: str, timezone: str | None = None, start: datetime | None = None, count: int = PREVIEWED
    ) -> Preview:
        """What `when` means, in words and in its next times after `start` (now), without any task.

        `when`: cron as in crontab(5), or a time that happens once. Raises Invalid that says which part is wrong.
        """
        zone = timezone or self._config.schedule.timezone
        return await asyncio.to_thread(previewed, when, zone, start or self._clock.now(), count)

    async def set(
        self,
        actor: Actor,
        task_name: str,
        when: str | None,
        timezone: str | None = None,
        values: Mapping[str, str] | str = "",
    ) -> Scheduled:
        """Lets a task run by itself. `values` are kept for its scheduled runs, with those that were kept before.

        `when`: None keeps the schedule and changes the rest. The timezone: the one given, else that of the task's
        schedule so far, else the user's own, else the instance's. Raises Invalid for a wrong time, and when a required
        parameter would have no value: nobody is there to ask.
        """
        self._access.require_use(actor)
        given = parse_values(values) if isinstance(values, str) else dict(values)
        zone, now = await self._zone(actor, task_name, timezone), self._clock.now()
        typed = None if when is None else typed_timing(when, zone, now)
        async with self._db.write() as session:
            task = await self._tasks.find_in(session, actor, task_name, "schedule this task")
            timing = typed or _kept_timing(task, zone, now)
            self.set_in(session, actor, task, timing, given)
        self._bus.publish(TaskChanged(task.id))
        return Scheduled(task, preview(timing, now, PREVIEWED))

    def set_in(self, session: AsyncSession, actor: Actor, task: Task, timing: Timing, given: Mapping[str, str]) -> None:
        """As `set`, in the caller's transaction."""
        now, before, zone = self._clock.now(), task.schedule_cron, timing.zone.key
        task.schedule_parameters = _kept_values(task, given)
        task.schedule_cron, task.schedule_timezone = timing.text, zone
        task.schedule_set_at, task.schedule_failures = now, 0
        task.next_run_at = None if task.paused else timing.next_after(now)
        action = "updated" if before else "created"
        self._note(session, actor, task, action, before=before, details={"timezone": zone})

    async def remove(self, actor: Actor, task_name: str) -> Task:
        """Takes the schedule away; the task stays, and so do the values that were kept. Conflict when there is none."""
        async with self._db.write() as session:
            task = await self._tasks.find_in(session, actor, task_name, "change this task's schedule")
            before = task.schedule_cron
            if before is None:
                raise Conflict(f"{task.task_name} has no schedule.", f"/task-schedule {task.task_name} makes one")
            task.schedule_cron = task.next_run_at = task.schedule_set_at = None
            self._note(session, actor, task, "removed", before=before)
        self._bus.publish(TaskChanged(task.id))
        return task

    async def pause(self, actor: Actor, task_name: str, confirm: bool = False) -> Task:
        """Lets nothing start by itself until `resume`; a run that goes on is not touched.

        Conflict when it is paused already, and, unless the actor has confirmed it, when others run after it.
        """
        async with self._db.write() as session:
            task = await self._tasks.find_in(session, actor, task_name, "pause this task")
            if task.paused:
                hint = f"/task-resume {task.task_name} lets it go on"
                raise Conflict(f"{task.task_name} is paused already.", hint)
            await require_confirmed(session, task, "pause", confirm=confirm)
            task.paused, task.paused_reason, task.next_run_at = True, None, None
            self._note(session, actor, task, "paused", before=task.schedule_cron)
        self._bus.publish(TaskChanged(task.id))
        return task

    async def resume(self, actor: Actor, task_name: str) -> Scheduled:
        """Takes the pause away; what was due meanwhile is not made up for. Conflict when it is not paused."""
        now = self._clock.now()
        async with self._db.write() as session:
            task = await self._tasks.find_in(session, actor, task_name, "resume this task")
            if not task.paused:
                raise Conflict(f"{task.task_name} is not paused.")
            found = self._previewed(task, now)
            if found and not found.times:
                hint = f"give it a new time: /task-schedule {task.task_name}"
                raise Conflict(f"The time of {task.task_name} passed during the pause ({found.words}).", hint)
            task.paused, task.paused_reason, task.schedule_failures = False, None, 0
            task.schedule_set_at = now if found else None
            task.next_run_at = found.times[0] if found else None
            self._note(session, actor, task, "resumed", before=task.schedule_cron)
        self._bus.publish(TaskChanged(task.id))
        return Scheduled(task, found)

    async def show(self, actor: Actor, task_name: str, limit: int = 10) -> Shown:
        """The task, its next times, if it has a schedule, and the latest `limit` rows of its history."""
        task = await self._tasks.find(actor, task_name)
        return Shown(task, self._previewed(task, self._clock.now()), await self.history(actor, task_name, limit))

    async def history(self, actor: Actor, task_name: str, limit: int = 20) -> Sequence[ScheduleHistory]:
        """What became of a task's schedule, newest first."""
        self._access.require_use(actor)
        async with self._db.read() as session:
            task = await self._tasks.find_in(session, actor, task_name)
            query = select(ScheduleHistory).where(ScheduleHistory.task_id == task.id)
            query = query.order_by(ScheduleHistory.timestamp.desc()).limit(page_size(limit))
            return (await session.scalars(query)).all()

    async def timezones(self, typed: str, limit: int = 25) -> list[str]:
        """Timezones for autocomplete."""
        if not self._zone_names:
            self._zone_names = await asyncio.to_thread(zone_names)
        return complete_zone(self._zone_names, typed, limit)

    def _previewed(self, task: Task, now: datetime) -> Preview | None:
        if task.schedule_cron is None:
            return None
        return preview(stored_timing(task.schedule_cron, find_zone(task.schedule_timezone)), now, PREVIEWED)

    async def _zone(self, actor: Actor, task_name: str, timezone: str | None) -> ZoneInfo:
        read = find_zone if timezone is None else typed_zone
        if timezone is None:
            async with self._db.read() as session:
                task = await self._tasks.find_in(session, actor, task_name, "schedule this task")
                own = await session.get(UserSettings, actor.user_id)
            timezone = task.schedule_timezone if task.schedule_cron else own.timezone if own else None
        return await asyncio.to_thread(read, self._config.schedule.timezone if timezone is None else timezone)

    def _note(
        self,
        session: AsyncSession,
        actor: Actor,
        task: Task,
        action: str,
        *,
        before: str | None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        row = entry(
            task.id,
            action,
            self._clock.now(),
            schedule_before=before,
            schedule_after=task.schedule_cron,
            details=details,
            **by(actor),
        )
        session.add(ScheduleHistory(**row))
        self._audit.record(session, actor, f"task.schedule_{action}", task.id, {"schedule": task.schedule_cron})


def previewed(when: str, timezone: str, start: datetime, count: int) -> Preview:
    """What `Schedules.preview` says; reads files of timezones."""
    return preview(typed_timing(when, typed_zone(timezone), start), start, max(1, min(count, _MOST)))


def _kept_timing(task: Task, zone: ZoneInfo, now: datetime) -> Timing:
    if task.schedule_cron is None:
        raise Conflict(f"{task.task_name} has no schedule.", "say when it shall run, like 0 9 * * 1-5")
    timing = stored_timing(task.schedule_cron, zone)
    if timing.next_after(now) is None:
        raise Conflict(f"The time of {task.task_name} has come.", "say when it shall run again")
    return timing


def _kept_values(task: Task, given: Mapping[str, str]) -> dict[str, str]:
    """The values of scheduled runs: those kept before that the task still knows, and the given ones."""
    parameters = from_rows(task.required_parameters, task.optional_parameters)
    known = {parameter.name for parameter in parameters}
    kept = {name: value for name, value in task.schedule_parameters.items() if name in known}
    merged = {**kept, **given}
    lacking = [parameter.name for parameter in missing(parameters, merged)]
    if lacking:
        listed, example = ", ".join(f"`{name}`" for name in lacking), " ".join(f"{name}:..." for name in lacking)
        hint = f"give them with the schedule, which keeps them: {example}"
        raise Invalid("values", f"Nobody can be asked when a scheduled run starts, and {listed} would be empty.", hint)
    fill(parameters, merged)
    return merged
