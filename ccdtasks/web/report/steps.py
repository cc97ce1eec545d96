"""The steps of a run along its time, with what took longest marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ccdtasks.core.outcome.guestlog import count
from ccdtasks.times import duration_text
from ccdtasks.web.report.address import Address
from ccdtasks.web.report.words import Room

PAGE_STEPS = 50
LAST_STEPS = 5
WIDTH = 1000
"""Units of the line on which the bars of the steps stand."""

_SLOWEST = 3
_WORTH_A_MARK_MS = 1000
_SHORTEST_BAR = 6


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `left` and `width`: its bar, on a line of `WIDTH` units."""

    number: int
    title: Markup
    took: str
    is_slow: bool
    error: Markup | None
    left: int
    width: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """Some of the steps. `is_on_time`: bars stand where the steps happened, else they only show how long they took."""

    steps: Sequence[Step]
    count: int
    took: str
    slowest: Sequence[Step]
    is_on_time: bool
    earlier: str | None
    later: str | None


def timeline_of(timings: Sequence[Mapping[str, Any]], address: Address, room: Room) -> Timeline | None:
    """The steps that the page shows; None for a run without any."""
    if not timings:
        return None
    scale = _Scale.of(timings)
    start = min(address.start("steps"), max(0, len(timings) - 1))
    end = min(start + PAGE_STEPS, len(timings))
    return Timeline(
        steps=[scale.step(place, room) for place in range(start, end)],
        count=len(timings),
        took=duration_text(sum(scale.took_ms) / 1000),
        slowest=[scale.step(place, room) for place in scale.slow],
        is_on_time=scale.is_on_time,
        earlier=address.to("steps", steps=max(0, start - PAGE_STEPS) or None) if start else None,
        later=address.to("steps", steps=end) if end < len(timings) else None,
    )


def last_steps_of(timings: Sequence[Mapping[str, Any]], underway: Mapping[str, str], room: Room) -> list[Step]:
    """What a run did before it ended. `underway`: the titles of the steps in which it was."""
    scale = _Scale.of(timings)
    done = [scale.step(place, room) for place in range(max(0, len(timings) - LAST_STEPS), len(timings))]
    return done + [
        Step(place, room.take(title or f"Step {place}", 200), "not finished", False, None, 0, 0)
        for place, title in enumerate([*underway.values()][-LAST_STEPS:], len(timings) + 1)
    ]


@dataclass(frozen=True, slots=True)
class _Scale:
    """How steps stand to each other: on the clock where each says when it ended, else by their length."""

    timings: Sequence[Mapping[str, Any]]
    took_ms: Sequence[int]
    whole_ms: int
    is_on_time: bool
    slow: Sequence[int]

    @classmethod
    def of(cls, timings: Sequence[Mapping[str, Any]]) -> _Scale:
        took_ms = [count(timing.get("duration_ms")) for timing in timings]
        is_on_time = all(timing.get("ended_ms") is not None for timing in timings)
        marks = [count(timing.get("ended_ms")) for timing in timings] if is_on_time else took_ms
        return cls(timings, took_ms, max(1, *marks, 1), is_on_time, _slowest(took_ms))

    def step(self, place: int, room: Room) -> Step:
        timing, took_ms = self.timings[place], min(self.took_ms[place], self.whole_ms)
        begun_ms = max(0, count(timing.get("ended_ms")) - took_ms) if self.is_on_time else 0
        width = min(WIDTH, max(_SHORTEST_BAR, round(took_ms / self.whole_ms * WIDTH)))
        is_ok = timing.get("ok") is True
        return Step(
            number=place + 1,
            title=room.take(timing.get("title") or f"Step {place + 1}", 200),
            took=took_text(self.took_ms[place]),
            is_slow=place in self.slow,
            error=None if is_ok else room.take(timing.get("error") or "it did not say why", 300),
            left=min(round(begun_ms / self.whole_ms * WIDTH), WIDTH - width),
            width=width,
        )


def _slowest(took_ms: Sequence[int]) -> list[int]:
    """The few steps that took much longer than an ordinary one of this run."""
    if not took_ms:
        return []
    ordinary = sorted(took_ms)[len(took_ms) // 2]
    longest = sorted(range(len(took_ms)), key=lambda place: took_ms[place], reverse=True)[:_SLOWEST]
    return [place for place in longest if took_ms[place] >= max(_WORTH_A_MARK_MS, 2 * ordinary)] or [
        place for place in longest[:1] if took_ms[place] >= _WORTH_A_MARK_MS
    ]


def took_text(took_ms: int) -> str:
    """`350 ms`, `14.2 s`, `2 m 38 s`."""
    if took_ms < 1000:
        return f"{took_ms} ms"
    return f"{took_ms / 1000:.1f} s" if took_ms < 60_000 else duration_text(took_ms / 1000)
