"""What runs add up to: counts, durations, pages, tokens, money, and the steps that took longest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ccdtasks.core.outcome.guestlog import count
from ccdtasks.core.records.histogram import Histogram, add_to, bar_of, percentile
from ccdtasks.core.text import clean_line
from ccdtasks.db.enums import RunStatus
from ccdtasks.db.models import MetricRollup

STEPS_KEPT = 20
_MODELS_KEPT = 20
_DIGITS = re.compile(r"\d+")
_TOKENS = ("input", "output", "cache_read", "cache_write")


@dataclass(frozen=True, slots=True)
class Step:
    """A step of one name over many runs. `total_ms` is what makes it a bottleneck."""

    title: str
    times: int
    total_ms: int
    longest_ms: int
    failures: int


@dataclass(slots=True)
class Sums:
    """The sums of some runs; the fields are those of `metric_rollups`."""

    runs: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    retries: int = 0
    duration_s: int = 0
    compute_s: int = 0
    pages: int = 0
    page_load_ms: int = 0
    requests: int = 0
    failed_requests: int = 0
    transferred_bytes: int = 0
    api_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    reasons: dict[str, int] = field(default_factory=dict)
    durations: Histogram = field(default_factory=dict)
    models: dict[str, dict[str, int]] = field(default_factory=dict)
    steps: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Any) -> Sums:
        """The sums of one run that has ended (a row of what `COUNTED` names will do).

        Nothing for a wish that was taken back before it began.
        """
        if run.status is RunStatus.CANCELLED and run.started_at is None:
            return cls()
        used = run.tokens_used or {}
        tokens = [count(used.get(name), 2**53) for name in _TOKENS]
        is_completed = run.status is RunStatus.COMPLETED
        seconds = run.duration_seconds or 0
        return cls(
            1,
            int(is_completed),
            int(run.status is RunStatus.FAILED),
            int(run.status is RunStatus.CANCELLED),
            int(run.retry_of is not None),
            seconds if is_completed else 0,
            run.compute_time_seconds or 0,
            run.pages_loaded or 0,
            run.page_load_ms or 0,
            run.http_requests_made or 0,
            run.failed_requests or 0,
            run.data_transferred_bytes or 0,
            run.api_calls_made or 0,
            tokens[0],
            tokens[1],
            tokens[2],
            tokens[3],
            cost_usd=Decimal(run.cost_usd or 0),
            reasons={run.reason.value: 1} if run.reason and run.status is RunStatus.FAILED else {},
            durations={bar_of(seconds): 1} if is_completed else {},
            models=_models(used.get("by_model")),
            steps=_steps(run.step_timings or ()),
        )

    @classmethod
    def of_row(cls, row: MetricRollup) -> Sums:
        """What a row of `metric_rollups` holds."""
        return cls(**{name: getattr(row, name) for name in NAMES})

    def add(self, more: Sums) -> None:
        """Adds the sums of other runs to these."""
        for name in _COUNTED:
            setattr(self, name, getattr(self, name) + getattr(more, name))
        self.reasons, self.durations = dict(self.reasons), dict(self.durations)
        add_to(self.reasons, more.reasons)
        add_to(self.durations, more.durations)
        self.models = _heaviest(_merged_models(self.models, more.models), lambda of: sum(of.values()), _MODELS_KEPT)
        self.steps = _heaviest(_merged_steps(self.steps, more.steps), lambda of: of[1], STEPS_KEPT)

    def as_columns(self) -> dict[str, Any]:
        """The values of a row of `metric_rollups`."""
        return {name: getattr(self, name) for name in NAMES}

    @property
    def success_rate(self) -> float | None:
        """The share of runs that completed, of those that were not stopped."""
        ended = self.completed + self.failed
        return self.completed / ended if ended else None

    @property
    def tokens(self) -> int:
        """What was sent and answered; what was read from the cache is left out, as everywhere."""
        return self.input_tokens + self.output_tokens + self.cache_write_tokens

    @property
    def load_s(self) -> float | None:
        """How long a page takes to load."""
        return self.page_load_ms / self.pages / 1000 if self.pages and self.page_load_ms else None

    def percentile_s(self, share: float) -> float | None:
        """The seconds that this share of the completed runs does not exceed."""
        return percentile(self.durations, share)

    def bottlenecks(self, limit: int = 5) -> Sequence[Step]:
        """The steps that took most of the time, in all."""
        heaviest = sorted(self.steps.items(), key=lambda item: -item[1][1])[:limit]
        return [Step(title, *numbers) for title, numbers in heaviest]


COUNTED = (
    "id", "task_id", "owner_user_id", "retry_of", "status", "reason", "started_at", "completed_at", "duration_seconds",
    "compute_time_seconds", "pages_loaded", "page_load_ms", "http_requests_made", "failed_requests",
    "data_transferred_bytes", "api_calls_made", "tokens_used", "cost_usd", "step_timings",
)  # fmt: skip
"""What of a run has to be known to count it."""

NAMES = tuple(Sums.__dataclass_fields__)
_COUNTED = NAMES[: NAMES.index("cost_usd") + 1]


def _models(by_model: object) -> dict[str, dict[str, int]]:
    given = by_model if isinstance(by_model, Mapping) else {}
    return {
        clean_line(model, 100): {name: count(numbers.get(name), 2**53) for name in (*_TOKENS, "requests")}
        for model, numbers in list(given.items())[:_MODELS_KEPT]
        if isinstance(numbers, Mapping)
    }


def _steps(timings: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Steps by what they do; numbers in a title, such as those of articles, tell no two steps apart."""
    steps: dict[str, list[int]] = {}
    for timing in timings:
        title = clean_line(_DIGITS.sub("#", str(timing.get("title") or "A step")), 80)
        took_ms = count(timing.get("duration_ms"))
        steps = _merged_steps(steps, {title: [1, took_ms, took_ms, int(timing.get("ok") is not True)]})
    return _heaviest(steps, lambda of: of[1], STEPS_KEPT)


def _merged_steps(one: dict[str, list[int]], other: Mapping[str, list[int]]) -> dict[str, list[int]]:
    merged = dict(one)
    for title, (times, total_ms, longest_ms, failures) in other.items():
        before = merged.get(title, [0, 0, 0, 0])
        merged[title] = [before[0] + times, before[1] + total_ms, max(before[2], longest_ms), before[3] + failures]
    return merged


def _merged_models(one: dict[str, dict[str, int]], other: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    merged = {model: dict(numbers) for model, numbers in one.items()}
    for model, numbers in other.items():
        add_to(merged.setdefault(model, {}), numbers)
    return merged


def _heaviest(found: dict[str, Any], weight: Any, most: int) -> dict[str, Any]:
    """The `most` weighty ones: names come from inside a session, and must not fill the database."""
    if len(found) <= most:
        return found
    return dict(sorted(found.items(), key=lambda item: -weight(item[1]))[:most])
