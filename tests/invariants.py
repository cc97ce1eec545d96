"""What docs/invariants.md says, as assertions over one consistent look at the rows, the containers and the folders.

The journeys, the engine's tests and the random lives all use this one list; each rule is named by the line that it
checks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select

from ccdtasks.adapters.containers import ContainerState
from ccdtasks.adapters.podman import Podman
from ccdtasks.config import LimitsConfig
from ccdtasks.core import Core
from ccdtasks.core.definition.taskconfig import read_config
from ccdtasks.core.ending.chains import KEY
from ccdtasks.core.outcome.results import Result, stored_result
from ccdtasks.core.records.counting import ALL, scope_of_owner, scope_of_task
from ccdtasks.core.states import ACTIVE, FINAL, MOVES
from ccdtasks.db import Database
from ccdtasks.db.enums import ArtifactState, Effect, Reason, RunStatus, Trigger
from ccdtasks.db.models import (
    Artifact,
    DiscordMessage,
    Intervention,
    MetricRollup,
    Profile,
    PushoverNotification,
    RunEvent,
    RunValue,
    ScheduleHistory,
    Session,
    Task,
    TaskDependency,
    TaskRun,
    UserSettings,
)
from ccdtasks.engine.folder import RunFolders
from ccdtasks.errors import Unavailable

Seen = dict[UUID, tuple[RunStatus, str]]
"""Of each run its state and what it found, as of an earlier look."""


@dataclass
class World:
    """Everything that the rows say at one moment. `called`: whose phone has been known since before their first run."""

    runs: Sequence[TaskRun]
    sessions: Sequence[Session]
    tasks: dict[UUID, Task]
    messages: Sequence[DiscordMessage]
    events: Sequence[tuple[UUID, int]]
    results: Sequence[RunEvent]
    artifacts: Sequence[Artifact]
    history: Sequence[ScheduleHistory]
    profiles: Sequence[Profile]
    calls: Sequence[Intervention]
    edges: Sequence[TaskDependency]
    values: Sequence[RunValue]
    sums: Sequence[MetricRollup]
    pushes: Sequence[PushoverNotification]
    settings: dict[str, UserSettings]
    limits: LimitsConfig
    seen: Seen
    called: frozenset[str]

    def __post_init__(self) -> None:
        self.by_id = {run.id: run for run in self.runs}
        self.open = [each for each in self.sessions if each.removed_at is None]

    def thread(self, run: TaskRun) -> UUID:
        """A run and all its retries have this id in common."""
        return run.retry_of or run.id

    def retries(self, run: TaskRun) -> list[TaskRun]:
        return [
            each
            for each in self.runs
            if each.retry_of == self.thread(run) and each.trigger is Trigger.RETRY and each.attempt == run.attempt + 1
        ]


async def look(
    db: Database, limits: LimitsConfig, seen: Seen | None = None, called: frozenset[str] = frozenset()
) -> World:
    """Reads all rows in one snapshot, also while others write."""
    async with db.read() as session:
        if not db.is_sqlite:
            await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})

        async def rows(kind: Any) -> Sequence[Any]:
            return (await session.scalars(select(kind))).all()

        events = await session.execute(select(RunEvent.session_id, RunEvent.seq).where(RunEvent.seq > 0))
        return World(
            runs=await rows(TaskRun),
            sessions=await rows(Session),
            tasks={task.id: task for task in await rows(Task)},
            messages=await rows(DiscordMessage),
            events=[(session_id, seq) for session_id, seq in events],
            results=(await session.scalars(select(RunEvent).where(RunEvent.type == "result"))).all(),
            artifacts=await rows(Artifact),
            history=await rows(ScheduleHistory),
            profiles=await rows(Profile),
            calls=await rows(Intervention),
            edges=await rows(TaskDependency),
            values=await rows(RunValue),
            sums=await rows(MetricRollup),
            pushes=await rows(PushoverNotification),
            settings={each.user_id: each for each in await rows(UserSettings)},
            limits=limits,
            seen={} if seen is None else seen,
            called=called,
        )


def i1_nothing_runs_twice(world: World) -> None:
    threads = Counter(world.thread(world.by_id[each.run_id]) for each in world.open)
    assert not _more_than_once(threads.elements())


def i2_no_more_sessions_than_allowed(world: World) -> None:
    assert len(world.open) <= world.limits.max_sessions


def i3_only_legal_moves(world: World) -> None:
    for run in world.runs:
        before, _ = world.seen.get(run.id, (run.status, ""))
        assert run.status is before or _reachable(before, run.status), f"{before} -> {run.status}"
    assert not world.seen.keys() - world.by_id.keys(), "a run is gone"


def i4_one_claim_holds_a_run(world: World) -> None:
    for run in world.runs:
        mine = [each for each in world.sessions if each.run_id == run.id]
        assert not _more_than_once(each.epoch for each in mine)
        assert all(each.epoch <= run.epoch for each in mine)
        holders = [each for each in mine if each.epoch == run.epoch and each.removed_at is None]
        if run.status in ACTIVE:
            assert [each.id for each in holders] == [run.session_id]
        elif run.status not in FINAL:
            assert not holders


def i5_an_end_is_told_once(world: World) -> None:
    told = Counter(message.task_run_id for message in world.messages if message.key == "result")
    for run in world.runs:
        assert told[run.id] == (run.status in FINAL), f"{run.status}, told {told[run.id]} times"
    assert not _more_than_once((message.task_run_id, message.key) for message in world.messages)


def i6_completed_has_its_evidence(world: World) -> None:
    pictures = Counter(
        each.run_id
        for each in world.artifacts
        if each.name.endswith(".png") and each.state is not ArtifactState.MISSING
    )
    for run in world.runs:
        if run.status is RunStatus.COMPLETED:
            result = stored_result(run.result_data)
            assert result is not None
            assert not result.is_empty
            assert run.final_url or result.evidence_url
            assert pictures[run.id]


def i7_a_wish_to_stop_is_obeyed(world: World) -> None:
    for run in world.runs:
        if run.stop_requested_at is not None:
            assert run.status in ACTIVE or run.status is RunStatus.CANCELLED, run.status


def i8_what_acted_is_not_repeated(world: World) -> None:
    for run in world.runs:
        if world.tasks[run.task_id].effect is Effect.ACTS and run.started_at:
            assert not world.retries(run)
            assert run.status is not RunStatus.QUEUED, "put off after it began"


def i9_attempts_have_an_end(world: World) -> None:
    for run in world.runs:
        retries = world.retries(run)
        assert len(retries) <= 1
        assert not retries or run.status is RunStatus.FAILED
        asked_for = sum(
            each.retry_of == world.thread(run) and each.trigger is Trigger.MANUAL for each in world.runs
        )  # by people, who may want more
        assert run.attempt <= read_config(world.tasks[run.task_id].config).retries.attempts + asked_for


def i10_each_event_is_stored_once(world: World) -> None:
    highest, number = Counter[UUID](), Counter[UUID]()
    for session_id, seq in world.events:
        highest[session_id] = max(highest[session_id], seq)
        number[session_id] += 1
    assert highest == number
    assert all(each.events_seq == highest[each.id] for each in world.sessions)


def i11_dates_and_reasons_fit_the_state(world: World) -> None:
    for run in world.runs:
        assert (run.completed_at is not None) == (run.status in FINAL)
        assert (run.reason is not None) == (run.status is RunStatus.FAILED)
        assert run.required_intervention == (run.status is RunStatus.NEEDS_HUMAN)


def i12_counters_are_numbers_of_runs(world: World) -> None:
    ends = Counter((run.task_id, run.status) for run in world.runs)
    cancelled = Counter(run.task_id for run in world.runs if run.status is RunStatus.CANCELLED and run.started_at)
    for task in world.tasks.values():
        good, bad = ends[task.id, RunStatus.COMPLETED], ends[task.id, RunStatus.FAILED]
        assert (task.success_count, task.failure_count) == (good, bad), task.task_name
        assert task.run_count == good + bad + cancelled[task.id], task.task_name


def i13_what_was_told_is_there(world: World) -> None:
    for message in world.messages:
        retry = message.payload.get("retry_run_id") if message.key == "result" else None
        assert retry is None or UUID(retry) in world.by_id
    for run in world.runs:
        announced = {m.key for m in world.messages if m.task_run_id == run.id}
        assert "card" in announced
        assert run.retry_of or "opening" in announced


def i14_only_what_goes_on_asks(world: World) -> None:
    for call in world.calls:
        run = world.by_id[call.run_id]
        assert call.settled_at is not None or (run.status in ACTIVE and run.session_id == call.session_id)


def s1_a_time_has_one_run_and_one_note(world: World) -> None:
    scheduled = [run for run in world.runs if run.scheduled_for is not None]
    assert not _more_than_once((run.task_id, run.scheduled_for) for run in scheduled)
    fired = Counter((row.task_id, row.scheduled_for) for row in world.history if row.action == "triggered")
    assert fired == Counter((run.task_id, run.scheduled_for) for run in scheduled)


def s6_a_schedule_has_a_next_time(world: World) -> None:
    for task in world.tasks.values():
        can_fire = task.schedule_cron is not None and task.enabled and not task.paused
        assert (task.next_run_at is not None) == can_fire, f"{task.task_name}: {task.schedule_cron} {task.next_run_at}"


def c1_nothing_runs_after_itself(world: World) -> None:
    after: dict[UUID, set[UUID]] = {}
    for edge in world.edges:
        after.setdefault(edge.task_id, set()).add(edge.depends_on_task_id)
    while ends := {task for task, upstream in after.items() if not upstream & after.keys()}:
        after = {task: upstream for task, upstream in after.items() if task not in ends}
    assert not after


def c2_a_task_runs_once_in_a_chain(world: World) -> None:
    firsts = [run for run in world.runs if run.chain_id is not None and run.retry_of is None]
    assert not _more_than_once((run.task_id, run.chain_id) for run in firsts)


def c4_who_waits_has_somebody_to_wait_for(world: World) -> None:
    going = Counter(run.chain_id for run in world.runs if run.status not in FINAL)
    waiting = Counter(run.chain_id for run in world.runs if run.status is RunStatus.WAITING_DEPENDENCY)
    assert all(going[chain] > number for chain, number in waiting.items())
    summaries = [message.key for message in world.messages if message.key.startswith(KEY)]
    assert not _more_than_once(summaries)


def e11_a_profile_has_one_holder(world: World) -> None:
    leases = [each.leased_by for each in world.profiles if each.leased_by is not None]
    assert set(leases) <= {each.id for each in world.sessions}


def r1_a_result_is_neither_lost_nor_changed(world: World) -> None:
    """A result that a session handed over is its run's, and that of a run that has ended stays as it was."""
    for run in world.runs:
        before, found = world.seen.get(run.id, (run.status, _found(run)))
        assert before not in FINAL or found == _found(run), "the result of a run that had ended was changed"
        gave = any(event.session_id == run.session_id for event in world.results)
        assert not gave or run.result_data is not None or "result_refused" in (run.live or {}), "a result is lost"
        assert (run.news is not None) == (run.status is RunStatus.COMPLETED)
        assert not run.chart_wanted or run.status is RunStatus.COMPLETED


def r2_the_numbers_of_a_result_are_kept_once(world: World) -> None:
    kept: dict[UUID, dict[str, float]] = {}
    for value in world.values:
        kept.setdefault(value.run_id, {})[value.name] = value.number
    for run in world.runs:
        result = stored_result(run.result_data) if run.status is RunStatus.COMPLETED else None
        wanted = {name: float(value.number) for name, value in (result or Result()).values.items()}
        assert kept.get(run.id, {}) == wanted


def r3_a_file_has_one_row(world: World) -> None:
    assert not _more_than_once((each.run_id, each.name) for each in world.artifacts)
    assert not _more_than_once(each.location for each in world.artifacts if each.location)
    for each in world.artifacts:
        assert (each.location is None) == (each.state is ArtifactState.MISSING), each.name
        assert each.location or each.note, "it is missing, and nothing says why"


def r4_sums_are_those_of_the_runs(world: World) -> None:
    """Each run that ended is in the sums of its task, its owner and of everybody, once: by days, and by months."""
    wanted: dict[tuple[str, str], Counter[str]] = {}
    for run in world.runs:
        assert (run.counted_at is not None) == (run.status in FINAL)
        if run.status not in FINAL or (run.status is RunStatus.CANCELLED and run.started_at is None):
            continue
        own = Counter({"runs": 1, run.status.value: 1, "api_calls": run.api_calls_made or 0})
        own["microdollars"] = int((run.cost_usd or Decimal(0)) * 1_000_000)
        own["pages"] = run.pages_loaded or 0
        for scope in (scope_of_task(run.task_id), scope_of_owner(run.owner_user_id), ALL):
            for period in ("day", "month"):
                wanted.setdefault((scope, period), Counter()).update(own)
    found: dict[tuple[str, str], Counter[str]] = {}
    for row in world.sums:
        names = ("runs", "completed", "failed", "cancelled", "api_calls", "pages")
        own = Counter({name: getattr(row, name) for name in names})
        own["microdollars"] = int(row.cost_usd * 1_000_000)
        found.setdefault((row.scope, row.period), Counter()).update(own)
    assert {key: +sums for key, sums in found.items()} == {key: +sums for key, sums in wanted.items()}


def b1_what_was_spent_is_counted(world: World) -> None:
    spent: dict[UUID, Decimal] = {}
    for each in world.sessions:
        spent[each.run_id] = spent.get(each.run_id, Decimal(0)) + each.cost_usd
    for run in world.runs:
        assert (run.cost_usd or Decimal(0)) == spent.get(run.id, Decimal(0))


def b2_a_budget_is_told_once(world: World) -> None:
    """From 80 % on each share of a budget is told once in its day or month, and no share is passed over in silence."""
    told = [each.key for each in world.messages if each.key.startswith(("budget:day:", "budget:month:"))]
    assert not _more_than_once(told)
    spent: dict[tuple[str, Decimal], Decimal] = {}
    for run in world.runs:
        for budget in _budgets_of(world, run) if run.started_at and run.cost_usd else ():
            spent[budget] = spent.get(budget, Decimal(0)) + (run.cost_usd or Decimal(0))
    for (key, limit_usd), usd in spent.items():
        share = next((share for share in (100, 80) if usd * 100 >= limit_usd * share), None)
        assert share is None or {f"{key}:{share}", f"{key}:100"} & set(told), f"{key}: {usd} spent, and nobody was told"


def n1_a_phone_is_called_once_for_each_cause(world: World) -> None:
    """For the end of a row of attempts and for each call of a session, if its owner wants that; for nothing else."""
    assert not _more_than_once((each.owner_user_id, each.key) for each in world.pushes)
    told = {(each.owner_user_id, each.key) for each in world.pushes}
    for run in world.runs:
        events = _events_of(world, run)
        failed, good = (run.owner_user_id, f"error:{run.id}"), (run.owner_user_id, f"complete:{run.id}")
        is_final = run.status is RunStatus.FAILED and not world.retries(run) and not _is_echo(run)
        is_good = run.status is RunStatus.COMPLETED and bool((run.news or {}).get("is_told"))
        assert failed not in told or is_final, f"{run.status}: a failure was pushed"
        assert good not in told or is_good, f"{run.status}: a result was pushed"
        if run.owner_user_id in world.called:
            assert (failed in told) == (is_final and "error" in events), "a failure was not pushed"
            assert (good in told) == (is_good and "complete" in events), "a result was not pushed"
    for call in world.calls:
        run = world.by_id[call.run_id]
        if run.owner_user_id in world.called and "intervention" in _events_of(world, run):
            assert (run.owner_user_id, f"intervention:{call.id}") in told, "a call for a person was not pushed"


def n2_nobody_is_called_for_what_is_settled(world: World) -> None:
    settled = {f"intervention:{call.id}" for call in world.calls if call.settled_at is not None}
    for push in world.pushes:
        assert push.success is not None or push.key not in settled, "it would ring for something that is settled"
        assert (push.sent_at is not None) == (push.success is True)
        assert push.receipt_state is None or (push.receipt is not None and push.success)


def note_what_was_seen(world: World) -> None:
    """For the next look; after all others, which compare with the last one."""
    world.seen.update((run.id, (run.status, _found(run))) for run in world.runs)


RULES: tuple[Callable[[World], None], ...] = (
    i1_nothing_runs_twice,
    i2_no_more_sessions_than_allowed,
    i3_only_legal_moves,
    i4_one_claim_holds_a_run,
    i5_an_end_is_told_once,
    i6_completed_has_its_evidence,
    i7_a_wish_to_stop_is_obeyed,
    i8_what_acted_is_not_repeated,
    i9_attempts_have_an_end,
    i10_each_event_is_stored_once,
    i11_dates_and_reasons_fit_the_state,
    i12_counters_are_numbers_of_runs,
    i13_what_was_told_is_there,
    i14_only_what_goes_on_asks,
    s1_a_time_has_one_run_and_one_note,
    s6_a_schedule_has_a_next_time,
    c1_nothing_runs_after_itself,
    c2_a_task_runs_once_in_a_chain,
    c4_who_waits_has_somebody_to_wait_for,
    e11_a_profile_has_one_holder,
    r1_a_result_is_neither_lost_nor_changed,
    r2_the_numbers_of_a_result_are_kept_once,
    r3_a_file_has_one_row,
    r4_sums_are_those_of_the_runs,
    b1_what_was_spent_is_counted,
    b2_a_budget_is_told_once,
    n1_a_phone_is_called_once_for_each_cause,
    n2_nobody_is_called_for_what_is_settled,
)


async def check_rows(
    db: Database, limits: LimitsConfig, seen: Seen | None = None, called: frozenset[str] = frozenset()
) -> World:
    """Asserts everything that the rows alone can show."""
    world = await look(db, limits, seen, called)
    for rule in RULES:
        rule(world)
    note_what_was_seen(world)
    return world


async def check_invariants(
    core: Core, podman: Podman | None = None, folders: RunFolders | None = None, seen: Seen | None = None
) -> None:
    """Asserts every invariant: of the rows and files, and of containers and folders where they are given.

    Containers and folders are listed before the rows, as the reaper does it. May be asked while an engine works; what
    lies about only because a process died is not wrong, but it must belong to one open session, and no two to one run.
    """
    limits = core.config.limits
    gone = {each.id for each in (await look(core.db, limits)).sessions if each.removed_at is not None}
    containers = await _containers(core, podman) if podman else []
    names = folders.names() if folders else []
    world = await check_rows(core.db, limits, seen)
    assert core.config.storage.kind != "local" or _locations(world) <= _kept(core), "a row without its file"
    by_name = {each.container_name: each for each in world.sessions}
    by_folder = {each.folder: each for each in world.sessions}
    living = [each for each in containers if each.labels.get("ccdtasks.role") != "sweep"]
    assert {each.name for each in living} <= by_name.keys(), "a container without a session"
    assert set(names) <= by_folder.keys(), "a folder without a session"
    holders = [by_name[each.name] for each in living]
    assert not gone & {each.id for each in (*holders, *map(by_folder.__getitem__, names))}, "removed, and still there"
    assert not _more_than_once(world.thread(world.by_id[each.run_id]) for each in holders), "two containers of one run"
    assert len(living) <= limits.max_sessions


async def nothing_is_left(core: Core, podman: Podman, folders: RunFolders) -> None:
    """At rest: every run has ended, and no container, folder, lease or open session remains."""
    assert await podman.list(await core.facts.instance_id()) == []
    assert folders.names() == []
    world = await check_rows(core.db, core.config.limits)
    assert core.config.storage.kind != "local" or _kept(core) == _locations(world), (
        "files without rows, or rows without files"
    )
    assert [run.status for run in world.runs if run.status not in FINAL] == []
    assert world.open == []
    assert [each.name for each in world.profiles if each.leased_by] == []


async def _containers(core: Core, podman: Podman) -> list[ContainerState]:
    try:
        return await podman.list(await core.facts.instance_id())
    except Unavailable:  # then nothing is known about containers
        return []


def _locations(world: World) -> set[str]:
    """Where files lie, as the rows say."""
    return {each.location for each in world.artifacts if each.location}


def _kept(core: Core) -> set[str]:
    """What lies in the store, when that is a folder; half files, which are written over, do not count."""
    root = core.config.storage.path or core.config.paths.data_dir / "artifacts"
    found = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".part-"))
    return {str(path.relative_to(root)) for path in found}


def _found(run: TaskRun) -> str:
    return f"{run.result_data} {run.news} {run.final_url}"


def _budgets_of(world: World, run: TaskRun) -> list[tuple[str, Decimal]]:
    """The keys and limits of the budgets from which a run that started has spent."""
    assert run.started_at is not None
    task, month_usd = world.tasks[run.task_id], world.limits.budget_usd_per_user_month
    day_usd = read_config(task.config).budget_usd_per_day
    day = run.started_at.astimezone(ZoneInfo(task.schedule_timezone)).date()
    month = f"{run.owner_user_id}:{run.started_at:%Y-%m}"
    found = [(f"budget:day:{task.id}:{day}", day_usd), (f"budget:month:{month}", month_usd)]
    return [(key, limit_usd) for key, limit_usd in found if limit_usd is not None]


def _is_echo(run: TaskRun) -> bool:
    """A failure that follows from one that was told, or from spent money: nobody is called again."""
    return run.reason is Reason.DEPENDENCY_FAILED or (run.reason is Reason.BUDGET and run.started_at is None)


def _events_of(world: World, run: TaskRun) -> Sequence[str]:
    """What the owner of a run wants to be called for."""
    settings, task = world.settings.get(run.owner_user_id), world.tasks[run.task_id]
    wanted = settings.pushover_events if settings and task.pushover_enabled else ()
    refused = {"error": task.notify_on_error, "complete": task.notify_on_complete}
    return [event for event in wanted if refused.get(event, True)]


def _more_than_once(items: Iterable[Any]) -> list[Any]:
    return [item for item, number in Counter(items).items() if number > 1]


def _reachable(before: RunStatus, after: RunStatus) -> bool:
    """In one or more legal moves."""
    reached, border = {before}, {before}
    while border:
        border = {target for status in border for target in MOVES[status]} - reached
        reached |= border
    return after in reached
