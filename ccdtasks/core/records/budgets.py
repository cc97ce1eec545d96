"""Money: what a run may cost, a task in a day and a person in a month, warned of at 80 %, refused at 100 %.

A run counts for the day and the month in which it started. What runs at present is watched by the gateway, which has
the figures first; here is what was written, and the sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from math import ceil
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.config import Config
from ccdtasks.core.definition.taskconfig import read_config
from ccdtasks.core.outbox import Outbox
from ccdtasks.db import Database
from ccdtasks.db.enums import MessageType
from ccdtasks.db.models import Task, TaskRun, UserSettings
from ccdtasks.errors import LimitReached
from ccdtasks.times import Clock

_WARNED = 80
_SHARES = (100, _WARNED)
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget of one period and what was spent of it.

    `key` tells it from all others; `name` begins a sentence; `period` is the day or the month as text; `hint` says
    what can be done when it is used up.
    """

    key: str
    name: str
    hint: str
    period: str
    limit_usd: Decimal
    spent_usd: Decimal
    ends_at: datetime

    @property
    def is_used_up(self) -> bool:
        """Whether nothing more may be spent."""
        return self.spent_usd >= self.limit_usd

    @property
    def used_up_text(self) -> str:
        """The sentence for one that is used up."""
        return f"{self.name} of ${self.limit_usd:.2f} is used up (${self.spent_usd:.2f} spent)."

    @property
    def warning(self) -> str:
        """The sentence for one that soon will be."""
        return _warning(self.name, self.spent_usd, self.limit_usd)

    @property
    def reached(self) -> int:
        """The highest share in percent that is worth telling, 0 for none."""
        return next((share for share in _SHARES if self.spent_usd * 100 >= self.limit_usd * share), 0)


class Budgets:
    """The budgets of tasks and people."""

    def __init__(self, db: Database, clock: Clock, config: Config, outbox: Outbox) -> None:
        self._db = db
        self._clock = clock
        self._config = config
        self._outbox = outbox

    async def of(self, run_id: UUID) -> Sequence[Budget]:
        """The budgets that a run spends from, as they stand."""
        async with self._db.read() as session:
            run = await session.get_one(TaskRun, run_id)
            task = await session.get_one(Task, run.task_id)
            return await self._of_task(session, task, run.started_at or self._clock.now())

    async def require(self, session: AsyncSession, task: Task) -> None:
        """Raises LimitReached when a run of the task may spend nothing now."""
        now = self._clock.now()
        for budget in await self._of_task(session, task, now):
            if budget.is_used_up:
                wait_s = (budget.ends_at - now).total_seconds()
                raise LimitReached(budget.used_up_text, budget.hint, retry_after_s=wait_s)

    async def note_spending(self, session: AsyncSession, run: TaskRun, before_usd: Decimal) -> None:
        """Tells in the run's thread, once a period, that 80 % or all of a budget is spent.

        `before_usd`: what the run had cost so far. Of its own budget 80 % are told; all of it ends the run.
        """
        task = await session.get_one(Task, run.task_id)
        limit_usd, spent_usd = self._of_run(task), run.cost_usd or Decimal(0)
        if before_usd * 100 < limit_usd * _WARNED <= spent_usd * 100 < limit_usd * 100:
            payload = {"about": "budget", "text": _warning("This run's budget", spent_usd, limit_usd), "until": None}
            await self._outbox.put(session, run, f"budget:run:{_WARNED}", MessageType.NOTIFICATION, payload)
        for budget in await self._of_task(session, task, run.started_at or self._clock.now()):
            if budget.reached and await self._is_news(session, task, budget):
                payload = {"about": "budget", "text": budget.warning, "until": None}
                if budget.is_used_up:
                    payload = {**payload, "text": budget.used_up_text, "until": budget.ends_at.isoformat()}
                key = f"budget:{budget.key}:{budget.reached}"[:100]
                await self._outbox.put(session, run, key, MessageType.NOTIFICATION, payload)

    async def _is_news(self, session: AsyncSession, task: Task, budget: Budget) -> bool:
        """Whether this share was not told yet in this period; notes that it is now."""
        holder: Task | UserSettings | None = task
        if budget.key.startswith("month"):
            holder = await session.get(UserSettings, task.owner_user_id)
            if holder is None:
                holder = UserSettings(user_id=task.owner_user_id)
                session.add(holder)
        assert holder is not None  # noqa: S101  a task is one
        period, _, share = (holder.budget_warned or "").partition(" ")
        if period == budget.period and int(share) >= budget.reached:
            return False
        holder.budget_warned = f"{budget.period} {budget.reached}"
        return True

    def _of_run(self, task: Task) -> Decimal:
        return read_config(task.config).budget_usd or self._config.claude.max_budget_usd

    async def _of_task(self, session: AsyncSession, task: Task, at: datetime) -> list[Budget]:
        return [
            budget
            for budget in (await self._day(session, task, at), await self._month(session, task.owner_user_id, at))
            if budget is not None
        ]

    async def _day(self, session: AsyncSession, task: Task, at: datetime) -> Budget | None:
        limit_usd = read_config(task.config).budget_usd_per_day
        if limit_usd is None:
            return None
        zone = ZoneInfo(task.schedule_timezone)
        day = at.astimezone(zone).date()
        since, ends_at = (datetime.combine(date, time.min, zone) for date in (day, day + _ONE_DAY))
        return Budget(
            key=f"day:{task.id}:{day}",
            name="Today's budget of this task",
            hint=_raised(task, limit_usd),
            period=str(day),
            limit_usd=limit_usd,
            spent_usd=await _spent(session, TaskRun.task_id == task.id, since, ends_at),
            ends_at=ends_at,
        )

    async def _month(self, session: AsyncSession, owner: str, at: datetime) -> Budget | None:
        limit_usd = self._config.limits.budget_usd_per_user_month
        if limit_usd is None:
            return None
        zone = ZoneInfo(self._config.schedule.timezone)
        first = at.astimezone(zone).date().replace(day=1)
        following = (first + 32 * _ONE_DAY).replace(day=1)
        since, ends_at = (datetime.combine(date, time.min, zone) for date in (first, following))
        return Budget(
            key=f"month:{owner}:{first:%Y-%m}",
            name="This month's budget",
            hint=f"it is full again on {following:%-d %B}; an admin may raise `[limits] budget_usd_per_user_month`",
            period=f"{first:%Y-%m}",
            limit_usd=limit_usd,
            spent_usd=await _spent(session, TaskRun.owner_user_id == owner, since, ends_at),
            ends_at=ends_at,
        )


def _warning(name: str, spent_usd: Decimal, limit_usd: Decimal) -> str:
    return f"{name} is {int(spent_usd * 100 / limit_usd)} % used: ${spent_usd:.2f} of ${limit_usd:.2f}."


def _raised(task: Task, limit_usd: Decimal) -> str:
    return f"wait until tomorrow, or raise it: `/task-edit {task.task_name} budget_per_day {ceil(2 * limit_usd)}`"


async def _spent(session: AsyncSession, whose: ColumnElement[bool], since: datetime, until: datetime) -> Decimal:
    """A range of an index that holds the costs too, so that a million older runs cost nothing."""
    query = select(func.sum(TaskRun.cost_usd)).where(
        whose, TaskRun.started_at >= since, TaskRun.started_at < until, TaskRun.cost_usd.is_not(None)
    )
    return await session.scalar(query) or Decimal(0)
