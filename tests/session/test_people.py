from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from session.camera import Scene
from session.events import EventLog
from session.pagewatch import Sight, is_passed
from session.people import Answer, RunClock, WaitingRoom


def fail(error: OSError) -> None:
    raise error


class Room:
    def __init__(self, tmp_path: Path, timeout_s: float) -> None:
        self._path = tmp_path / "events.jsonl"
        log = EventLog(self._path, 65_536, fail)
        self.clock = RunClock()
        self.room = WaitingRoom(log, self.clock, timeout_s)

    def events(self) -> list[tuple[str, Any]]:
        lines = [json.loads(line) for line in self._path.read_bytes().splitlines()]
        return [(line["type"], line.get("outcome") or line["request_id"]) for line in lines]


PAGE = Scene("out/shot-1.png", "http://a.test/", "A")


async def never() -> None:
    await asyncio.Event().wait()


async def at_once() -> None:
    return


async def test_a_question_waits_for_its_answer(tmp_path: Path) -> None:
    room = Room(tmp_path, 60)
    asked = asyncio.create_task(room.room.ask("Which?", ["a", "b"]))
    await asyncio.sleep(0)  # one turn of the loop: the task begins
    assert not room.room.resolve("q7", Answer("answered", "x"))
    assert room.room.resolve("q1", Answer("answered", "b"))
    assert await asked == Answer("answered", "b")
    assert not room.room.resolve("q1", Answer("answered", "c"))
    assert room.events() == [("question", "q1"), ("human_done", "answered")]


async def test_an_obstacle_that_is_gone_resolves_itself_but_never_an_unclear_one(tmp_path: Path) -> None:
    room = Room(tmp_path, 0.05)
    assert await room.room.call("captcha", "solve", PAGE, at_once) == Answer("left")
    assert await room.room.call("unclear", "decide", PAGE, at_once) == Answer("timeout")


async def test_an_agent_that_stops_waiting_takes_the_request_back(tmp_path: Path) -> None:
    room = Room(tmp_path, 60)
    waiting = asyncio.create_task(room.room.call("mfa", "code", PAGE, never))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert room.events()[-1] == ("human_done", "cancelled")
    assert not room.room.resolve(None, Answer("done"))


async def test_the_time_a_person_takes_is_not_the_agents() -> None:
    clock = RunClock()
    passed = asyncio.create_task(clock.passed(0.1))
    async with clock.paused():
        _, pending = await asyncio.wait({passed}, timeout=0.3)
        assert pending
    await asyncio.wait_for(passed, 30)


LOGIN = Sight("a.test/login", captcha=False, secret=True)
CAPTCHA = Sight("a.test/shop", captcha=True, secret=False)


@pytest.mark.parametrize(
    ("reason", "before", "now", "passed"),
    [
        ("captcha", CAPTCHA, Sight("a.test/shop", False, False), True),
        ("captcha", CAPTCHA, Sight("a.test/other", True, False), False),
        ("captcha", Sight("a.test/gate", False, False), Sight("a.test/gate", False, False), False),
        ("captcha", Sight("a.test/gate", False, False), Sight("a.test/shop", False, False), True),
        ("login", LOGIN, Sight("a.test/account", False, False), True),
        ("login", LOGIN, LOGIN, False),
        ("login", LOGIN, Sight("a.test/login/step2", False, False), False),
        ("login", LOGIN, Sight("a.test/mfa", False, True), False),
        ("mfa", Sight("a.test/verify", False, True), Sight("a.test/", False, False), True),
        ("unclear", CAPTCHA, Sight("b.test/", False, False), False),
    ],
)
def test_when_an_obstacle_counts_as_passed(reason: Any, before: Sight, now: Sight, passed: bool) -> None:
    assert is_passed(reason, before, now) is passed
