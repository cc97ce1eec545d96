"""The hot queries use their indexes: a million runs must not make a claim, a card or a list slow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, text

from ccdtasks.app import open_core
from ccdtasks.config import Config
from ccdtasks.core import Core
from ccdtasks.db.enums import Reason, RunStatus
from tests.clock import MoveableClock
from tests.people import ADMIN, ANN
from tests.stories import BOOT, claim, complete, fail, lines, queue, running

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])

SMALL = {"instance_facts", "discord_threads", "discord_channels"}
"""Tables that stay small, and may be read from end to end."""


@contextmanager
def _statements(core: Core) -> Iterator[list[tuple[str, Any]]]:
    """Every statement that the core executes meanwhile."""
    seen: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, is_of_many: bool) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE")):
            seen.append((statement, parameters[0] if is_of_many else parameters))

    engines = [core.db._reader.sync_engine, core.db._writer.sync_engine]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    yield seen
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)


async def _scans(core: Core, statements: list[tuple[str, Any]]) -> list[str]:
    """The steps of the plans that read a whole table, or sort one."""
    found = []
    async with core.db.read() as session:
        connection = await session.connection()
        for statement, parameters in statements:
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            for *_, step in plan:
                words = step.split()
                is_list = words[-2:] in (["CONSTANT", "ROWS"], ["VALUES", "CLAUSE"])  # the values that it names itself
                whole = words[0] == "SCAN" and "INDEX" not in words and words[1] not in SMALL and not is_list
                if whole and not words[1].startswith(("(", "anon", "active")):
                    found.append(f"{step}: {statement}")
    return found


async def test_no_hot_query_reads_a_whole_table(core: Core) -> None:
    done = await running(core)
    await complete(core, done)
    waiting = await queue(core)
    with _statements(core) as seen:
        claimed = await claim(core)
        await core.claims.created(claimed, "c")
        await core.claims.running(claimed)
        await core.claims.record(claimed, lines({"type": "progress", "text": "a"}), 1)
        await core.claims.note(claimed, "x", {})
        await core.claims.look(claimed)
        await core.claims.open()
        await core.claims.claim_next(core.clock.now(), BOOT, 1)
        await core.messages.pending()
        await core.messages.retry_later((await core.messages.pending())[0], 1, "x")
        await core.artifacts.unstored()
        await core.runs.start(ANN, "ticket-checker")
        await core.runs.load(waiting.run.id)
        await core.runs.find(ANN, waiting.run.id.hex[:8])
        await core.runs.events(ANN, waiting.run.id, core.clock.now())
        await core.runs.status(ANN)
        await core.runs.status(ANN, "ticket-checker")
        await core.runs.page(ANN)
        await core.runs.page(ADMIN)
        await core.runs.page(ADMIN, "ticket-checker", RunStatus.COMPLETED, after=str(done.run_id))
        await core.tasks.find(ANN, "ticket-checker")
        await core.tasks.page(ANN)
        await core.tasks.names(ANN, "t")
        await complete(core, claimed)
        await core.claims.removed(claimed)
    assert len(seen) > 60
    assert await _scans(core, seen) == []


async def test_the_line_and_the_sums_of_money_read_ranges_of_indexes(config: Config, clock: MoveableClock) -> None:
    limits = config.limits.model_copy(update={"budget_usd_per_user_month": Decimal(10)})
    async with open_core(config.model_copy(update={"limits": limits}), clock) as core:
        claimed = await running(core, budget_usd_per_day="5")
        await fail(core, await running(core, "other"), Reason.BLOCKED)
        failed = (await core.runs.page(ANN, "other")).rows[0].run
        with _statements(core) as seen:
            waiting = await queue(core)
            await core.claims.meter(claimed, {}, Decimal(1))
            await core.budgets.of(claimed.run_id)
            await core.attempts.retry(ANN, str(failed.id))
            await core.queue.page(ADMIN)
            await core.queue.move(ADMIN, str(waiting.run.id))
            await core.queue.tell_places()
            await core.queue.clear(ADMIN)
        assert await _scans(core, seen) == []
        sums = [each for each in seen if "sum(task_runs.cost_usd)" in each[0]]
        async with core.db.read() as session:
            connection = await session.connection()
            for statement, parameters in sums:
                plan = str((await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)).all())
                assert "COVERING INDEX idx_task_runs_spent" in plan
        assert len(sums) >= 6


async def test_the_check_sees_a_scan(core: Core) -> None:
    with _statements(core) as seen:
        async with core.db.read() as session:
            await session.execute(text("SELECT * FROM task_runs WHERE error_message = 'x'"))
    assert len(await _scans(core, seen)) == 1
