"""Random lives: whatever people, schedules, engines, crashes and clocks do in whatever order, the invariants hold."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from pydantic import SecretStr
from sqlalchemy import event, select

from ccdtasks.app import open_core
from ccdtasks.config import Config, DatabaseConfig, LimitsConfig, PathsConfig, PushoverConfig
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL, Actor
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.ending.interventions import Answer
from ccdtasks.core.facts import MODEL_AUTH
from ccdtasks.core.phone.pushqueue import Outgoing
from ccdtasks.core.records.moves import Lost
from ccdtasks.core.runs.claims import Claim
from ccdtasks.db.enums import ArtifactKind, Reason, RunStatus
from ccdtasks.db.models import Profile, TaskRun
from ccdtasks.errors import Conflict, Denied, Invalid, LimitReached, NotFound
from tests.clock import MoveableClock
from tests.conftest import postgres_database
from tests.invariants import Seen, check_rows
from tests.people import ANN, BOB
from tests.stories import BOOT, FINAL_PNG, RESULT, completed, lines, make_task

LIMIT = 3
TASKS: dict[str, tuple[Actor, dict[str, Any]]] = {
    "reads": (ANN, {}),
    "acts": (ANN, {"effect": "acts"}),
    "waits": (ANN, {"overlap": "queue"}),
    "bobs": (BOB, {"budget_usd_per_day": 1}),
}
CALLED = frozenset({ANN.user_id, BOB.user_id})
KEY = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG"
NAMES, CLAIMS = st.sampled_from(sorted(TASKS)), st.integers(0, 7)
REFUSED = (Conflict, Denied, Invalid, LimitReached, NotFound, Lost)
TIMES = ["*/5 * * * *", "0 9 * * 1-5", "30 2 * * *", "@hourly", "in 20m", "at 2026-01-19 09:00"]
REASONS = [Reason.LOST, Reason.BLOCKED, Reason.MODEL_AUTH]
CRASHES = st.sampled_from([*[None] * 18, "before", "after"])
"""When the process dies: just before the act's commit, just after it, or not."""
ANSWERS = st.sampled_from(["takes it", "takes it", "is away", "never answers", "refuses us"])
SURE = st.sampled_from(["before", "after"])


class Crash(Exception):
    """The process dies."""


class Lives(RuleBasedStateMachine):
    """Acts of people and of engines, some of which still hold claims that others have taken over."""

    database: Callable[[Path], AbstractContextManager[str]]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="ccd-lives-"))
        self.opened_database = type(self).database(self.folder)
        self.config = Config(
            database=DatabaseConfig(url=self.opened_database.__enter__()),
            paths=PathsConfig(data_dir=self.folder),
            limits=LimitsConfig(starts_per_minute=1000, max_sessions=LIMIT, budget_usd_per_user_month=Decimal(20)),
            pushover=PushoverConfig(token=SecretStr("azGDORePK8gMaC0QOYAMyEEuzJnyUi")),
        )
        self.clock = MoveableClock()
        self.claims: list[Claim] = []
        self.seen: Seen = {}
        self.rung = Counter[Any]()
        self.dies_at_commit = False
        self.open()

    def open(self) -> None:
        self.opened = open_core(self.config, self.clock)
        self.core: Core = self.do(self.opened.__aenter__())
        event.listen(self.core.db._writer.sync_engine, "commit", self.on_commit)

    def on_commit(self, _connection: Any) -> None:
        if self.dies_at_commit:
            self.dies_at_commit = False
            raise Crash

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def act(self, work: Coroutine[Any, Any, Any], crash: str | None = None) -> Any:
        """What the act gave; nothing when it was refused, or when the process died and so never heard of it."""
        self.dies_at_commit = crash == "before"
        given = None
        with suppress(Crash, *REFUSED):
            given = self.do(work)
        self.dies_at_commit = False
        if crash is None:
            return given
        self.restart()
        return None

    @rule()
    def restart(self) -> None:
        """Another process: it adopts what lives, removes what does not, and the old claims stay with a thawed one."""
        self.do(self.opened.__aexit__(None, None, None))
        self.open()
        for claimed in self.do(self.core.claims.open()):
            if claimed.is_live:
                self.claims.append(claimed)
            else:
                self.do(self.core.claims.removed(claimed))
        self.do(self.core.profiles.release_stale())

    def teardown(self) -> None:
        self.do(self.opened.__aexit__(None, None, None))
        self.loop.close()
        self.opened_database.__exit__(None, None, None)
        shutil.rmtree(self.folder)

    @initialize()
    def make_tasks(self) -> None:
        for actor in (ANN, BOB):
            self.do(self.core.settings.set_key(actor, KEY, _has_a_phone))
            self.do(self.core.settings.notify_on(actor, "complete, error, intervention"))
        for name in TASKS:
            self.make(name)
        self.begin("reads")

    # -- people

    @rule(name=NAMES)
    def make(self, name: str) -> None:
        actor, config = TASKS[name]
        self.act(make_task(self.core, name, actor=actor, **config))

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        self.act(self.core.tasks.delete(TASKS[name][0], name, confirm=True))

    @rule(name=NAMES, crash=CRASHES)
    def start(self, name: str, crash: str | None) -> None:
        self.act(self.core.runs.start(TASKS[name][0], name), crash)

    @rule(name=NAMES)
    def begin(self, name: str) -> None:
        """The first steps at once: single ones seldom come together."""
        self.start(name, None)
        self.claim(None)

    @rule(number=CLAIMS)
    def again(self, number: int) -> None:
        if claimed := self.pick(number):
            self.act(self.core.runs.again(SHELL, claimed.run_id))

    @rule(number=CLAIMS, crash=CRASHES)
    def try_again(self, number: int, crash: str | None) -> None:
        if claimed := self.pick(number):
            self.act(self.core.attempts.retry(SHELL, str(claimed.run_id), confirm=True), crash)

    @rule(name=NAMES, force=st.booleans(), crash=CRASHES)
    def stop(self, name: str, force: bool, crash: str | None) -> None:
        self.act(self.core.runs.stop(TASKS[name][0], name, force), crash)

    @rule(name=NAMES, when=st.sampled_from(TIMES), zone=st.sampled_from(["UTC", "Europe/Berlin"]), crash=CRASHES)
    def schedule(self, name: str, when: str, zone: str, crash: str | None) -> None:
        zone = "UTC" if name == "bobs" else zone  # whose day is that of a budget: moved, it would be another one
        self.act(self.core.schedules.set(TASKS[name][0], name, when, zone), crash)

    @rule(name=NAMES)
    def unschedule(self, name: str) -> None:
        self.act(self.core.schedules.remove(TASKS[name][0], name))

    @rule(name=NAMES, crash=CRASHES)
    def pause(self, name: str, crash: str | None) -> None:
        self.act(self.core.schedules.pause(TASKS[name][0], name), crash)

    @rule(name=NAMES)
    def resume(self, name: str) -> None:
        self.act(self.core.schedules.resume(TASKS[name][0], name))

    @rule(name=NAMES, upstream=NAMES, required=st.booleans(), mode=st.sampled_from(["all", "any"]))
    def depend(self, name: str, upstream: str, required: bool, mode: Any) -> None:
        self.act(self.core.dependencies.add(SHELL, name, upstream, required=required, mode=mode))

    @rule(name=NAMES, upstream=NAMES, crash=CRASHES)
    def let_go(self, name: str, upstream: str, crash: str | None) -> None:
        self.act(self.core.dependencies.remove(SHELL, name, upstream), crash)

    @rule(number=CLAIMS, place=st.integers(1, 3))
    def put_first(self, number: int, place: int) -> None:
        if claimed := self.pick(number):
            self.act(self.core.queue.move(SHELL, str(claimed.run_id), place))

    @rule(crash=CRASHES)
    def clear_the_queue(self, crash: str | None) -> None:
        self.act(self.core.queue.clear(SHELL), crash)

    # -- time

    @rule(minutes=st.sampled_from([1, 6, 61, 24 * 60]))
    def wait(self, minutes: int) -> None:
        self.clock.advance(minutes=minutes)

    @rule(seconds=st.sampled_from([-86_400, -3600, -30, 30, 3600, 86_400]))
    def set_clock(self, seconds: int) -> None:
        """Somebody sets the host's clock."""
        self.clock.set(self.clock.now() + timedelta(seconds=seconds))

    @rule(crash=CRASHES)
    def fire(self, crash: str | None) -> None:
        self.act(self.core.firing.fire_due(), crash)

    @rule()
    def rehearse(self) -> None:
        self.act(self.core.firing.rehearse())

    @rule()
    def watch(self) -> None:
        self.act(self.core.deadman.check())

    # -- engines

    @rule(crash=CRASHES)
    def claim(self, crash: str | None) -> None:
        claimed = self.act(self.core.claims.claim_next(self.clock.now(), BOOT, LIMIT), crash)
        if claimed:
            self.claims.append(claimed)
            assert not any(budget.is_used_up for budget in self.do(self.core.budgets.of(claimed.run_id)))

    def pick(self, number: int) -> Claim | None:
        """Recent claims and old ones."""
        return self.claims[-1 - number] if number < len(self.claims) else None

    @rule(number=CLAIMS, crash=CRASHES)
    def come_up(self, number: int, crash: str | None) -> None:
        if claimed := self.pick(number):
            self.act(self.core.claims.created(claimed, "c"))
            self.act(self.core.claims.running(claimed), crash)

    @rule(number=CLAIMS, kind=st.sampled_from(["progress", "result", "human_needed", "human_done"]), crash=CRASHES)
    def write(self, number: int, kind: str, crash: str | None) -> None:
        if claimed := self.pick(number):
            result = {**RESULT, "values": {"lowest": {"number": number, "unit": "$"}}}
            event = {"type": kind, "request_id": "r", **(result if kind == "result" else {})}
            if self.act(self.core.claims.look(claimed)):
                known = next(each for each in self.do(self.core.claims.open()) if each.session_id == claimed.session_id)
                written = lines(event, first=known.events_seq + 1)
                self.act(self.core.claims.record(claimed, written, known.events_offset + 1), crash)

    @rule(number=CLAIMS, usd=st.sampled_from(["0.30", "0.30", "0.90", "6"]), crash=CRASHES)
    def spend(self, number: int, usd: str, crash: str | None) -> None:
        """What the gateway says are totals, so that it may say them again."""
        claimed = self.pick(number)
        wish = self.act(self.core.claims.look(claimed)) if claimed else None
        if claimed and wish and wish.status is not RunStatus.STARTING:
            usage = {"claude": {"input": 10, "output": 1, "requests": 1}}
            self.act(self.core.claims.meter(claimed, usage, Decimal(usd)), crash)

    @rule(name=NAMES, usd=st.sampled_from(["0.45", "0.60", "0.60", "4.50"]), crash=CRASHES)
    def spend_in_two_sessions(self, name: str, usd: str, crash: str | None) -> None:
        """A run costs something, is put off, costs more when it goes on, and ends, while another of its task waits."""
        self.spend(self.alone(name), usd, None)
        self.start(name, None)
        self.put_off(None, 0, None)
        self.clean()
        self.claim(None)
        self.come_up(0, None)
        self.spend(0, usd, crash)
        self.finish(0, False, Reason.BLOCKED, None)
        self.clean()
        self.claim(None)

    @rule(name=NAMES, rings=st.booleans(), helps=st.booleans(), crash=CRASHES)
    def want_help(self, name: str, rings: bool, helps: bool, crash: str | None) -> None:
        """A run wants a person; the phone rings before somebody comes, or not; somebody comes, or the run ends."""
        self.write(self.alone(name), "human_needed", None)
        if rings:
            self.call_phones("takes it", crash)
        if helps:
            self.help(0, "done")
        else:
            self.finish(0, False, Reason.BLOCKED, None)
        self.call_phones("takes it", None)

    @rule(number=CLAIMS, outcome=st.sampled_from(["done", "skipped"]))
    def help(self, number: int, outcome: Any) -> None:
        if claimed := self.pick(number):
            self.act(self.core.interventions.answer(SHELL, str(claimed.run_id), Answer(outcome)))

    @rule(pushover=ANSWERS, crash=CRASHES | SURE)
    def call_phones(self, pushover: str, crash: str | None) -> None:
        """A phone rings a second time only when nobody could know that it rang, and never for what is settled."""
        pushes = self.core.push_queue
        for push in self.do(pushes.pending()):
            if self.act(pushes.begin(push.row, 5)):
                self._ring(push, pushover, crash)
            if crash is not None:
                return

    def _ring(self, push: Outgoing, pushover: str, crash: str | None) -> None:
        pushes = self.core.push_queue
        assert push.is_repeat or not self.rung[push.row.id], "the phone rang twice"
        if pushover == "takes it":
            self.rung[push.row.id] += 1
            self.act(pushes.sent(push, KEY, "request", None, None), crash)
        elif pushover == "refuses us":
            self.act(pushes.put_off(push, 5, None, is_open=False), crash)
            self.act(self.core.push_queue.hold_back("Pushover refuses us.", "mend it"))
        else:
            self.rung[push.row.id] += pushover == "never answers"
            self.act(pushes.put_off(push, 5, "away", is_open=pushover == "never answers"), crash)

    @rule()
    def draw(self) -> None:
        """Charts that results want."""
        for run_id in self.do(self.core.charting.wanted()):
            chart = replace(FINAL_PNG, name="chart.png", kind=ArtifactKind.CHART, location=f"{run_id}/chart.png")
            self.act(self.core.charting.drawn(run_id, chart))

    @rule(number=CLAIMS)
    def collect(self, number: int) -> None:
        if claimed := self.pick(number):
            self.act(self.core.claims.collecting(claimed))

    @rule(number=CLAIMS, good=st.booleans(), reason=st.sampled_from(REASONS), crash=CRASHES)
    def finish(self, number: int, good: bool, reason: Reason, crash: str | None) -> None:
        if claimed := self.pick(number):
            picture = replace(FINAL_PNG, location=f"{claimed.run_id}/{claimed.epoch}/final.png")
            outcome = completed(artifacts=[picture]) if good else Outcome(RunStatus.FAILED, reason)
            self.act(self.core.claims.finish(claimed, outcome), crash)

    @rule(number=CLAIMS, crash=CRASHES)
    def succeed(self, number: int, crash: str | None) -> None:
        """The whole way to a good end, which single steps seldom find."""
        self.come_up(number, None)
        self.write(number, "result", None)
        self.collect(number)
        self.finish(number, True, Reason.LOST, crash)

    def alone(self, name: str) -> int:
        """A run of the task that is up, and nothing else is under way: so often is that seen in no other life."""
        for claimed in self.do(self.core.claims.open()):
            self.act(self.core.claims.finish(claimed, Outcome(RunStatus.FAILED, Reason.BLOCKED)))
        self.clear_the_queue(None)
        self.release()
        self.clean()
        self.make(name)
        self.begin(name)
        self.come_up(0, None)
        return 0

    @rule(fresh=st.none() | NAMES, number=CLAIMS, minutes=st.sampled_from([0, 1, 61]))
    def fail(self, fresh: str | None, number: int, minutes: int) -> None:
        """An attempt that began fails, and its retry is due, while its container is there still."""
        number = self.alone(fresh) if fresh else number
        self.come_up(number, None)
        self.finish(number, False, Reason.LOST, None)
        self.wait(minutes)
        self.claim(None)

    @rule(fresh=st.none() | NAMES, number=CLAIMS, crash=CRASHES)
    def put_off(self, fresh: str | None, number: int, crash: str | None) -> None:
        if claimed := self.pick(self.alone(fresh) if fresh else number):
            is_put_off = self.act(self.core.claims.requeue(claimed, self.clock.now(), Reason.MODEL_UNAVAILABLE), crash)
            if is_put_off is False:
                self.act(self.core.claims.finish(claimed, Outcome(RunStatus.FAILED, Reason.MODEL_UNAVAILABLE)))

    @rule(number=CLAIMS)
    def thaw(self, number: int) -> None:
        """A run is put off and taken up by another claim while its first one was frozen; that one goes on now."""
        if claimed := self.pick(number):
            self.put_off(None, number, None)
            self.clean()
            self.claim(None)
            self.come_up(self.claims[::-1].index(claimed), None)
            self.act(self.core.claims.collecting(claimed))

    @rule()
    def clean(self) -> None:
        """Containers of runs that are over go."""
        for claimed in self.do(self.core.claims.open()):
            if not claimed.is_live:
                self.act(self.core.claims.removed(claimed))

    @rule()
    def release(self) -> None:
        self.act(self.core.facts.release(MODEL_AUTH))

    @rule(number=CLAIMS)
    def lease(self, number: int) -> None:
        if claimed := self.pick(number):
            self.act(self._lease(claimed))

    async def _lease(self, claimed: Claim) -> None:
        async with self.core.db.write() as session:
            profile = await session.scalar(select(Profile).where(Profile.name == "shop"))
            run = await session.get_one(TaskRun, claimed.run_id)
            if profile is None:
                session.add(Profile(name="shop", owner_user_id=run.owner_user_id, leased_by=claimed.session_id))
            elif profile.leased_by is None:
                profile.leased_by = claimed.session_id

    @invariant()
    def what_always_holds(self) -> None:
        self.do(check_rows(self.core.db, self.config.limits, self.seen, CALLED))


async def _has_a_phone(_key: str) -> tuple[str, ...]:
    return ("iphone",)


def live(database: Callable[[Path], AbstractContextManager[str]], lives: int) -> None:
    """A few lives where every minute counts, `lives` of them where everything is tried."""
    is_complete = bool(os.environ.get("CCDTEST_COMPLETE"))
    Lives.database = staticmethod(database)  # type: ignore[method-assign]
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=lives if is_complete else 5,
            stateful_step_count=50 if is_complete else 30,
            deadline=None,
            suppress_health_check=[*HealthCheck],
        ),
    )


@pytest.mark.slow
def test_random_lives_on_sqlite(sqlite_template: Path) -> None:
    @contextmanager
    def database(folder: Path) -> Iterator[str]:
        shutil.copy(sqlite_template, folder / "ccdtasks.db")
        yield f"sqlite+aiosqlite:///{folder / 'ccdtasks.db'}"

    live(database, 50)


@pytest.mark.postgres
def test_random_lives_on_postgres(postgres_folder: Path, postgres_template: str) -> None:
    live(lambda _: postgres_database(postgres_folder, postgres_template), 40)
