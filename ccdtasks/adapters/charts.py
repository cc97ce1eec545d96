"""Charts: a description in, a PNG out, drawn beside the process by `chart_picture`; no drawing library is loaded here.

    await paint(painter, LineChart(
        title="Cheapest price, last 30 days: lowest today",
        lines=(Line("lowest_price", ((monday_at, 412), (tuesday_at, None), (wednesday_at, 378)), unit="USD"),),
        threshold=Threshold(400, "price_threshold"),
        timezone="Pacific/Honolulu",
    ))

The title says the finding, and is drawn on the picture. Names may hold anything: nothing in them is read as a formula.
The unit `s` is shown as a duration (`1 h 5 m`), `bytes` as a size (`8.3 MB`), a currency before or behind the number as
people write it. Sizes are pixels of a phone; the picture has three times as many.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from ccdtasks.adapters.painter import Painter

PROGRAM = "ccdtasks.adapters.chart_picture"

Theme = Literal["dark", "light"]
"""The ground of the picture. Discord shows one picture to everybody: `dark` reads well in both of its themes."""

Tone = Literal["good", "bad", "busy", "unsure", "quiet"]
"""The status colours of look.md: completed, failed, running, blocked, and cancelled."""

_POINTS_MAX = 5000
_NAME_SIGNS = 200
_LARGEST = 1e100  # what lies beyond is no measure of anything, and no axis has room for it


@dataclass(frozen=True, slots=True)
class Line:
    """One value over time, oldest first. A point whose number is None, or beyond all measure, is a gap."""

    name: str
    points: tuple[tuple[datetime, float | None], ...]
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A dashed line across the lines that have its unit, or across all when it has none."""

    number: float
    label: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class LineChart:
    """Values over time. Lines of one unit share a field; each further unit gets a field of its own below."""

    title: str
    lines: tuple[Line, ...]
    threshold: Threshold | None = None
    timezone: str = "UTC"
    theme: Theme = "dark"
    width: int = 360
    height: int = 220


@dataclass(frozen=True, slots=True)
class Part:
    """What all columns have a share of, such as the failed runs. The numbers stand in the order of the columns."""

    name: str
    numbers: tuple[float | None, ...]
    tone: Tone = "busy"


@dataclass(frozen=True, slots=True)
class ColumnChart:
    """Counts or amounts by day, week or month: columns of parts that stand on each other, first part at the bottom."""

    title: str
    columns: tuple[str, ...]
    parts: tuple[Part, ...]
    unit: str = ""
    theme: Theme = "dark"
    width: int = 360
    height: int = 220


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a `BarChart`. `tone` marks what stands out."""

    name: str
    number: float
    tone: Tone = "quiet"


@dataclass(frozen=True, slots=True)
class BarChart:
    """Rows with a bar each, in the order given: the slow steps of a run. The height follows from the rows."""

    title: str
    bars: tuple[Bar, ...]
    unit: str = ""
    theme: Theme = "dark"
    width: int = 360


Chart = LineChart | ColumnChart | BarChart


async def paint(painter: Painter, chart: Chart) -> bytes:
    """The chart as PNG. Takes about a second of another process; raises `Unavailable("picture")`."""
    return await painter.draw(PROGRAM, described(chart))


def described(chart: Chart) -> dict[str, Any]:
    """The description as JSON for the program: times as seconds, numbers finite, names of bounded length."""
    return {"kind": type(chart).__name__, **_plain(asdict(chart))}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        plain = {name: _plain(inner) for name, inner in value.items()}
        if "points" in plain:
            plain["points"] = thinned(plain["points"], _POINTS_MAX)
        return plain
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if math.isfinite(value) and abs(value) < _LARGEST else None
    return value[:_NAME_SIGNS] if isinstance(value, str) else value


def thinned(points: list[Any], most: int) -> list[Any]:
    """At most `most` points with the same outline: of each stretch its lowest and its highest, and the ends."""
    if len(points) <= most:
        return points
    size = math.ceil(2 * len(points) / (most - 2))
    kept: dict[int, None] = {0: None}
    for start in range(0, len(points), size):
        known = [place for place in range(start, min(start + size, len(points))) if points[place][1] is not None]
        if known:
            ends = {min(known, key=lambda at: points[at][1]), max(known, key=lambda at: points[at][1])}
            kept |= dict.fromkeys(sorted(ends))
    kept[len(points) - 1] = None
    return [points[place] for place in sorted(kept)]
