"""A session's events: each stored once, none of them trusted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccdtasks.core import Core
from ccdtasks.core.ending.asking import MAX_REQUESTS
from ccdtasks.core.outcome.guestlog import read_line
from ccdtasks.core.runs.claims import Claim
from ccdtasks.db.enums import MessageType, RunStatus
from ccdtasks.db.models import RunEvent, Session, TaskRun
from tests.clock import MoveableClock
from tests.people import ANN
from tests.stories import RESULT, all_messages, fail, lines, running, told


async def _log(core: Core, claimed: Claim) -> Sequence[RunEvent]:
    return await core.runs.events(ANN, claimed.run_id, limit=1000)


async def _run(core: Core, claimed: Claim) -> TaskRun:
    return (await core.runs.load(claimed.run_id)).run


async def _session(core: Core, claimed: Claim) -> Session:
    session = (await core.runs.load(claimed.run_id)).session
    assert session
    return session


async def test_each_event_is_stored_once_however_often_it_is_read(core: Core) -> None:
    claimed = await running(core)
    batch = lines(*({"type": "progress", "text": str(number)} for number in range(5)))
    await core.claims.record(claimed, batch[:3], 30)
    again = await core.claims.record(claimed, batch, 50)  # a restart reads from an older offset
    assert [event.data["text"] for event in again.events] == ["3", "4"]
    assert again.skipped == 3
    await core.claims.record(claimed, batch[:1], 10)
    assert [row.seq for row in await _log(core, claimed)] == [1, 2, 3, 4, 5]
    session = await _session(core, claimed)
    assert (session.events_offset, session.events_seq) == (50, 5)


async def test_a_forged_number_shuts_nothing_out(core: Core) -> None:
    claimed = await running(core)
    await core.claims.record(claimed, lines({"type": "progress", "text": "a"}), 1)
    await core.claims.record(claimed, lines({"type": "progress", "text": "forged"}, first=2**62), 2)
    await core.claims.record(claimed, lines({"type": "progress", "text": "gap"}, first=10), 3)
    await core.claims.record(claimed, lines({"type": "progress", "text": "old"}, first=1), 4)
    await core.claims.record(claimed, lines({"type": "progress", "text": "on"}, first=11), 5)
    assert [(row.seq, row.data["text"]) for row in await _log(core, claimed)] == [
        (1, "a"),
        (2, "forged"),
        (3, "gap"),
        (4, "on"),
    ]


async def test_lines_that_are_no_events_are_counted_and_dropped(core: Core) -> None:
    claimed = await running(core)
    bad = [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"seq": 0, "type": "progress"}',
        b'{"seq": true, "type": "progress"}',
        b'{"seq": "1", "type": "progress"}',
        b'{"seq": 1}',
        b'{"seq": 1, "type": "DROP TABLE"}',
        b'{"seq": 1, "type": "' + b"x" * 41 + b'"}',
        b'{"seq": 1, "type": "progress", "text": "' + b"x" * 70_000 + b'"}',
        b'{"seq": 1, "type": "progress", "deep": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    ]
    recorded = await core.claims.record(claimed, [*bad, *lines({"type": "progress", "text": "good"})], 900)
    assert (len(recorded.events), recorded.skipped) == (1, len(bad))
    assert [row.data for row in await _log(core, claimed)] == [{"text": "good"}]


async def test_hostile_values_are_stored_harmlessly(core: Core) -> None:
    claimed = await running(core)
    line = (
        b'{"seq": 1, "type": "progress", "text": "a\\u0000b\\ud800c\\u001b[31m", "nan": NaN, "inf": -Infinity, "huge": '
        + b"9" * 4000
        + b', "at": "9999-12-31T23:59:59Z", "nested": '
        + b'{"x":' * 30
        + b"1"
        + b"}" * 30
        + b"}"
    )
    await core.claims.record(claimed, [line], 1)
    (event,) = await _log(core, claimed)
    assert event.data["text"] == "abc[31m"
    assert event.data["nan"] is event.data["inf"] is None
    assert event.data["huge"] == "(a huge number)"
    assert event.at == core.clock.now()
    json.dumps(event.data, allow_nan=False)
    assert (await _run(core, claimed)).live["text"] == "abc[31m"


async def test_times_come_from_the_session_but_never_from_the_future(core: Core, clock: MoveableClock) -> None:
    claimed = await running(core)
    clock.advance(minutes=10)
    at = clock.now() - timedelta(minutes=4)
    moments = [at.isoformat(), (at + timedelta(hours=1)).isoformat(), "yesterday", "2026-01-17T10:00:00", 5, None]
    await core.claims.record(claimed, lines(*({"type": "progress", "at": moment} for moment in moments)), 1)
    times = [row.at for row in await _log(core, claimed)]
    assert times[0] == at
    assert times == sorted(set(times))
    assert times[-1] - clock.now() < timedelta(milliseconds=1)


async def test_the_live_card_follows(core: Core) -> None:
    claimed = await running(core)
    before = next(row for row in await all_messages(core) if row.key == "card").revision
    await core.claims.record(
        claimed,
        lines(
            {"type": "step_started", "step": 1, "tool": "navigate", "title": "Opening\nshop.example"},
            {"type": "page_loaded", "url": "https://shop.example/", "title": "Shop", "load_ms": 80, "status": 200},
            {"type": "metrics", "pages_loaded": 3, "http_requests": 40, "bytes_received": 800, "bytes_sent": 10},
            {"type": "step_finished", "step": 1, "ok": True, "duration_ms": 812, "error": None},
            {"type": "step_started", "step": 2, "tool": "click", "title": "Searching flights SFO to HNL"},
        ),
        100,
    )
    run = await _run(core, claimed)
    assert run.live["text"] == "Searching flights SFO to HNL"
    assert run.live["step"] == 2
    assert (run.pages_loaded, run.http_requests_made, run.data_transferred_bytes) == (3, 40, 810)
    step = {"step": 1, "duration_ms": 812, "ended_ms": 0, "ok": True, "title": "Opening shop.example"}
    assert run.step_timings == [step]
    assert (run.final_url, run.final_title) == ("https://shop.example/", "Shop")
    card = next(row for row in await all_messages(core) if row.key == "card")
    assert card.revision == before + 1  # one edit for the whole batch
    await core.claims.record(claimed, lines({"type": "agent_text", "text": "hm"}, first=6), 200)
    assert next(row for row in await all_messages(core) if row.key == "card").revision == card.revision


async def test_counters_from_inside_only_grow_and_stay_in_bounds(core: Core) -> None:
    claimed = await running(core)
    values: list[Any] = [2**60, 5, -3, 2**70, "many", None, True, 1.5]
    metrics = ({"type": "metrics", "pages_loaded": v, "http_requests": v, "bytes_received": v} for v in values)
    await core.claims.record(claimed, lines(*metrics), 1)
    run = await _run(core, claimed)
    assert (run.pages_loaded, run.http_requests_made, run.data_transferred_bytes) == (2**31 - 1, 2**31 - 1, 2**53)


async def test_a_result_is_checked_and_the_last_one_counts(core: Core) -> None:
    claimed = await running(core)
    await core.claims.record(claimed, lines({"type": "result", "items": "nonsense"}), 1)
    run = await _run(core, claimed)
    assert run.result_data is None
    assert run.live["result_refused"] == "`items` of the result must be a list of rows."
    await core.claims.record(claimed, lines({"type": "result", "summary": "first"}, first=2), 2)
    await core.claims.record(claimed, lines({"type": "result", **RESULT}, first=3), 3)
    run = await _run(core, claimed)
    assert run.result_summary == RESULT["summary"]
    assert run.result_data
    assert run.result_data["items"] == RESULT["items"]
    assert "result_refused" not in run.live


async def test_a_result_with_a_number_beyond_64_bits_is_kept(core: Core) -> None:
    """The session told the agent that it took the result: nothing here may refuse it for that."""
    claimed = await running(core)
    found = {**RESULT, "values": {"wei": {"number": 12 * 10**18, "unit": "wei"}}}
    await core.claims.record(claimed, lines({"type": "result", **found}), 1)
    run = await _run(core, claimed)
    assert run.result_data
    assert run.result_data["values"] == {"wei": {"number": 1.2e19, "unit": "wei"}}


CAPTCHA = {
    "type": "human_needed",
    "request_id": "r1",
    "reason": "captcha",
    "detail": "reCAPTCHA",
    "url": "https://kayak.example/",
    "screenshot": "out/shot-1.png",
}


async def test_a_run_waits_for_a_person_and_gets_its_time_back(core: Core, clock: MoveableClock) -> None:
    claimed = await running(core, timeout_s=600, human_timeout_s=7200)
    clock.advance(seconds=100)
    await core.claims.record(claimed, lines(CAPTCHA), 1)
    run = await _run(core, claimed)
    assert run.status is RunStatus.NEEDS_HUMAN
    assert (run.required_intervention, run.intervention_reason) == (True, "captcha")
    assert run.deadline_at == clock.now() + timedelta(seconds=7200)
    assert run.live["human"]["url"] == "https://kayak.example/"
    message = (await told(core, run.id))["human:1:r1"]
    assert (message["reason"], message["text"], message["outcome"]) == ("captcha", "reCAPTCHA", None)
    clock.advance(hours=1)
    await core.claims.record(claimed, lines({"type": "human_done", "request_id": "r1", "outcome": "done"}, first=2), 2)
    run = await _run(core, claimed)
    assert run.status is RunStatus.RUNNING
    assert (run.required_intervention, run.intervention_resolved_at) == (False, clock.now())
    assert run.deadline_at == clock.now() + timedelta(seconds=500)
    assert "human" not in run.live
    assert (await told(core, run.id))["human:1:r1"]["outcome"] == "done"


async def test_a_question_has_choices(core: Core) -> None:
    claimed = await running(core)
    ask = {"type": "question", "request_id": "q", "question": "Which one?", "choices": ["A", "B", 3]}
    await core.claims.record(claimed, lines(ask), 1)
    row = next(row for row in await all_messages(core) if row.key == "human:1:q")
    assert row.message_type is MessageType.ASK_USER
    assert (row.payload["text"], row.payload["choices"]) == ("Which one?", ["A", "B", "3"])


async def test_two_calls_for_a_person_are_both_resolved(core: Core) -> None:
    claimed = await running(core)
    await core.claims.record(claimed, lines(CAPTCHA, {**CAPTCHA, "request_id": "r2", "reason": "mfa"}), 1)
    assert (await _run(core, claimed)).live["human"]["request_id"] == "r2"
    done = {"type": "human_done", "request_id": "r2"}
    await core.claims.record(claimed, lines(done, first=3), 2)
    run = await _run(core, claimed)
    assert run.status is RunStatus.NEEDS_HUMAN
    assert run.live["human"]["request_id"] == "r1"
    await core.claims.record(claimed, lines({**done, "request_id": "nobody"}, {**done, "request_id": "r1"}, first=4), 3)
    assert (await _run(core, claimed)).status is RunStatus.RUNNING


async def test_a_session_cannot_flood_people(core: Core) -> None:
    claimed = await running(core)
    flood = [{**CAPTCHA, "request_id": f"r{number}"} for number in range(MAX_REQUESTS + 20)]
    await core.claims.record(claimed, lines(*flood), 1)
    assert sum(row.key.startswith("human:") for row in await all_messages(core)) == MAX_REQUESTS


async def test_the_engines_own_notes_stand_in_the_log(core: Core) -> None:
    claimed = await running(core)
    await core.claims.record(claimed, lines({"type": "progress", "text": "a"}), 1)
    await core.claims.note(claimed, "egress_refused", {"host": "nas.lan\x00"})
    await core.claims.note(claimed, "container_gone", {})
    assert [(row.seq, row.type, row.data) for row in await _log(core, claimed)] == [
        (1, "progress", {"text": "a"}),
        (-1, "egress_refused", {"host": "nas.lan"}),
        (-2, "container_gone", {}),
    ]


@given(
    st.binary(max_size=300)
    | st.builds(lambda x: json.dumps(x).encode(), st.dictionaries(st.text(max_size=5), st.integers()))
)
def test_any_line_is_read_or_dropped(line: bytes) -> None:
    event = read_line(line, MoveableClock().now())
    assert event is None or event.seq >= 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(cuts=st.lists(st.integers(0, 20), max_size=6))
async def test_whatever_is_read_twice_the_log_is_the_file(core: Core, cuts: list[int]) -> None:
    """The follower dies anywhere and reads on from anywhere before."""
    claimed = await running(core, retries={"attempts": 1})
    file = lines(*({"type": "progress", "text": str(number)} for number in range(20)))
    position = 0
    for cut in [*cuts, 20]:
        end = max(position, cut)
        await core.claims.record(claimed, file[max(0, position - 3) : end], end)
        position = end
    assert [row.data["text"] for row in await _log(core, claimed)] == [str(number) for number in range(20)]
    await fail(core, claimed)


async def test_steps_keep_their_titles_whatever_is_said_meanwhile(core: Core) -> None:
    claimed = await running(core)
    events: list[dict[str, Any]] = [
        {"type": "step_started", "step": 1, "title": "Taking a screenshot"},
        {"type": "step_started", "step": 2, "title": "Reading the page"},
        {"type": "progress", "text": "Comparing 4 offers"},
        {"type": "step_finished", "step": 1, "ok": True, "duration_ms": 5},
        {"type": "step_finished", "step": 2, "ok": True, "duration_ms": 5},
        {"type": "step_started", "step": 3, "title": "Opening shop.example"},
    ]
    await core.claims.record(claimed, lines(*events), 100)
    run = await _run(core, claimed)
    assert [step["title"] for step in run.step_timings or ()] == ["Taking a screenshot", "Reading the page"]
    assert run.live["underway"] == {"3": "Opening shop.example"}
    await core.claims.record(claimed, lines({"type": "session_started"}, first=9), 200)
    assert (await _run(core, claimed)).live["underway"] == {}
