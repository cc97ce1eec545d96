"""Claims: whose turn it is, what a claim may still write, and what a restart finds."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256

import pytest

from ccdtasks.app import open_core
from ccdtasks.config import ClaudeConfig, Config
from ccdtasks.core import Core
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.records.moves import Lost
from ccdtasks.core.runs.claims import Claim
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.events import RunChanged, RunQueued
from tests.clock import MoveableClock
from tests.people import ANN, BOB
from tests.stories import BOOT, claim, complete, completed, fail, lines, make_task, queue, running, status_of


async def _claimed_names(core: Core, limit: int = 100) -> list[str]:
    names = []
    while claimed := await core.claims.claim_next(core.clock.now(), BOOT, limit):
        names.append((await core.runs.load(claimed.run_id)).task.task_name)
    return names


async def test_a_claim_makes_a_session(core: Core) -> None:
    started = await queue(core)
    with core.bus.bell(RunChanged) as bell:
        claimed = await claim(core)
        assert bell.is_set()
    view = await core.runs.load(started.run.id)
    assert view.run.status is RunStatus.STARTING
    assert view.run.epoch == claimed.epoch == 1
    assert view.session
    assert view.session.id == claimed.session_id == view.run.session_id
    assert claimed.container_name == f"ccd-{view.run.id.hex[:12]}-1"
    assert claimed.folder == claimed.session_id.hex[:12]
    assert view.session.boot_id == BOOT
    assert claimed.dummy
    assert claimed.dummy.startswith("sk-ant-api03-")
    assert view.session.dummy_hash == sha256(claimed.dummy.encode()).hexdigest()
    assert claimed.dummy not in repr(claimed)
    assert view.run.started_at is None  # nothing has really been run yet
    assert view.task.last_run_at is None


async def test_a_dummy_is_of_the_kind_of_the_credential(config: Config, clock: MoveableClock) -> None:
    claude = ClaudeConfig.model_validate({"oauth_token": "sk-ant-oat01-" + "x" * 40})
    async with open_core(config.model_copy(update={"claude": claude}), clock) as core:
        await queue(core)
        assert (await claim(core)).dummy.startswith("sk-ant-oat01-")  # type: ignore[union-attr]


async def test_owners_take_turns(core: Core) -> None:
    for name in ("a1", "a2", "a3"):
        await queue(core, name)
    for name in ("b1", "b2"):
        await queue(core, name, actor=BOB)
    assert await _claimed_names(core) == ["a1", "b1", "a2", "b2", "a3"]


async def test_the_queue_of_one_owner_is_in_order(core: Core, clock: MoveableClock) -> None:
    names = [f"t{number:02}" for number in range(25)]
    for name in names:
        await queue(core, name)
        clock.advance(seconds=1)
    assert await _claimed_names(core, limit=10) == names[:10]
    assert await core.claims.claim_next(clock.now(), BOOT, 10) is None
    first = (await core.claims.open())[0]
    await core.claims.running(first)
    await complete(core, first)
    assert await core.claims.claim_next(clock.now(), BOOT, 10) is None  # its container may still be there
    await core.claims.removed(first)
    assert await _claimed_names(core, limit=10) == ["t10"]


async def test_two_claimers_never_get_the_same_run(config: Config, clock: MoveableClock) -> None:
    async with open_core(config, clock) as one, open_core(config, clock) as other:
        await make_task(one)
        for _ in range(6):
            await one.runs.start(ANN, "ticket-checker")
        claims = await asyncio.gather(
            *(each.claims.claim_next(clock.now(), BOOT, 4) for each in (one, other) for _ in range(5))
        )
        got = [claimed.run_id for claimed in claims if claimed]
        assert len(got) == len(set(got)) == 4


async def test_a_start_and_its_stop_at_once_end_one_way(core: Core) -> None:
    for number in range(6):
        started = await queue(core, f"t{number}")
        claimed, _ = await asyncio.gather(
            core.claims.claim_next(core.clock.now(), BOOT, 100), core.runs.stop(ANN, str(started.run.id))
        )
        if claimed is None:
            assert await status_of(core, started.run.id) is RunStatus.CANCELLED
        else:
            assert (await core.claims.look(claimed)).stop
            ended = await core.claims.finish(claimed, completed())
            assert ended.status is RunStatus.CANCELLED


async def test_what_is_put_off_waits(core: Core, clock: MoveableClock) -> None:
    claimed = await running(core)
    later = clock.now() + timedelta(hours=1)
    with core.bus.bell(RunQueued) as bell:
        assert await core.claims.requeue(claimed, later, Reason.MODEL_UNAVAILABLE)
        assert bell.is_set()
    await core.claims.removed(claimed)
    view = await core.runs.load(claimed.run_id)
    assert view.run.status is RunStatus.QUEUED
    assert view.run.attempt == 1
    assert await core.claims.claim_next(clock.now(), BOOT, 10) is None
    clock.advance(hours=1)
    again = await claim(core)
    assert again.run_id == claimed.run_id
    assert again.container_name != claimed.container_name
    assert again.epoch > claimed.epoch


async def test_a_run_that_waits_for_a_person_can_be_put_off(core: Core, clock: MoveableClock) -> None:
    claimed = await running(core)
    await core.claims.record(claimed, lines({"type": "human_needed", "request_id": "r"}), 1)
    assert await core.claims.requeue(claimed, clock.now(), Reason.MODEL_UNAVAILABLE)
    run = (await core.runs.load(claimed.run_id)).run
    assert (run.status, run.required_intervention) == (RunStatus.QUEUED, False)


async def test_nothing_starts_while_the_first_may_live(core: Core, clock: MoveableClock) -> None:
    """Neither a run that was put off nor a retry, before the old container is gone."""
    claimed = await running(core)
    await core.claims.requeue(claimed, clock.now(), Reason.MODEL_UNAVAILABLE)
    assert await core.claims.claim_next(clock.now(), BOOT, 10) is None
    await core.claims.removed(claimed)
    second = await claim(core)
    ended = await core.claims.finish(second, Outcome(RunStatus.FAILED, Reason.LOST))
    clock.advance(hours=2)
    assert await core.claims.claim_next(clock.now(), BOOT, 10) is None
    await core.claims.removed(second)
    assert (await claim(core)).run_id == ended.retry_run_id


async def test_an_old_claim_writes_nothing(core: Core, clock: MoveableClock) -> None:
    old = await running(core)
    await core.claims.requeue(old, clock.now(), Reason.MODEL_UNAVAILABLE)
    await core.claims.removed(old)
    new = await claim(core)
    await core.claims.running(new)
    before = (await core.runs.load(new.run_id)).run
    writes = [
        core.claims.created(old, "x"),
        core.claims.running(old),
        core.claims.record(old, lines({"type": "progress", "text": "late"}), 10),
        core.claims.note(old, "late", {}),
        core.claims.meter(old, {}, Decimal(9)),
        core.claims.collecting(old),
        core.claims.finish(old, completed()),
        core.claims.requeue(old, clock.now(), Reason.LOST),
        core.claims.look(old),
    ]
    for write in writes:
        with pytest.raises(Lost):
            await write
    after = (await core.runs.load(new.run_id)).run
    assert {column.name: getattr(before, column.key) for column in before.__table__.columns} == {
        column.name: getattr(after, column.key) for column in after.__table__.columns
    }
    assert await core.runs.events(ANN, new.run_id) == []


async def test_a_final_run_is_left_alone(core: Core) -> None:
    claimed = await running(core)
    await complete(core, claimed)
    for write in (core.claims.finish(claimed, completed()), core.claims.collecting(claimed), core.claims.look(claimed)):
        with pytest.raises(Lost):
            await write
    assert (await core.tasks.find(ANN, "ticket-checker")).success_count == 1
    await core.claims.removed(claimed)
    await core.claims.removed(claimed)
    assert await core.claims.open() == []


async def test_running_starts_the_clocks(core: Core, clock: MoveableClock) -> None:
    await queue(core, timeout_s=600)
    claimed = await claim(core)
    clock.advance(seconds=5)
    await core.claims.running(claimed)
    view = await core.runs.load(claimed.run_id)
    assert view.run.started_at == view.task.last_run_at == clock.now()
    assert view.run.deadline_at == clock.now() + timedelta(seconds=600)
    with pytest.raises(Lost):
        await core.claims.running(claimed)


async def test_a_restart_finds_every_session(core: Core, clock: MoveableClock) -> None:
    live = await running(core, "live")
    await core.claims.record(live, lines({"type": "progress", "text": "a"}), 77)
    put_off = await running(core, "put-off")
    await core.claims.requeue(put_off, clock.now() + timedelta(hours=1), Reason.MODEL_UNAVAILABLE)
    done = await running(core, "done")
    await complete(core, done)
    gone = await running(core, "gone")
    await fail(core, gone)
    found = {each.container_name: each for each in await core.claims.open()}
    assert found.keys() == {live.container_name, put_off.container_name, done.container_name}
    adopted = found[live.container_name]
    assert adopted.is_live
    assert (adopted.events_offset, adopted.events_seq, adopted.container_id) == (77, 1, "c" * 64)
    assert adopted.dummy is None
    assert not found[put_off.container_name].is_live
    assert not found[done.container_name].is_live
    await core.claims.record(adopted, lines({"type": "progress", "text": "b"}, first=2), 99)
    assert len(await core.runs.events(ANN, live.run_id)) == 2


async def test_usage_is_a_total_over_all_sessions(core: Core, clock: MoveableClock) -> None:
    first = await running(core)
    usage = {"claude-sonnet-5": {"input": 1000, "output": 600, "requests": 3}}
    for _ in range(2):  # totals, so that a repeated report changes nothing
        await core.claims.meter(first, usage, Decimal("0.25"), {"connections": 4})
    await core.claims.requeue(first, clock.now(), Reason.MODEL_UNAVAILABLE)
    await core.claims.removed(first)
    second = await claim(core)
    await core.claims.meter(
        second, {"claude-haiku-4-5": {"input": 203, "output": 1044, "requests": 1}}, Decimal("0.05")
    )
    run = (await core.runs.load(first.run_id)).run
    assert run.tokens_used is not None
    assert set(run.tokens_used.pop("by_model")) == {*usage, "claude-haiku-4-5"}
    assert run.tokens_used == {"input": 1203, "output": 1644}
    assert run.api_calls_made == 4
    assert run.cost_usd == Decimal("0.30")


async def test_a_refused_key_holds_the_whole_queue_with_one_alert(config: Config, clock: MoveableClock) -> None:
    claude = ClaudeConfig.model_validate({"api_key": "sk-ant-api03-" + "a" * 40})
    wrong = config.model_copy(update={"claude": claude})
    async with open_core(wrong, clock) as core:
        one, two = await running(core, "one"), await running(core, "two")
        waiting = await queue(core, "three")
        for claimed in (one, two):
            ended = await fail(core, claimed, Reason.MODEL_AUTH)
            assert ended.retry_run_id is None
        assert await core.claims.claim_next(clock.now(), BOOT, 10) is None
        alerts = [row for row in await core.messages.pending(100) if row.task_run_id is None]
        assert [row.payload["text"] for row in alerts] == [
            "Claude refused the API key, so all runs wait. Fix `[claude] api_key`, then `ccdtasks doctor`."
        ]
        hold = (await core.runs.load(waiting.run.id)).hold
        assert hold
        assert hold.message == alerts[0].payload["text"]
        assert list(await core.facts.holds()) == ["model_auth"]
    async with open_core(wrong, clock) as core:
        assert await core.claims.claim_next(clock.now(), BOOT, 10) is None  # a restart alone mends nothing
    right = ClaudeConfig.model_validate({"api_key": "sk-ant-api03-" + "b" * 40})
    async with open_core(config.model_copy(update={"claude": right}), clock) as core:
        assert (await claim(core)).run_id == waiting.run.id


async def test_doctor_releases_a_hold(core: Core) -> None:
    await fail(core, await running(core, "one"), Reason.MODEL_AUTH)
    await queue(core, "two")
    assert await core.facts.release("model_auth")
    assert not await core.facts.release("model_auth")
    assert isinstance(await claim(core), Claim)
