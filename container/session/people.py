"""Where the agent waits for a person: a question in the chat, or a desktop handed over."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from session.camera import Scene
from session.events import EventLog
from session.pagewatch import Reason

Outcome = Literal["answered", "done", "skipped", "left", "timeout", "cancelled"]
# Returns when the obstacle is seen to be gone.
Passed = Callable[[], Awaitable[None]]
OUTCOMES_OF_A_PERSON: tuple[Outcome, ...] = ("answered", "done", "skipped")


@dataclass(frozen=True)
class Answer:
    outcome: Outcome
    text: str = ""


class RunClock:
    """Counts the time the agent may work; waiting for a person does not count."""

    def __init__(self) -> None:
        self._waits = 0
        self._changed = asyncio.Condition()

    async def passed(self, timeout_s: float) -> None:
        """Return when `timeout_s` of working time are over."""
        loop = asyncio.get_running_loop()
        left = timeout_s
        async with self._changed:
            while left > 0:
                if self._waits:
                    await self._changed.wait()
                    continue
                begun = loop.time()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._changed.wait()
                left -= loop.time() - begun

    @contextlib.asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        await self._count(1)
        try:
            yield
        finally:
            await self._count(-1)

    async def _count(self, step: int) -> None:
        async with self._changed:
            self._waits += step
            self._changed.notify_all()


class WaitingRoom:
    """The requests that wait for a person now."""

    def __init__(self, log: EventLog, clock: RunClock, timeout_s: float) -> None:
        self._log = log
        self._clock = clock
        self._timeout_s = timeout_s
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Answer]] = {}

    async def ask(self, question: str, choices: list[str]) -> Answer:
        """Put a question to the person and wait for the answer."""
        request_id = f"q{next(self._numbers)}"
        self._log.emit("question", request_id=request_id, question=question, choices=choices)
        return await self._wait(request_id, None)

    async def call(self, reason: Reason, detail: str, scene: Scene, passed: Passed) -> Answer:
        """Call a person to the desktop and wait until they are done, or until `passed` sees it."""
        request_id = f"h{next(self._numbers)}"
        self._log.emit(
            "human_needed",
            request_id=request_id,
            reason=reason,
            detail=detail,
            url=scene.url,
            screenshot=scene.screenshot,
        )
        return await self._wait(request_id, None if reason == "unclear" else passed)

    def resolve(self, request_id: str | None, answer: Answer) -> bool:
        """End a wait (the oldest one when no id is given); False when nobody waits for that."""
        wanted = request_id or next(iter(self._waiting), None)
        future = self._waiting.get(wanted or "")
        if future is None or future.done():
            return False
        future.set_result(answer)
        return True

    async def _wait(self, request_id: str, passed: Passed | None) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = future
        watch = asyncio.ensure_future(passed()) if passed is not None else None
        answer = Answer("cancelled")
        try:
            async with self._clock.paused():
                answer = await self._first(future, watch)
        finally:
            # Also when the agent gave up waiting: the host must know that nobody is wanted any more.
            del self._waiting[request_id]
            if watch is not None:
                watch.cancel()
            self._log.emit("human_done", request_id=request_id, outcome=answer.outcome, text=answer.text)
        return answer

    async def _first(self, future: asyncio.Future[Answer], watch: asyncio.Future[None] | None) -> Answer:
        waits: set[asyncio.Future[Answer] | asyncio.Future[None]] = {future} if watch is None else {future, watch}
        await asyncio.wait(waits, timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        return Answer("left") if watch is not None and watch.done() else Answer("timeout")
