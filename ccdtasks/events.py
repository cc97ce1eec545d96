"""Bells: "something changed, look at the rows". Losing one costs seconds, never truth."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Event:
    """A change that was committed."""


@dataclass(frozen=True, slots=True)
class RunQueued(Event):
    """A run waits for a session."""

    run_id: UUID


@dataclass(frozen=True, slots=True)
class RunChanged(Event):
    """A run's row moved: state, progress, a wish to stop, an answer to its question."""

    run_id: UUID


@dataclass(frozen=True, slots=True)
class TaskChanged(Event):
    """A task was made, changed or deleted."""

    task_id: UUID


@dataclass(frozen=True, slots=True)
class MessagePending(Event):
    """A row of the outbox waits for delivery."""

    run_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class PushPending(Event):
    """A push to a phone waits."""


@dataclass(frozen=True, slots=True)
class PushSettled(Event):
    """It is known what came of a push."""


@dataclass(frozen=True, slots=True)
class ChartWanted(Event):
    """A run has ended whose values are to be drawn."""


class Bus:
    """Rings bells inside this process. `publish` never blocks and never fails."""

    def __init__(self) -> None:
        self._bells: dict[type[Event], set[asyncio.Event]] = defaultdict(set)

    def publish(self, event: Event) -> None:
        """Wakes everyone who listens for this type of event."""
        for bell in self._bells[type(event)]:
            bell.set()

    @contextmanager
    def bell(self, *kinds: type[Event]) -> Iterator[asyncio.Event]:
        """An `asyncio.Event` that is set whenever one of `kinds` is published; the listener clears it."""
        bell = asyncio.Event()
        for kind in kinds:
            self._bells[kind].add(bell)
        try:
            yield bell
        finally:
            for kind in kinds:
                self._bells[kind].discard(bell)


async def wait_for_bell(bell: asyncio.Event, timeout_s: float) -> None:
    """Returns when the bell rings or after `timeout_s`; clears the bell."""
    try:
        async with asyncio.timeout(timeout_s):
            await bell.wait()
    except TimeoutError:
        pass
    bell.clear()
