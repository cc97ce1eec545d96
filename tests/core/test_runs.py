"""Runs as people see them: started, stopped, found, listed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from ccdtasks.app import open_core
from ccdtasks.config import Config
from ccdtasks.core import Core
from ccdtasks.core.access import SYSTEM
from ccdtasks.core.runs.runs import StartedRun
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import Delivery, MessageType, RunStatus, Trigger
from ccdtasks.errors import Conflict, Denied, Invalid, LimitReached, NotFound
from ccdtasks.events import MessagePending, RunChanged, RunQueued
from tests.clock import MoveableClock
from tests.people import ADMIN, ANN, BOB
from tests.stories import all_messages, claim, complete, fail, lines, make_task, queue, running, status_of, told


async def test_a_start_is_a_row_with_its_messages_and_its_audit(core: Core) -> None:
    await make_task(core, prompt="From {origin} to {to=HNL}")
    with core.bus.bell(RunQueued) as queued, core.bus.bell(MessagePending) as pending:
        started = await core.runs.start(ANN, "ticket-checker", 'origin:"San Francisco"')
        assert queued.is_set()
        assert pending.is_set()
    view = await core.runs.load(started.run.id)
    assert started.position == view.position == 1
    assert started.session_id == view.run.id
    assert view.run.status is RunStatus.QUEUED
    assert view.run.trigger is Trigger.MANUAL
    assert view.run.parameters == {"origin": "San Francisco", "to": "HNL"}
    assert view.run.queued_at == view.run.created_at == core.clock.now()
    assert (view.run.epoch, view.run.attempt, view.attempts, view.session) == (0, 1, 3, None)
    opening, card = await all_messages(core)
    assert (opening.key, opening.message_type) == ("opening", MessageType.RUN_OPENING)
    assert opening.payload["parameters"] == view.run.parameters
    assert (card.key, card.message_type, card.state) == ("card", MessageType.LIVE_CARD, Delivery.PENDING)
    assert [entry.action for entry in await core.audit.entries("run", view.run.id)] == ["run.start"]


@pytest.mark.parametrize("values", ["", "orign:SFO", {"origin": "\x00"}, 'origin:"open'])
async def test_a_refused_start_leaves_nothing(core: Core, values: Any) -> None:
    await make_task(core, prompt="From {origin}")
    with core.bus.bell(RunQueued) as bell:
        with pytest.raises(Invalid):
            await core.runs.start(ANN, "ticket-checker", values)
        assert not bell.is_set()
    assert (await core.runs.page(ADMIN)).rows == []
    assert await all_messages(core) == []


async def test_only_owners_and_admins_start(core: Core) -> None:
    await make_task(core)
    with pytest.raises(Denied, match="Only <@1001> or an admin can start this task"):
        await core.runs.start(BOB, "ticket-checker")
    started = await core.runs.start(ADMIN, "ticket-checker")
    assert (started.run.owner_user_id, started.run.started_by) == (ANN.user_id, ADMIN.user_id)


async def test_starts_are_limited_per_user_and_minute(config: Config, clock: MoveableClock) -> None:
    limits = config.limits.model_copy(update={"starts_per_minute": 3})
    async with open_core(config.model_copy(update={"limits": limits}), clock) as core:
        await make_task(core)
        await make_task(core, "other", actor=BOB)
        await core.runs.start(ANN, "ticket-checker")
        clock.advance(seconds=20)
        tries = await asyncio.gather(
            *(core.runs.start(ANN, "ticket-checker") for _ in range(6)), return_exceptions=True
        )
        refused = [each for each in tries if isinstance(each, LimitReached)]
        assert len(refused) == 4
        assert refused[0].message == "You have started 3 runs within a minute."
        assert refused[0].retry_after_s == 40
        await core.runs.start(BOB, "other")
        await core.runs.start(SYSTEM, "ticket-checker", trigger=Trigger.SCHEDULED)
        clock.advance(seconds=40)
        await core.runs.start(ANN, "ticket-checker")
        clock.set(clock.now() - timedelta(hours=1))
        await core.runs.start(ANN, "ticket-checker")  # a clock that was set back locks nobody out for an hour


async def test_starts_at_once_stand_in_line(core: Core) -> None:
    await make_task(core)
    started = await asyncio.gather(*(core.runs.start(ANN, "ticket-checker") for _ in range(5)))
    assert len({each.run.id for each in started}) == 5
    positions = [(await core.runs.load(each.run.id)).position for each in started]
    assert sorted(position or 0 for position in positions) == [1, 2, 3, 4, 5]


async def test_again_with_the_same_values_and_with_others(core: Core) -> None:
    await make_task(core, prompt="From {origin} to {to}")
    first = await core.runs.start(ANN, "ticket-checker", "origin:SFO to:HNL")
    again = await core.runs.again(ANN, first.run.id)
    assert again.run.parameters == {"origin": "SFO", "to": "HNL"}
    other = await core.runs.again(ANN, first.run.id, {"to": "OGG"})
    assert other.run.parameters == {"origin": "SFO", "to": "OGG"}
    with pytest.raises(Invalid, match="has no parameter `too`"):
        await core.runs.again(ANN, first.run.id, {"too": "OGG"})
    with pytest.raises(Denied, match="can run this again"):
        await core.runs.again(BOB, first.run.id)
    with pytest.raises(NotFound):
        await core.runs.again(ANN, uuid4())
    for each in (first, again, other):
        await core.runs.stop(ANN, str(each.run.id))
    await core.tasks.delete(ANN, "ticket-checker")
    with pytest.raises(Conflict, match="ticket-checker was deleted"):
        await core.runs.again(ANN, first.run.id)


async def test_a_queued_run_is_cancelled_at_once(core: Core) -> None:
    started = await queue(core)
    with core.bus.bell(RunChanged) as bell:
        stopped = await core.runs.stop(ANN, "ticket-checker")
        assert bell.is_set()
    assert stopped.status is RunStatus.CANCELLED
    assert stopped.completed_at == core.clock.now()
    assert (await told(core, started.run.id))["result"]["by"] == ANN.user_id
    assert await core.claims.claim_next(core.clock.now(), "boot", 10) is None
    assert (await core.tasks.find(ANN, "ticket-checker")).run_count == 0


async def test_a_running_run_is_asked_to_stop(core: Core) -> None:
    claimed = await running(core)
    with core.bus.bell(RunChanged) as bell:
        run = await core.runs.stop(ANN, claimed.run_id.hex[:8])
        assert bell.is_set()
    assert run.status is RunStatus.RUNNING
    assert (await core.claims.look(claimed)).stop
    assert not (await core.claims.look(claimed)).force
    await core.runs.stop(ADMIN, "ticket-checker", force=True)
    view = await core.runs.load(claimed.run_id)
    assert (view.run.stop_requested_by, view.run.stop_force) == (ANN.user_id, True)


async def test_what_cannot_be_stopped(core: Core) -> None:
    await make_task(core)
    with pytest.raises(Conflict, match=r"^ticket-checker is not running\.$"):
        await core.runs.stop(ANN, "ticket-checker")
    first, _ = await queue(core), await queue(core)
    with pytest.raises(Conflict, match="2 runs of ticket-checker are going") as caught:
        await core.runs.stop(ANN, "ticket-checker")
    assert first.run.id.hex[:8] in caught.value.hint
    with pytest.raises(Denied, match=r"^Only <@1001> or an admin can stop this run\.$"):
        await core.runs.stop(BOB, "ticket-checker")
    with pytest.raises(Denied, match=r"^Only <@1001> or an admin can stop this run\.$"):
        await core.runs.stop(BOB, str(first.run.id))
    await core.runs.stop(ANN, str(first.run.id))
    with pytest.raises(Conflict, match=r"^This run has ended already: cancelled\.$"):
        await core.runs.stop(ANN, str(first.run.id))
    with pytest.raises(NotFound, match="There is no task named tiket"):
        await core.runs.stop(ANN, "tiket")
    with pytest.raises(NotFound):
        await core.runs.stop(ANN, str(uuid4()))


async def test_runs_are_found_by_what_people_have_at_hand(core: Core) -> None:
    claimed = await running(core)
    for text in (str(claimed.run_id), claimed.run_id.hex[:6].upper(), str(claimed.session_id), claimed.folder):
        assert (await core.runs.find(ANN, text)).id == claimed.run_id
    for text in ("abc", "", "zzzz", "f" * 33, "\x00", "0000"):
        with pytest.raises(NotFound):
            await core.runs.find(ANN, text)
    with pytest.raises(Denied):
        await core.runs.find(BOB, str(claimed.run_id))


async def _many(core: Core, clock: MoveableClock, count: int) -> list[StartedRun]:
    await make_task(core)
    started = []
    for number in range(count):
        if number % 3:
            clock.advance(seconds=1)  # some have the same time
        started.append(await core.runs.start(ANN, "ticket-checker"))
    return started


async def test_a_long_list_is_walked_newest_first(core: Core, clock: MoveableClock) -> None:
    started = await _many(core, clock, 11)
    seen: list[Any] = []
    after = None
    while True:
        page = await core.runs.page(ANN, after=after, limit=4)
        seen += [row.run.id for row in page.rows]
        await core.runs.start(ANN, "ticket-checker")  # what comes in between shifts nothing
        if (after := page.next_after) is None:
            break
    assert len(seen) == 11
    assert set(seen) == {each.run.id for each in started}
    times = {each.run.id: each.run.created_at for each in started}
    assert [times[run_id] for run_id in seen] == sorted(times.values(), reverse=True)


async def test_lists_show_what_one_may_see(core: Core) -> None:
    await complete(core, await running(core))
    await queue(core, "bobs", actor=BOB)
    assert [row.task_name for row in (await core.runs.page(ANN)).rows] == ["ticket-checker"]
    assert [row.task_name for row in (await core.runs.page(BOB)).rows] == ["bobs"]
    assert len((await core.runs.page(ADMIN)).rows) == 2
    assert len((await core.runs.page(ANN, status=RunStatus.COMPLETED)).rows) == 1
    assert (await core.runs.page(ANN, status=RunStatus.FAILED)).rows == []
    with pytest.raises(Denied):
        await core.runs.page(ANN, "bobs")


async def test_what_goes_on(core: Core) -> None:
    await complete(core, await running(core))
    await running(core, "second")
    await queue(core, "third")
    await queue(core, "bobs", actor=BOB)
    overview = await core.runs.status(ANN)
    assert [(row.task_name, row.run.status) for row in overview.going] == [
        ("second", RunStatus.RUNNING),
        ("third", RunStatus.QUEUED),
    ]
    assert overview.going[1].position == 2  # Bob has no session yet, so he comes first
    assert [row.task_name for row in overview.recent] == ["ticket-checker"]
    one = await core.runs.status(ANN, "third")
    assert one.task
    assert one.task.task_name == "third"
    assert len(one.going) == 1
    assert one.recent == []
    assert len((await core.runs.status(ADMIN)).going) == 3


async def test_the_log_is_followed_without_gap_or_double(core: Core, clock: MoveableClock) -> None:
    claimed = await running(core)
    events = [{"type": "progress", "text": str(number)} for number in range(30)]
    seen: list[str] = []
    after = None
    for batch in range(3):
        await core.claims.record(claimed, lines(*events[batch * 10 : batch * 10 + 10], first=batch * 10 + 1), batch + 1)
        await core.claims.note(claimed, "engine", {"text": f"note {batch}"})
        if batch == 1:
            clock.set(clock.now() - timedelta(days=1))
        while rows := await core.runs.events(ANN, claimed.run_id, after, limit=4):
            seen += [row.data["text"] for row in rows]
            after = rows[-1].at
    expected = [str(number) for number in range(30)]
    assert [text for text in seen if not text.startswith("note")] == expected
    assert [text for text in seen if text.startswith("note")] == ["note 0", "note 1", "note 2"]
    with pytest.raises(Denied, match="can see the log of this run"):
        await core.runs.events(BOB, claimed.run_id)


async def test_a_thread_belongs_to_all_attempts(core: Core) -> None:
    claimed = await running(core)
    await core.runs.set_thread(claimed.run_id, "100", "555", "Run 2026-01-17 15:30 - Running", "running")
    ended = await fail(core, claimed)
    assert ended.retry_run_id
    assert (await core.runs.load(ended.retry_run_id)).run.discord_thread_id == "555"
    await core.runs.set_thread(ended.retry_run_id, "100", "556", "Run 2026-01-17 15:30 - Running", "running")
    assert (await core.runs.load(claimed.run_id)).run.discord_thread_id == "556"
    assert (await core.tasks.find(ANN, "ticket-checker")).discord_thread_id_current == "556"


async def test_a_run_that_does_not_exist(core: Core) -> None:
    with pytest.raises(NotFound, match="This run does not exist"):
        await core.runs.load(uuid4())


async def test_people_without_a_role_do_nothing(config: Config, clock: MoveableClock) -> None:
    discord = config.discord.model_copy(update={"user_role_ids": (5,)})
    async with open_core(config.model_copy(update={"discord": discord}), clock) as core:
        acts = [
            core.tasks.create(ANN, TaskDraft("a", "b")),
            core.tasks.page(ANN),
            core.runs.start(ANN, "a"),
            core.runs.stop(ANN, "a"),
            core.runs.page(ANN),
            core.runs.status(ANN),
            core.runs.find(ANN, "abcd"),
        ]
        for act in acts:
            with pytest.raises(Denied, match="You need one of this server's ccdtasks roles"):
                await act
        assert await core.tasks.names(ANN) == []


async def test_two_shells_and_a_service_share_one_database(config: Config, clock: MoveableClock) -> None:
    async with open_core(config, clock) as service, open_core(config, clock) as shell:
        started = await queue(service)
        claimed = await claim(shell)
        assert claimed.run_id == started.run.id
        assert await service.claims.claim_next(clock.now(), "boot", 10) is None
        assert await status_of(service, started.run.id) is RunStatus.STARTING
