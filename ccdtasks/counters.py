"""What this process did since it started, as numbers that only grow: for whoever watches it from outside."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

Labels = tuple[tuple[str, str], ...]

_SETS_MAX = 200
_LAG_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@dataclass(slots=True)
class Lag:
    """How late the event loop was: how often by upper bound (the last one has none), and the seconds in all."""

    bounds_s: tuple[float, ...] = _LAG_BOUNDS_S
    counts: list[int] = field(default_factory=lambda: [0] * (len(_LAG_BOUNDS_S) + 1))
    total_s: float = 0.0

    def observe(self, late_s: float) -> None:
        """One look at the loop."""
        late_s = max(0.0, late_s)
        self.counts[bisect_left(self.bounds_s, late_s)] += 1
        self.total_s += late_s


class Counters:
    """Counters by name and labels. Names and labels are ours; what comes from outside is bounded in number."""

    def __init__(self) -> None:
        self.lag = Lag()
        self._counts: dict[str, dict[Labels, float]] = {}

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Counts. Beyond 200 sets of labels of one name, further ones are counted as `other`."""
        counts = self._counts.setdefault(name, {})
        key = tuple(sorted(labels.items()))
        if key not in counts and len(counts) >= _SETS_MAX:
            key = tuple((label, "other") for label, _ in key)
        counts[key] = counts.get(key, 0) + amount

    def of(self, name: str) -> Mapping[Labels, float]:
        """Labels -> number."""
        return self._counts.get(name, {})
