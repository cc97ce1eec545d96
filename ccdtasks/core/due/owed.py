"""What a task's schedule owes at a moment: arithmetic alone, so that it can be judged without a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from ccdtasks.config import ScheduleConfig
from ccdtasks.core.calendar.timezones import find_zone, wall_of
from ccdtasks.core.calendar.timing import Timing, stored_timing
from ccdtasks.core.definition.parameters import fill, from_rows
from ccdtasks.core.definition.taskconfig import TaskConfig, read_config
from ccdtasks.db.enums import RunStatus, Trigger
from ccdtasks.errors import CcdError
from ccdtasks.times import local_text

_SECOND = timedelta(seconds=1)
LATE = timedelta(minutes=2)
"""A firing that comes later than this was held up by more than the service's own work: the box was off."""


@dataclass(frozen=True, slots=True)
class SeenTask:
    """The columns of a due task, as they were read."""

    id: UUID
    task_name: str
    owner_user_id: str
    schedule_cron: str | None
    schedule_timezone: str
    schedule_set_at: datetime | None
    next_run_at: datetime
    config: Mapping[str, Any]
    required_parameters: Sequence[Mapping[str, Any]]
    optional_parameters: Sequence[Mapping[str, Any]]
    schedule_parameters: Mapping[str, str]
    discord_channel_id: str | None


@dataclass(frozen=True, slots=True)
class Owed:
    """The one time that is to be fired, and what becomes of the others.

    `scheduled_for`: the latest time that has come. `missed`: how many came before it and were not fired, the first of
    them `first_missed`. `is_late`: it comes long after its time; `is_missed`: too late. `paused_because`: the task
    cannot run by itself any more. `is_void`: the row's time is none of the schedule's, since the rules of its timezone
    changed meanwhile. `next_at`: None when there is no further time.
    """

    task: SeenTask
    scheduled_for: datetime
    next_at: datetime | None
    is_once: bool = False
    is_late: bool = False
    is_missed: bool = False
    is_void: bool = False
    missed: int = 0
    first_missed: datetime | None = None
    overlap: str = "skip"
    values: Mapping[str, str] = field(default_factory=dict)
    paused_because: str | None = None

    def blocked_by(self, going: Sequence[Any]) -> UUID | None:
        """The run because of which this time is skipped, None when it may have its own.

        A time that happens once is never skipped; one that may wait does, unless another scheduled run waits already.
        """
        if self.is_once or not going:
            return None
        if self.overlap == "skip":
            return UUID(str(going[0].id))
        waiting = [run for run in going if run.status is RunStatus.QUEUED and run.trigger is Trigger.SCHEDULED]
        return UUID(str(waiting[0].id)) if waiting else None

    def stagger(self, jitter_s: int) -> timedelta:
        """How long after the full hour of its own clock this task's runs start: always the same for one task."""
        if not jitter_s or self.is_late or self.is_once:
            return timedelta(0)
        if wall_of(self.scheduled_for, find_zone(self.task.schedule_timezone)).minute:  # India is half an hour apart
            return timedelta(0)
        return timedelta(seconds=int.from_bytes(self.task.id.bytes[:4]) % (jitter_s + 1))

    def moved(self) -> dict[str, Any]:
        """The task's row afterwards; a time that happens once leaves no schedule behind."""
        return {
            "id": self.task.id,
            "next_run_at": None if self.paused_because else self.next_at,
            "schedule_cron": None if self.is_once else self.task.schedule_cron,
            "schedule_set_at": None if self.is_once else self.task.schedule_set_at,
        }

    def news(self, kind: str, **more: Any) -> dict[str, Any]:
        """The payload of a message about this time; `text` for places that show no more than that."""
        first, at = self.first_missed or self.scheduled_for, self.scheduled_for
        return {
            "about": "schedule",
            "kind": kind,
            "task": self.task.task_name,
            "owner": self.task.owner_user_id,
            "scheduled_for": at.isoformat(),
            "first_missed": first.isoformat(),
            "missed": self.missed,
            "next_at": self.next_at.isoformat() if self.next_at else None,
            "text": self._sentence(kind),
            **more,
        }

    def _sentence(self, kind: str) -> str:
        if kind == "paused":  # perhaps because its timezone is not known any more
            return f"{self.task.task_name} is paused. {self.paused_because}"
        zone = self.task.schedule_timezone
        at = local_text(self.scheduled_for, zone)
        if kind == "skipped":
            return f"The run of {at} was skipped, since this one still goes on."
        if kind == "missed":
            return f"The box was off at {at}. That run is not made up for."
        return f"The box was off at {local_text(self.first_missed or self.scheduled_for, zone)}. Ran once now."


@dataclass(frozen=True, slots=True)
class Reckoning:
    """What a schedule said `at` a moment: its latest time, the next one, and how many it missed before the latest."""

    at: datetime
    timing: Timing
    latest: datetime | None
    next_at: datetime | None
    missed: int

    def holds(self, now: datetime) -> bool:
        """Whether it would say the same now."""
        return self.at <= now and (self.next_at is None or now < self.next_at)


Reckonings = dict[tuple[str | None, str, datetime], Reckoning]
"""Tasks that share a schedule share the arithmetic: `0 9 * * *` is everybody's, and so is a week of `*/15 * * * *`."""


def owed(task: SeenTask, now: datetime, config: ScheduleConfig, reckonings: Reckonings | None = None) -> Owed:
    """What the due `task` owes at `now`. A schedule or values that cannot be read any more pause it.

    `reckonings`: those of other tasks, and afterwards this one's too.
    """
    try:
        found = _reckon(task, now, {} if reckonings is None else reckonings)
        settings = read_config(task.config)
        parameters = from_rows(task.required_parameters, task.optional_parameters)
        values = fill(parameters, task.schedule_parameters)
    except CcdError as error:
        return Owed(task, task.next_run_at, None, paused_because=str(error))
    latest = found.latest
    if latest is None:
        return Owed(task, task.next_run_at, found.next_at, is_void=True)
    window_s = config.catch_up_window_s if settings.catch_up_window_s is None else settings.catch_up_window_s
    is_late = now - latest > LATE
    return Owed(
        task=task,
        scheduled_for=latest,
        next_at=found.next_at,
        is_once=found.timing.is_once,
        is_late=is_late,
        is_missed=is_late and not _is_made_up(settings, now - latest, window_s),
        missed=found.missed,
        first_missed=task.next_run_at if found.missed else None,
        overlap=settings.overlap,
        values=values,
    )


def _reckon(task: SeenTask, now: datetime, reckonings: Reckonings) -> Reckoning:
    key = (task.schedule_cron, task.schedule_timezone, task.next_run_at)
    known = reckonings.get(key)
    if known is None or not known.holds(now):
        timing = stored_timing(task.schedule_cron or "", find_zone(task.schedule_timezone))
        latest, next_at = _latest(timing, task.next_run_at, now)
        missed = timing.count(task.next_run_at, latest) - 1 if latest and latest > task.next_run_at else 0
        known = reckonings[key] = Reckoning(now, timing, latest, next_at, missed)
    return known


def _latest(timing: Timing, seen: datetime, now: datetime) -> tuple[datetime | None, datetime | None]:
    """The latest time from `seen` to `now`, None when there is none, and the first one after `now`."""
    following = timing.next_after(seen)
    if following is None or following > now:
        is_a_time = timing.next_after(seen - _SECOND) == seen
        return seen if is_a_time else None, following
    return timing.last_until(now, seen), timing.next_after(now)


def _is_made_up(settings: TaskConfig, age: timedelta, window_s: int) -> bool:
    return settings.catch_up == "latest" and age.total_seconds() <= window_s
