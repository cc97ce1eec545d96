"""Another try of a failed run, because a person wants it: in the same thread, with some values replaced if need be."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.config import Config
from ccdtasks.core.access import Access, Actor
from ccdtasks.core.audit import Audit
from ccdtasks.core.definition.parameters import fill, from_rows
from ccdtasks.core.definition.values import parse_values
from ccdtasks.core.limits import require_rate
from ccdtasks.core.lookup import find_run
from ccdtasks.core.outbox import Outbox
from ccdtasks.core.records.budgets import Budgets
from ccdtasks.core.records.line import place_of
from ccdtasks.core.records.lineage import first_of, latest_of, next_attempt
from ccdtasks.core.records.upstream import resolved, upstreams_of
from ccdtasks.core.runs.runs import StartedRun
from ccdtasks.core.states import FINAL
from ccdtasks.db import Database
from ccdtasks.db.enums import Effect, MessageType, RunStatus, Trigger
from ccdtasks.db.models import Task, TaskRun
from ccdtasks.errors import Conflict
from ccdtasks.events import Bus, MessagePending, RunQueued
from ccdtasks.times import Clock


class Attempts:
    """Tries that people ask for; those that follow by themselves are made where runs end."""

    def __init__(
        self,
        *,
        db: Database,
        bus: Bus,
        clock: Clock,
        config: Config,
        access: Access,
        audit: Audit,
        outbox: Outbox,
        budgets: Budgets,
    ) -> None:
        self._db = db
        self._bus = bus
        self._clock = clock
        self._config = config
        self._access = access
        self._audit = audit
        self._outbox = outbox
        self._budgets = budgets

    async def is_risky(self, actor: Actor, id_or_prefix: str) -> bool:
        """Whether another try may do something twice: the task buys, posts or submits, and the run had begun."""
        async with self._db.read() as session:
            run = await self._own(session, actor, id_or_prefix)
            task = await session.get_one(Task, run.task_id)
            return _is_risky(task, await latest_of(session, run))

    async def retry(
        self, actor: Actor, id_or_prefix: str, values: Mapping[str, str] | str = "", *, confirm: bool = False
    ) -> StartedRun:
        """Queues another try of a failed run. `values` as for a start; what they leave out stays as it was.

        Raises Conflict when the run did not fail, is being tried again already, or acted and nobody confirmed it.
        """
        given = parse_values(values) if isinstance(values, str) else dict(values)
        async with self._db.write() as session:
            run = await latest_of(session, await self._own(session, actor, id_or_prefix))
            task = await session.get_one(Task, run.task_id)
            _require_failed(run, task)
            if _is_risky(task, run) and not confirm:
                raise Conflict(
                    f"{task.task_name} buys, posts or submits, and this run had begun: another try may do it twice.",
                    f"see /task-logs {str(run.id)[:8]}; then confirm it: `confirm:True` in Discord, --yes in the shell",
                )
            await require_rate(session, actor, self._config.limits.starts_per_minute, self._clock.now())
            await self._budgets.require(session, task)
            attempt = await self._insert(session, actor, task, run, given)
            place = await place_of(session, attempt, self._clock.now()) or 1
            attempt.live = {"position": place}
        self._bus.publish(RunQueued(attempt.id))
        self._bus.publish(MessagePending(attempt.id))
        return StartedRun(attempt, attempt.id, place)

    async def _insert(
        self, session: AsyncSession, actor: Actor, task: Task, run: TaskRun, given: Mapping[str, str]
    ) -> TaskRun:
        parameters = from_rows(task.required_parameters, task.optional_parameters)
        known = {parameter.name for parameter in parameters}
        kept = {name: value for name, value in run.parameters.items() if name in known}
        filled = fill(parameters, {**kept, **given})
        resolved(filled, *await upstreams_of(session, run))
        attempt = await next_attempt(
            session,
            run,
            self._clock.now(),
            trigger=Trigger.MANUAL,
            not_before=None,
            parameters=filled,
            started_by=actor.user_id,
        )
        first = await session.get_one(TaskRun, first_of(run))
        opening = {"task": task.task_name, "session_id": str(first.id), "parameters": first.parameters}
        await self._outbox.put(session, first, "opening", MessageType.RUN_OPENING, opening)
        await self._outbox.put(session, attempt, "card", MessageType.LIVE_CARD)
        self._audit.record(session, actor, "run.retry", attempt.id, {"task": task.task_name, "of": str(run.id)})
        return attempt

    async def _own(self, session: AsyncSession, actor: Actor, id_or_prefix: str) -> TaskRun:
        self._access.require_use(actor)
        run = await find_run(session, id_or_prefix)
        self._access.require_owner(actor, run.owner_user_id, "try this run again")
        return run


def _require_failed(run: TaskRun, task: Task) -> None:
    if task.deleted_at:
        raise Conflict(f"{task.task_name} was deleted.", "/task-create makes a new one")
    if run.status not in FINAL and run.attempt == 1:
        raise Conflict("This run has not ended yet.", "/task-status shows how it goes")
    if run.status not in FINAL:
        raise Conflict(f"{task.task_name} is being tried again already.", "/task-status shows how it goes")
    if run.status is not RunStatus.FAILED:
        raise Conflict(
            f"Only a failed run can be tried again; this one is {run.status}.", f"/task-start {task.task_name}"
        )


def _is_risky(task: Task, run: TaskRun) -> bool:
    return task.effect is Effect.ACTS and run.started_at is not None
