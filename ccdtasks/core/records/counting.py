"""Adds runs that have ended to the sums by day and month, each run once, in the transaction of its end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.records.sums import NAMES, Sums
from ccdtasks.db.bulk import Insert, write_rows
from ccdtasks.db.enums import RunStatus
from ccdtasks.db.models import MetricRollup, RunValue, Task, TaskRun

ALL = "all"

_PART = 200

_Key = tuple[str, str, date]
_TABLE: Any = MetricRollup.__table__
_NAMES_OF_KEY = ("scope", "period", "starts_on")
_KEY = tuple(_TABLE.c[name] for name in _NAMES_OF_KEY)
_CHANGE = (
    update(_TABLE)
    .where(*(column == bindparam(f"its_{column.name}") for column in _KEY))
    .values({name: bindparam(name) for name in NAMES})
)


def scope_of_task(task_id: UUID) -> str:
    """The `scope` of one task's rows."""
    return f"task:{task_id}"


def scope_of_owner(user_id: str) -> str:
    """The `scope` of the rows of everything that belongs to somebody."""
    return f"owner:{user_id}"


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended: itself, or a row of what `sums.COUNTED` names. `timezone`: of its task.

    `values`: those of its result.
    """

    run: Any
    timezone: str
    values: object


@dataclass(frozen=True, slots=True)
class Tally:
    """The sums and the numbers of some runs, on their way into the database."""

    sums: Mapping[_Key, Sums]
    numbers: Sequence[dict[str, object]]

    @classmethod
    def of(cls, ended: Iterable[Ended], timezone: str) -> Tally:
        """Those of runs that have ended. `timezone`: of days that belong to no one task."""
        alike: dict[tuple[_Key, ...], Sums] = {}
        numbers: list[dict[str, object]] = []
        for each in ended:
            own = Sums.of(each.run)
            if own.runs:
                alike.setdefault(_keys(each, timezone), Sums()).add(own)
            if each.run.status is RunStatus.COMPLETED:
                numbers += _numbers(each.run, each.values)
        sums: dict[_Key, Sums] = {}
        for keys, own in alike.items():
            for key in keys:
                sums.setdefault(key, Sums()).add(own)
        return cls(sums, numbers)

    async def write(self, session: AsyncSession) -> None:
        """Adds everything to what the database has; a part at a time, so that others get their turn on the loop."""
        keys = sorted(self.sums)  # two transactions may do so at once: rows are locked in one order
        for first in range(0, len(keys), _PART):
            await _add(session, {key: self.sums[key] for key in keys[first : first + _PART]})
        for first in range(0, len(self.numbers), _PART):
            await write_rows(session, Insert(RunValue, self.numbers[first : first + _PART]))


async def count_run(
    session: AsyncSession, run: TaskRun, task: Task, values: object, *, timezone: str, now: datetime
) -> None:
    """Adds a run that has ended to the sums, unless it was added already."""
    if run.counted_at is None and run.completed_at is not None:
        run.counted_at = now
        await Tally.of([Ended(run, task.schedule_timezone, values)], timezone).write(session)


def _keys(ended: Ended, timezone: str) -> tuple[_Key, ...]:
    run, keys = ended.run, list[_Key]()
    for scope, zone in (
        (scope_of_task(run.task_id), ended.timezone),
        (scope_of_owner(run.owner_user_id), timezone),
        (ALL, timezone),
    ):
        day = run.completed_at.astimezone(ZoneInfo(zone)).date()
        keys += [(scope, "day", day), (scope, "month", day.replace(day=1))]
    return tuple(keys)


async def _add(session: AsyncSession, sums: Mapping[_Key, Sums]) -> None:
    """Rows that are there are added to, the others made; those that somebody else makes meanwhile are there then."""
    connection = await session.connection()
    query = select(_TABLE).where(tuple_(*_KEY).in_([*sums])).order_by(*_KEY).with_for_update()
    totals = {}
    for row in await connection.execute(query):
        total = Sums(**{name: getattr(row, name) for name in NAMES})
        total.add(sums[row.scope, row.period, row.starts_on])
        totals[row.scope, row.period, row.starts_on] = total
    if totals:
        await connection.execute(_CHANGE, [_row(key, total, "its_") for key, total in totals.items()])
    new = {key: more for key, more in sums.items() if key not in totals}
    if not new:
        return
    make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    insert = make(_TABLE).on_conflict_do_nothing().returning(*_KEY)
    made = {(*row,) for row in await connection.execute(insert, [_row(key, more) for key, more in new.items()])}
    left = {key: more for key, more in new.items() if key not in made}
    if left:
        await _add(session, left)


def _row(key: _Key, sums: Sums, prefix: str = "") -> dict[str, Any]:
    return {f"{prefix}{name}": part for name, part in zip(_NAMES_OF_KEY, key, strict=True)} | sums.as_columns()


def _numbers(run: Any, values: object) -> list[dict[str, object]]:
    """The numbers of a result as rows. What is no number is left out: a run must end whatever its result says."""
    rows: list[dict[str, object]] = []
    for name, value in values.items() if isinstance(values, Mapping) else ():
        number = _number(value.get("number")) if isinstance(value, Mapping) else None
        if number is not None:
            unit = str(value.get("unit") or "")[:40] or None
            own = {"run_id": run.id, "task_id": run.task_id, "at": run.completed_at}
            rows.append({**own, "name": str(name)[:200], "number": number, "unit": unit})
    return rows


def _number(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
