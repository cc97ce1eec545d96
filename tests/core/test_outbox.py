"""The outbox: nothing said twice, nothing unsaid, in order per thread."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from ccdtasks.core import Core
from ccdtasks.core.outbox import Delivered
from ccdtasks.db.enums import Delivery, MessageType
from ccdtasks.db.models import DiscordMessage, TaskRun
from tests.clock import MoveableClock
from tests.people import ANN
from tests.stories import all_messages, claim, complete, fail, lines, queue, running


def _sent(row: DiscordMessage, message_id: str | None = None) -> Delivered:
    return Delivered(message_id or row.id.hex, "100", "555", content="text", embeds=[{"title": "t"}])


async def _put(core: Core, run_id: UUID, key: str, payload: dict[str, Any]) -> None:
    async with core.db.write() as session:
        run = await session.get_one(TaskRun, run_id)
        await core.messages.put(session, run, key, MessageType.NOTIFICATION, payload)


async def _keys(core: Core) -> list[str]:
    return [row.key for row in await core.messages.pending(100)]


async def _row(core: Core, key: str) -> DiscordMessage:
    return next(row for row in await all_messages(core) if row.key == key)


async def _deliver(core: Core) -> list[str]:
    """Delivers until nothing is pending, as the loop does."""
    said = []
    while rows := await core.messages.pending(100):
        for row in rows:
            said.append(row.key)
            await core.messages.delivered(row, _sent(row))
    return said


async def test_a_run_is_told_in_order(core: Core) -> None:
    claimed = await running(core)
    await complete(core, claimed)
    said = await _deliver(core)
    assert [key for place, key in enumerate(said) if key not in said[:place]] == ["opening", "card", "result"]
    assert all(row.state is Delivery.DELIVERED for row in await all_messages(core))


async def test_an_unsent_message_holds_back_its_thread_and_no_other(core: Core, clock: MoveableClock) -> None:
    await queue(core, "one")
    await queue(core, "two")
    first, second = await core.messages.pending()
    assert first.key == second.key == "opening"
    await core.messages.retry_later(first, 30, "Discord is away")
    await core.messages.delivered(second, _sent(second))
    (only,) = await core.messages.pending()
    assert (only.key, only.task_run_id) == ("card", second.task_run_id)
    waiting = next(row for row in await all_messages(core) if row.id == first.id)
    assert (waiting.attempts, waiting.last_error) == (1, "Discord is away")
    clock.advance(seconds=30)
    assert await _keys(core) == ["opening", "card"]


async def test_a_clock_that_is_set_back_puts_nothing_off_for_longer(core: Core, clock: MoveableClock) -> None:
    await queue(core, "one")
    (first,) = await core.messages.pending()
    await core.messages.retry_later(first, 86_400, "slow down")  # and nobody can put it off for a day
    assert await _keys(core) == []
    clock.set(clock.now() - timedelta(days=1))
    assert await _keys(core) == ["opening"]
    await core.messages.retry_later(first, 30, "Discord is away")
    assert await _keys(core) == []
    clock.advance(seconds=30)
    assert await _keys(core) == ["opening"]


async def test_edits_hold_back_nothing_and_are_held_back_by_nothing(core: Core) -> None:
    claimed = await running(core)
    await _deliver(core)
    await core.claims.record(claimed, lines({"type": "progress", "text": "a"}), 1)
    (card,) = await core.messages.pending()
    await core.messages.retry_later(card, 60, "slow down")
    await complete(core, claimed)
    assert "result" in await _keys(core)


async def test_a_retry_speaks_in_the_same_thread_and_so_after_what_is_unsent(core: Core) -> None:
    claimed = await running(core)
    await fail(core, claimed)
    lanes = {row.lane for row in await all_messages(core)}
    assert lanes == {claimed.run_id}
    assert await _keys(core) == ["opening"]


async def test_what_changes_while_it_is_sent_is_sent_again(core: Core) -> None:
    started = await queue(core)
    await _deliver(core)
    await _put(core, started.run.id, "news", {"text": "first"})
    (row,) = await core.messages.pending()
    await _put(core, started.run.id, "news", {"text": "second"})  # meanwhile
    await core.messages.delivered(row, _sent(row))
    (again,) = await core.messages.pending()
    assert (again.payload["text"], again.message_id, again.delivered_revision, again.revision) == (
        "second",
        row.id.hex,
        1,
        2,
    )
    await core.messages.failed(row, "too late to matter")  # about the old revision
    assert await _keys(core) == ["news"]
    await core.messages.delivered(again, _sent(again))
    assert await core.messages.pending() == []


async def test_a_crash_between_sending_and_noting_repeats_with_the_same_nonce(core: Core) -> None:
    await queue(core)
    (before,) = await core.messages.pending()
    (after,) = await core.messages.pending()
    assert before.nonce == after.nonce
    assert len(before.nonce) == 25
    assert before.nonce == before.id.hex[:25]
    assert len({row.nonce for row in await all_messages(core)}) == 2


async def test_what_is_delivered_is_kept(core: Core, clock: MoveableClock) -> None:
    await queue(core)
    (row,) = await core.messages.pending()
    await core.messages.delivered(row, _sent(row))
    kept = await _row(core, "opening")
    assert (kept.message_id, kept.channel_id, kept.thread_id, kept.sent_at) == (row.id.hex, "100", "555", clock.now())
    assert (kept.content, kept.embeds) == ("text", [{"title": "t"}])


async def test_a_final_failure_lets_the_others_go_on_and_can_be_mended(core: Core) -> None:
    started = await queue(core)
    (row,) = await core.messages.pending()
    await core.messages.failed(row, "x" * 5000)
    assert (await _row(core, "opening")).state is Delivery.FAILED
    assert len((await _row(core, "opening")).last_error or "") == 1000
    assert await _keys(core) == ["card"]
    await _put(core, started.run.id, "opening", {})
    assert await _keys(core) == ["opening"]
    assert (await _row(core, "opening")).attempts == 0


async def test_a_message_that_somebody_deleted_is_sent_anew(core: Core) -> None:
    await queue(core)
    (row,) = await core.messages.pending()
    await core.messages.delivered(row, _sent(row))
    await core.messages.forget(await _row(core, "opening"))
    anew = await _row(core, "opening")
    assert (anew.message_id, anew.state) == (None, Delivery.PENDING)
    assert anew.nonce != row.nonce  # Discord would fold the same nonce into the deleted message
    assert await _keys(core) == ["opening"]


async def test_an_outage_of_a_day_is_caught_up_in_order(core: Core, clock: MoveableClock) -> None:
    for number in range(12):
        claimed = await running(core, f"t{number}")
        await complete(core, claimed)
        await core.claims.removed(claimed)
        clock.advance(hours=2)
    by_thread: dict[Any, list[str]] = {}
    while rows := await core.messages.pending(5):
        assert len({row.lane for row in rows if row.delivered_revision == 0}) == sum(
            r.delivered_revision == 0 for r in rows
        )
        for row in rows:
            by_thread.setdefault(row.lane, []).append(row.key)
            await core.messages.delivered(row, _sent(row))
    assert len(by_thread) == 12
    assert {tuple(dict.fromkeys(keys)) for keys in by_thread.values()} == {("opening", "card", "result")}


async def test_old_news_is_given_up_when_discord_is_new(core: Core, clock: MoveableClock) -> None:
    await queue(core, "old")
    clock.advance(hours=2)
    await queue(core, "new")
    said = len(await all_messages(core))
    skipped = await core.messages.skip_older(clock.now() - timedelta(hours=1))
    left = await core.messages.pending(100)
    assert 0 < skipped < said
    assert {row.created_at for row in left} == {clock.now()}


async def test_a_message_without_a_run_is_said_once(core: Core) -> None:
    async with core.db.write() as session:
        for text in ("a", "b"):
            await core.messages.put(session, None, "alert:x", MessageType.NOTIFICATION, {"text": text})
            await core.messages.put(session, None, f"alert:{text}", MessageType.NOTIFICATION, {})
    assert sorted(await _keys(core)) == ["alert:a", "alert:b", "alert:x"]
    assert (await _row(core, "alert:x")).payload == {"text": "b"}


async def test_a_transaction_that_fails_says_nothing(core: Core) -> None:
    started = await queue(core)

    async def fail_halfway() -> None:
        async with core.db.write() as session:
            run = await session.get_one(TaskRun, started.run.id)
            await core.messages.put(session, run, "news", MessageType.NOTIFICATION)
            await session.execute(update(TaskRun).values(attempt=9))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_halfway()
    assert [row.key for row in await all_messages(core)] == ["opening", "card"]
    assert (await claim(core)).attempt == 1
    assert (await core.runs.find(ANN, str(started.run.id))).attempt == 1
