"""The line: whose turn it is, a run's place in it, what admins do with it, and cards that keep up."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from ccdtasks.app import open_core
from ccdtasks.config import Config
from ccdtasks.core import Core
from ccdtasks.core.access import SYSTEM
from ccdtasks.core.facts import USAGE_LIMIT
from ccdtasks.core.runs.claims import Claim
from ccdtasks.core.runs.queue import WaitsFor
from ccdtasks.db.enums import Reason, RunStatus, Trigger
from ccdtasks.errors import Conflict, Denied
from tests.clock import MoveableClock
from tests.people import ADMIN, ANN, BOB
from tests.stories import BOOT, all_messages, claim, complete, fail, make_task, queue, running, status_of, told


async def _line(core: Core) -> list[UUID]:
    rows = (await core.queue.page(ADMIN, 0, 1000)).rows
    assert [row.place for row in rows if row.place] == list(range(1, sum(row.place is not None for row in rows) + 1))
    return [row.run.id for row in rows]


async def _queued(core: Core, name: str, count: int, **more: Any) -> list[UUID]:
    return [(await queue(core, name, **more)).run.id for _ in range(count)]


async def test_the_line_is_the_order_in_which_runs_are_claimed(core: Core, clock: MoveableClock) -> None:
    """Owners take turns, whoever has sessions already stands back; each place shown is the true one."""
    await running(core, "anns")
    ann = await _queued(core, "anns", 4)
    bob = await _queued(core, "bobs", 3, actor=BOB)
    shown = await _line(core)
    assert shown == [bob[0], ann[0], bob[1], ann[1], bob[2], ann[2], ann[3]]
    for place, run_id in enumerate(shown, 1):
        assert (await core.runs.load(run_id)).position == place
    claimed = [(await claim(core, 100)).run_id for _ in shown]
    assert claimed == shown


async def test_case_41_25_starts_with_limit_10(config: Config, clock: MoveableClock) -> None:
    """reliability.md 41: never more than the limit, first in first out, and a restart keeps the order."""
    async with open_core(config, clock) as core:
        await make_task(core)
        ids = [(await core.runs.start(ANN, "ticket-checker")).run.id for _ in range(25)]
        claims = await asyncio.gather(*(core.claims.claim_next(clock.now(), BOOT, 10) for _ in range(25)))
        taken = [each for each in claims if each]
        assert sorted(each.run_id for each in taken) == sorted(ids[:10])
    async with open_core(config, clock) as core:
        assert await core.claims.claim_next(clock.now(), BOOT, 10) is None
        assert await _line(core) == ids[10:]
        for at, done in enumerate(taken):
            await core.claims.running(done)
            await complete(core, done)
            assert await core.claims.claim_next(clock.now(), BOOT, 10) is None  # its container is there still
            await core.claims.removed(done)
            assert (await claim(core)).run_id == ids[10 + at]


async def test_each_waits_for_something(core: Core, clock: MoveableClock) -> None:
    put_off = await fail(core, await running(core))
    waiting = await queue(core)
    page = await core.queue.page(ANN)
    assert [(row.run.id, row.place, row.waits_for) for row in page.rows] == [
        (waiting.run.id, 1, WaitsFor.SESSION),
        (put_off.retry_run_id, None, WaitsFor.TIME),
    ]
    async with core.db.write() as session:
        await core.facts.hold(session, USAGE_LIMIT, "Limit.", until=clock.now() + timedelta(hours=1))
    page = await core.queue.page(BOB)
    assert [(row.task_name, row.waits_for) for row in page.rows] == [(None, WaitsFor.HOLD), (None, WaitsFor.TIME)]
    assert (page.total, page.holds[0].name) == (2, USAGE_LIMIT)
    first, second = await core.queue.page(ANN, 0, 1), await core.queue.page(ANN, 1, 1)
    assert (first.next_start, second.next_start) == (1, None)
    assert second.rows[0].run.id == put_off.retry_run_id


async def test_a_scheduled_run_waits_for_the_run_before_it(core: Core) -> None:
    await running(core)
    await core.runs.start(SYSTEM, "ticket-checker", trigger=Trigger.SCHEDULED)
    (row,) = (await core.queue.page(ANN)).rows
    assert (row.place, row.waits_for) == (None, WaitsFor.TASK)


async def test_a_hold_with_an_end_ends_by_itself_and_grows_but_never_shrinks(core: Core, clock: MoveableClock) -> None:
    at = clock.now()
    await queue(core)
    async with core.db.write() as session:
        assert await core.facts.hold(session, USAGE_LIMIT, "Limit.", until=at + timedelta(hours=2))
        assert not await core.facts.hold(session, USAGE_LIMIT, "Limit.", until=at + timedelta(hours=1))
        assert not await core.facts.hold(session, USAGE_LIMIT, "Limit.", until=at + timedelta(hours=3))
    assert (await core.facts.holds())[USAGE_LIMIT].until == at + timedelta(hours=3)
    clock.advance(hours=2, minutes=59)
    assert await core.claims.claim_next(clock.now(), BOOT, 10) is None
    clock.advance(minutes=1)
    assert await core.facts.holds() == {}
    assert await core.claims.claim_next(clock.now(), BOOT, 10)
    async with core.db.write() as session:
        assert await core.facts.hold(session, USAGE_LIMIT, "Limit.", until=clock.now() + timedelta(hours=1))


async def test_a_usage_limit_holds_all_with_one_alert_and_costs_no_attempt(core: Core, clock: MoveableClock) -> None:
    first, second = await running(core), await running(core, "other")
    waiting = await queue(core, "third")
    until = clock.now() + timedelta(hours=2)
    for claimed in (first, second):
        assert await core.claims.requeue(claimed, until, Reason.MODEL_UNAVAILABLE, holds_all=True)
        await core.claims.removed(claimed)
    alerts = [row for row in await all_messages(core) if row.task_run_id is None]
    assert [row.payload["text"] for row in alerts] == ["Claude's usage limit is reached."]
    assert alerts[0].payload["until"] == until.isoformat()
    view = await core.runs.load(waiting.run.id)
    assert view.hold
    assert view.hold.until == until
    assert [hold.name for hold in (await core.runs.status(ANN)).holds] == [USAGE_LIMIT]
    assert await core.claims.claim_next(clock.now(), BOOT, 10) is None
    clock.advance(hours=2)
    claimed_ids = [(await claim(core)).run_id for _ in range(3)]
    assert claimed_ids == [first.run_id, second.run_id, waiting.run.id]
    assert {(await core.runs.load(each)).run.attempt for each in claimed_ids} == {1}


async def test_an_admin_puts_runs_where_they_want_them(core: Core) -> None:
    ids = await _queued(core, "anns", 4)
    bobs = await _queued(core, "bobs", 1, actor=BOB)
    assert await _line(core) == [ids[0], bobs[0], *ids[1:]]
    assert await core.queue.move(ADMIN, str(ids[3])) == 1
    assert await _line(core) == [ids[3], bobs[0], *ids[:3]]  # Ann has had her turn with it
    assert await core.queue.move(ADMIN, ids[2].hex[:8], 3) == 3
    assert await _line(core) == [ids[3], bobs[0], ids[2], ids[0], ids[1]]
    assert await core.queue.move(ADMIN, str(ids[3]), 50) == 5
    assert await _line(core) == [bobs[0], ids[2], ids[0], ids[1], ids[3]]
    line = await _line(core)
    assert [(await claim(core, 100)).run_id for _ in line] == line


async def test_who_may_not_and_what_cannot(core: Core, clock: MoveableClock) -> None:
    started = await queue(core)
    with pytest.raises(Denied, match="Only an admin can change the order"):
        await core.queue.move(ANN, str(started.run.id))
    with pytest.raises(Denied, match="Only an admin can clear the queue"):
        await core.queue.clear(ANN)
    claimed = await claim(core)
    with pytest.raises(Conflict, match="does not stand in line"):
        await core.queue.move(ADMIN, str(claimed.run_id))


@pytest.mark.slow
async def test_clearing_ends_what_waits_and_nothing_else(core: Core) -> None:
    claimed = await running(core)
    retry = await fail(core, await running(core, "other"))
    assert retry.retry_run_id
    waiting = await _queued(core, "ticket-checker", 120)
    assert await core.queue.clear(ADMIN) == 121
    assert (await core.queue.page(ADMIN)).total == 0
    assert await status_of(core, claimed.run_id) is RunStatus.RUNNING
    for run_id in (waiting[0], waiting[-1], retry.retry_run_id):
        assert await status_of(core, run_id) is RunStatus.CANCELLED
        assert (await told(core, run_id))["result"]["by"] == ADMIN.user_id
    assert await core.queue.clear(ADMIN) == 0


async def test_clearing_and_claiming_at_once(core: Core, clock: MoveableClock) -> None:
    """Each run is either claimed or cancelled, whoever comes first."""
    ids = await _queued(core, "ticket-checker", 20)
    results = await asyncio.gather(
        *(core.claims.claim_next(clock.now(), BOOT, 100) for _ in range(10)),
        core.queue.clear(ADMIN),
        *(core.claims.claim_next(clock.now(), BOOT, 100) for _ in range(10)),
    )
    cleared = results[10]
    claimed = {each.run_id for each in [*results[:10], *results[11:]] if each and not isinstance(each, int)}
    states = {run_id: await status_of(core, run_id) for run_id in ids}
    assert {run_id for run_id, status in states.items() if status is RunStatus.STARTING} == claimed
    assert sum(status is RunStatus.CANCELLED for status in states.values()) == cleared == 20 - len(claimed)


async def test_two_admins_and_an_engine_at_once(core: Core, clock: MoveableClock) -> None:
    """Each move is whole: both runs stand before all others, whose order stays; what began meanwhile is left alone."""
    ids = await _queued(core, "ticket-checker", 8)
    results = await asyncio.gather(
        core.queue.move(ADMIN, str(ids[7]), 1),
        core.claims.claim_next(clock.now(), BOOT, 1),
        core.queue.move(ADMIN, str(ids[6]), 1),
        core.queue.move(ADMIN, str(ids[5]), 1),
        return_exceptions=True,
    )
    assert all(isinstance(each, Conflict) for each in results if isinstance(each, BaseException))
    claimed = {each.run_id for each in results if isinstance(each, Claim)}
    assert len(claimed) == 1
    left = await _line(core)
    assert set(left) == set(ids) - claimed
    moved = {*ids[5:]} - claimed
    assert set(left[: len(moved)]) == moved
    assert left[len(moved) :] == [each for each in ids[:5] if each not in claimed]


async def _cards(core: Core) -> dict[UUID, int]:
    """Run -> revision of its card."""
    return {row.task_run_id: row.revision for row in await all_messages(core) if row.key == "card" and row.task_run_id}


async def test_cards_are_told_their_place_only_when_it_changed(core: Core) -> None:
    ids = await _queued(core, "ticket-checker", 3)
    assert await core.queue.tell_places() == 0  # each card says the true place already
    before = await _cards(core)
    await claim(core)
    await claim(core)
    assert await core.queue.tell_places() == 1
    assert (await _cards(core))[ids[2]] == before[ids[2]] + 1
    assert (await core.runs.load(ids[2])).run.live["position"] == 1
    assert await core.queue.tell_places() == 0
    async with core.db.write() as session:
        await core.facts.hold(session, "memory", "Too little memory.")
    assert await core.queue.tell_places() == 1
    await core.facts.release("memory")
    assert await core.queue.tell_places() == 1


@pytest.mark.slow
async def test_a_claim_does_not_cost_a_message_for_each_that_waits(core: Core) -> None:
    await _queued(core, "ticket-checker", 200)
    await claim(core, 300)
    assert await core.queue.tell_places() == 20
    assert await core.queue.tell_places() == 0
    for _ in range(20):
        await claim(core, 300)
    assert await core.queue.tell_places() == 20
    shown = [
        (await core.runs.load(row.run.id)).run.live["position"] for row in (await core.queue.page(ANN, 0, 20)).rows
    ]
    assert shown == list(range(1, 21))  # those near the front are told first
