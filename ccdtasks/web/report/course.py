"""The course of a value over the last runs as a drawing: lines in the colours of the page, sharp at each size.

SVG of our own and not a picture, so that it follows the reader's dark or light theme and prints well; the numbers
stand beside it as text, which is what screen readers read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from markupsafe import Markup

from ccdtasks.amounts import amount_text, change_text, unit_text
from ccdtasks.core.outcome.results import Value
from ccdtasks.core.runs.reports import Point
from ccdtasks.web.report.words import Room

WIDTH, HEIGHT = 320, 96
_SIDE, _TOP = 6, 10
_FEWEST = 2
_LISTED = 10


@dataclass(frozen=True, slots=True)
class Chart:
    """Where things stand in the drawing. `points`: of the line, as SVG takes them."""

    points: str
    last: tuple[float, float]
    high: str
    low: str
    since: str
    label: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A value: its name, its number with the unit, what changed, and its course where there is one.

    `earlier`: (when, number) of the runs before, the latest first.
    """

    name: Markup
    amount: Markup
    change: Markup
    earlier: Sequence[tuple[str, Markup]]
    chart: Chart | None


def figure_of(name: str, value: Value, points: Sequence[Point], *, timezone: str, room: Room) -> Figure:
    """The value with what it was before; runs that counted in another unit are left out."""
    same = [point for point in points if unit_text(point.unit) == unit_text(value.unit)]
    before = same[-2] if len(same) >= _FEWEST else None
    change = change_text(before.number, value.number, value.unit) if before and before.number != value.number else ""
    zone = ZoneInfo(timezone)
    return Figure(
        name=room.take(name.replace("_", " "), 80),
        amount=room.take(amount_text(value.number, value.unit), 60),
        change=room.take(change or ("the same as before" if before else ""), 120),
        earlier=[
            (f"{point.at.astimezone(zone):%d %b %H:%M}", room.take(amount_text(point.number, point.unit), 60))
            for point in same[-2 : -2 - _LISTED : -1]
        ],
        chart=_chart(same, zone) if len(same) >= _FEWEST else None,
    )


def _chart(points: Sequence[Point], zone: ZoneInfo) -> Chart:
    numbers = [point.number for point in points]
    low, high = min(numbers), max(numbers)
    first_at, last_at = points[0].at, points[-1].at
    span_s = (last_at - first_at).total_seconds()

    def place(at: int) -> tuple[float, float]:
        share = (points[at].at - first_at).total_seconds() / span_s if span_s else at / (len(points) - 1)
        height = (numbers[at] - low) / (high - low) if high > low else 0.5
        return round(_SIDE + share * (WIDTH - 2 * _SIDE), 1), round(_TOP + (1 - height) * (HEIGHT - 2 * _TOP), 1)

    places = [place(at) for at in range(len(points))]
    unit = points[-1].unit
    said = f"from {amount_text(numbers[0], unit)} to {amount_text(numbers[-1], unit)}"
    reach = f"lowest {amount_text(low, unit)}, highest {amount_text(high, unit)}"
    return Chart(
        points=" ".join(f"{x},{y}" for x, y in places),
        last=places[-1],
        high=amount_text(high, unit, short=True)[:30],
        low=amount_text(low, unit, short=True)[:30],
        since=f"{first_at.astimezone(zone):%d %b}".lstrip("0"),
        label=f"The last {len(points)} good runs: {said}, {reach}",
    )
