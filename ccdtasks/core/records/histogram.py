"""Histograms of durations that can be added: percentiles over any time, from sums by day.

Each bar is 5 % wider than the one before (as in DDSketch, VLDB 2019), so a percentile is wrong by 2.5 % at most, and
durations from a second to a week need 275 bars.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

Histogram = dict[str, int]
"""bar -> how many; bar `0` holds what took no second. Text, since it is kept as JSON."""

_GROWTH = math.log(1.05)


def bar_of(seconds: float) -> str:
    """The bar in which a duration is counted."""
    return "0" if seconds < 1 else str(1 + round(math.log(seconds) / _GROWTH))


def add_to(histogram: Histogram, more: Mapping[str, int]) -> None:
    """Adds `more` to `histogram`."""
    for bar, count in more.items():
        histogram[bar] = histogram.get(bar, 0) + count


def percentile(histogram: Mapping[str, int], share: float) -> float | None:
    """The seconds that a `share` (0 to 1) of the durations does not exceed; None without any."""
    total = sum(histogram.values())
    if not total:
        return None
    rank, seen = max(1, math.ceil(share * total)), 0
    for bar in sorted(map(int, histogram)):
        seen += histogram[str(bar)]
        if seen >= rank:
            return math.exp((bar - 1) * _GROWTH) if bar else 0.0
    raise AssertionError("a rank beyond the total")
