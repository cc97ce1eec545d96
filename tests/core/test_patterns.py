"""Which failures come again and again, in words, and what may help."""

from __future__ import annotations

from typing import Any

import pytest

from ccdtasks.core import Core
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.records.patterns import failure_of
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.db.models import TaskRun
from tests.clock import MoveableClock
from tests.stories import claim, complete, lines, running, told

TIMEOUT = "net::ERR_TIMED_OUT at https://www.kayak.com/flights"


async def _fail(core: Core, message: str, url: str, reason: Reason = Reason.AGENT_ERROR) -> dict[str, Any]:
    claimed = await running(core, retries={"attempts": 1})
    await core.claims.finish(claimed, Outcome(RunStatus.FAILED, reason, message, final_url=url))
    await core.claims.removed(claimed)
    return (await told(core, claimed.run_id))["result"]


async def test_the_same_failure_at_the_same_place_is_counted(core: Core, clock: MoveableClock) -> None:
    """`navigation timeout on kayak.com in 3 of the last 5 runs`"""
    for number in range(3):
        clock.advance(minutes=1)
        if number == 1:
            done = await running(core)
            await complete(core, done)
            await core.claims.removed(done)
            clock.advance(minutes=1)
            await _fail(core, "The page made no sense.", "https://www.kayak.com/")
            clock.advance(minutes=1)
        payload = await _fail(core, TIMEOUT, "https://www.kayak.com/flights")
    assert payload["pattern"] == "navigation timeout on kayak.com"
    assert (payload["same_reason"], payload["of_last"]) == (3, 5)
    assert payload["hint"] == "a longer timeout may help: `/task-edit ticket-checker timeout 3600`"


async def test_another_host_is_another_failure(core: Core, clock: MoveableClock) -> None:
    await _fail(core, TIMEOUT, "https://www.kayak.com/flights")
    clock.advance(minutes=1)
    payload = await _fail(core, TIMEOUT, "https://expedia.com/")
    assert (payload["pattern"], payload["same_reason"]) == ("navigation timeout on expedia.com", 1)


async def test_tries_of_one_start_are_one(core: Core, clock: MoveableClock) -> None:
    for _ in range(2):
        claimed = await running(core)
        for attempt in range(3):
            if attempt:
                clock.advance(hours=1)
                claimed = await claim(core)
                await core.claims.running(claimed)
            await core.claims.finish(claimed, Outcome(RunStatus.FAILED, Reason.SESSION_CRASHED))
            await core.claims.removed(claimed)
        clock.advance(hours=1)
    payload = (await told(core, claimed.run_id))["result"]
    assert (payload["same_reason"], payload["of_last"]) == (2, 2)


async def test_the_step_that_failed_tells_the_kind(core: Core) -> None:
    claimed = await running(core, retries={"attempts": 1})
    step = {"step": 1, "title": "Opening shop.example", "tool": "t"}
    done = {"step": 1, "ok": False, "duration_ms": 900, "error": "net::ERR_NAME_NOT_RESOLVED"}
    await core.claims.record(claimed, lines({"type": "step_started", **step}, {"type": "step_finished", **done}), 1)
    await core.claims.finish(claimed, Outcome(RunStatus.FAILED, Reason.AGENT_ERROR, "I could not go on."))
    payload = (await told(core, claimed.run_id))["result"]
    assert payload["pattern"] == "unknown address"
    assert payload["hint"] == "check the address in the prompt: `/task-edit ticket-checker prompt`"


@pytest.mark.parametrize(
    ("reason", "message", "url", "kind", "host"),
    [
        (Reason.BLOCKED, "", "https://shop.example/a", "refused as a robot", "shop.example"),
        (Reason.MODEL_UNAVAILABLE, "Request timed out", "https://shop.example/", "Claude did not answer", None),
        (Reason.OUT_OF_MEMORY, "", "https://shop.example:8443/", "out of memory", "shop.example"),
        (Reason.TIMEOUT, "The run was not done within 30 m.", None, "time limit", None),
        (Reason.AGENT_ERROR, "net::ERR_CERT_DATE_INVALID", "http://[::1", "broken certificate", None),
        (Reason.AGENT_ERROR, "net::ERR_TUNNEL_CONNECTION_FAILED", "chrome-error://x", "address not allowed", "x"),
    ],
)
def test_kinds_and_hosts(reason: Reason, message: str, url: str | None, kind: str, host: str | None) -> None:
    run = TaskRun(reason=reason, error_message=message, final_url=url, step_timings=None)
    assert failure_of(run) == (kind, host)


def test_every_reason_has_a_name() -> None:
    for reason in Reason:
        assert failure_of(TaskRun(reason=reason, error_message=None, final_url=None, step_timings=None))[0]
