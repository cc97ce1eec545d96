"""Values over time: a field for each unit, names at the lines' ends, the last value marked."""

from __future__ import annotations

import math
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num, num2date
from matplotlib.patheffects import withStroke

from ccdtasks.adapters.chart_paper import (
    EDGE,
    TEXT,
    Paper,
    amount_axis,
    axis_width,
    drawable,
    short_unit,
    shortened,
    style,
    width_of,
)
from ccdtasks.amounts import amount_text

Data = dict[str, Any]

_LABEL_LINE = 15.0
_FOOT = 22.0
_GAP = 14.0
_FIELDS = 6
_LINES = 6
_LABEL_SHARE = 0.4
_DOTS = 24  # with so few points each is marked
_HALF_DAY = 0.5
_FIELD_HEIGHT = 120.0
_TIME_WIDTH = 66.0


def draw(data: Data) -> bytes:
    """The PNG of a `LineChart`."""
    fields = _by_unit(data["lines"])
    if not any(number is not None for line in data["lines"] for _, number in line["points"]):
        return _empty(data)
    height = data["height"] + (len(fields) - 1) * data["height"] * 0.55
    paper = Paper(data["theme"], data["width"], height, data["title"])
    zone = ZoneInfo(data["timezone"])
    times = [date2num(datetime.fromtimestamp(at, zone)) for line in data["lines"] for at, _ in line["points"]]
    span = (min(times, default=0.0), max(times, default=0.0))
    each = (paper.height - paper.top - EDGE / 2 - _GAP * (len(fields) - 1)) / len(fields)
    for number, (unit, lines) in enumerate(fields):
        top = paper.top + number * (each + _GAP)
        _Field(paper, unit, lines, data["threshold"], zone).draw(top, top + each, span, len(fields) > 1)
    return paper.png()


def _empty(data: Data) -> bytes:
    paper = Paper(data["theme"], data["width"], data["height"] / 2, data["title"])
    paper.text(EDGE, (paper.top + paper.height) / 2, "No values yet.", color=paper.inks.faint)
    return paper.png()


def _by_unit(lines: list[Data]) -> list[tuple[str, list[tuple[int, Data]]]]:
    """The numbered lines by unit, both at most six."""
    fields: dict[str, list[tuple[int, Data]]] = {}
    for number, line in enumerate(lines):
        unit = short_unit(line["unit"])
        if unit in fields or len(fields) < _FIELDS:
            fields.setdefault(unit, []).append((number, line))
    return [(unit, kept[:_LINES]) for unit, kept in fields.items()]


class _Field:
    """The lines of one unit."""

    def __init__(
        self, paper: Paper, unit: str, lines: list[tuple[int, Data]], threshold: Data | None, zone: tzinfo
    ) -> None:
        self._paper = paper
        self._unit = unit
        self._lines = lines
        self._zone = zone
        self._threshold = threshold if threshold and short_unit(threshold["unit"]) in ("", unit) else None

    def draw(self, top: float, bottom: float, span: tuple[float, float], is_one_of_many: bool) -> None:
        """Draws the field between two heights of the paper."""
        paper = self._paper
        labels = [self._label(line, with_name=len(self._lines) > 1 or is_one_of_many) for _, line in self._lines]
        room = max((width_of(part, bold=True) for label in labels for part in label), default=0.0) + 8
        axes = paper.field(EDGE, top + _LABEL_LINE / 2, paper.width - EDGE - room, bottom - _FOOT)
        self._scale(axes, span)
        left = EDGE + axis_width(axes, self._unit) + 6
        box = axes.get_position()
        axes.set_position((left / paper.width, box.y0, box.x1 - left / paper.width, box.height))
        for number, line in self._lines:
            self._line(axes, line, self._colour(number))
        self._dash(axes, paper.width - EDGE - room - left)
        self._name(axes, labels)

    def _colour(self, number: int) -> str:
        series = self._paper.inks.series
        return series[number % len(series)]

    def _label(self, line: Data, *, with_name: bool) -> list[str]:
        """The last amount, and the name below where there are several."""
        known = [number for _, number in line["points"] if number is not None]
        amount = amount_text(known[-1], self._unit, short=True) if known else "no value"
        most = self._paper.width * _LABEL_SHARE
        name = shortened(drawable(line["name"]), most, TEXT, bold=True) if with_name else ""
        return [part for part in (shortened(drawable(amount), most, TEXT, bold=True), name) if part]

    def _scale(self, axes: Axes, span: tuple[float, float]) -> None:
        numbers = [number for _, line in self._lines for _, number in line["points"] if number is not None]
        if self._threshold:
            numbers.append(self._threshold["number"])
        low, high = min(numbers, default=0.0), max(numbers, default=1.0)
        edge = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
        axes.set_ylim(low - edge, high + edge)
        amount_axis(axes, self._unit, self._paper.inks)
        self._times(axes, span)

    def _times(self, axes: Axes, span: tuple[float, float]) -> None:
        """As many times below as there is room for, in the timezone of the reader."""
        start, end = span
        wide = axes.get_position().width * self._paper.width - axis_width(axes, self._unit)
        edge = (end - start) * 0.02 or _HALF_DAY
        axes.set_xlim(start - edge, end + edge)
        locator = AutoDateLocator(tz=self._zone, minticks=2, maxticks=max(2, int(wide // _TIME_WIDTH)))
        ticks = [at for at in locator.tick_values(*num2date(axes.get_xlim(), self._zone)) if start <= at <= end]
        if len(ticks) < 2:
            look = "%H:%M" if end - start < 1 else "%-d %b" if end - start < 300 else "%b %Y"
            ends = (start, end) if end > start else (start,)
            axes.set_xticks(ends, [num2date(at, self._zone).strftime(look) for at in ends])
            return
        formatter = ConciseDateFormatter(
            locator,
            tz=self._zone,
            formats=["%Y", "%b %Y", "%-d %b", "%H:%M", "%H:%M", "%H:%M:%S"],
            zero_formats=["", "%b %Y", "%-d %b", "%-d %b", "%H:%M", "%H:%M"],
            show_offset=False,
        )
        axes.set_xticks(ticks, formatter.format_ticks(ticks))

    def _line(self, axes: Axes, line: Data, colour: str) -> None:
        points = line["points"]
        times = [date2num(datetime.fromtimestamp(at, self._zone)) for at, _ in points]
        numbers = [math.nan if number is None else number for _, number in points]
        axes.plot(times, numbers, color=colour, linewidth=2.2, solid_joinstyle="round", solid_capstyle="round")
        known = [place for place, number in enumerate(numbers) if not math.isnan(number)]
        dots = known if len(known) <= _DOTS else [place for place in known if _is_alone(numbers, place)]
        axes.plot([times[at] for at in dots], [numbers[at] for at in dots], "o", color=colour, markersize=4)
        if known:
            last = known[-1]
            ground = self._paper.inks.ground
            axes.plot(
                times[last], numbers[last], "o", color=colour, markersize=9, mec=ground, mew=2, zorder=5, clip_on=False
            )

    def _dash(self, axes: Axes, width: float) -> None:
        if not self._threshold:
            return
        inks, number = self._paper.inks, self._threshold["number"]
        axes.axhline(number, color=inks.ink, linewidth=1.4, dashes=(4, 3), zorder=1.5)
        amount = amount_text(number, self._unit, short=True)
        said = shortened(drawable(f"{self._threshold['label']} {amount}"), width, TEXT)
        at_right, above = self._free_corner(axes, number, width_of(said) / max(width, 1))
        axes.annotate(
            said,
            (float(at_right), number),
            xycoords=("axes fraction", "data"),
            xytext=(-2 if at_right else 2, 3 if above else -3),
            textcoords="offset points",
            ha="right" if at_right else "left",
            va="bottom" if above else "top",
            fontsize=TEXT,
            color=inks.ink,
            zorder=4,
            path_effects=[withStroke(linewidth=3, foreground=inks.ground)],
            **style(),
        )

    def _free_corner(self, axes: Axes, number: float, share: float) -> tuple[bool, bool]:
        """Where along the dashed line its words cover the fewest points: right or left, above or below."""
        (start, end), (low, high) = axes.get_xlim(), axes.get_ylim()
        points = [
            (
                (date2num(datetime.fromtimestamp(at, self._zone)) - start) / (end - start),
                (value - number) / (high - low),
            )
            for _, line in self._lines
            for at, value in line["points"]
            if value is not None
        ]

        def covered(corner: tuple[bool, bool]) -> int:
            at_right, above = corner
            near = 0.16 * _FIELD_HEIGHT / max(axes.bbox.height / self._paper.figure.dpi * 72, 1)
            return sum(
                (x > 1 - share if at_right else x < share) and 0 <= (y if above else -y) < near for x, y in points
            )

        is_low = (number - low) < (high - low) * 0.5
        return min(((right, up) for right in (False, True) for up in (is_low, not is_low)), key=covered)

    def _name(self, axes: Axes, labels: list[list[str]]) -> None:
        """Writes each label at the height of its line's end, moved apart where they would meet."""
        low, high = axes.get_ylim()
        box, paper = axes.get_position(), self._paper
        top, bottom = (1 - box.y1) * paper.height, (1 - box.y0) * paper.height
        wanted = []
        for place, (number, line) in enumerate(self._lines):
            known = [value for _, value in line["points"] if value is not None]
            share = (known[-1] - low) / (high - low) if known else 0.5
            wanted.append((bottom - share * (bottom - top), place, number))
        heights = [_LABEL_LINE * len(labels[place]) for _, place, _ in sorted(wanted)]
        middles = apart([middle for middle, _, _ in sorted(wanted)], heights, top - _LABEL_LINE / 2, bottom + _FOOT / 2)
        x = box.x1 * paper.width + 10
        for (_, place, number), middle in zip(sorted(wanted), middles, strict=True):
            for row, said in enumerate(labels[place]):
                y = middle + (row - (len(labels[place]) - 1) / 2) * _LABEL_LINE
                paper.text(x, y, said, color=self._colour(number), weight="bold")


def apart(middles: list[float], heights: list[float], top: float, bottom: float) -> list[float]:
    """Moves labels, sorted from above, so that none covers another, staying between the two edges where they fit."""
    moved: list[float] = []
    edge = top
    for middle, height in zip(middles, heights, strict=True):
        moved.append(max(middle, edge + height / 2))
        edge = moved[-1] + height / 2
    edge = bottom
    for place in reversed(range(len(moved))):
        moved[place] = min(moved[place], edge - heights[place] / 2)
        edge = moved[place] - heights[place] / 2
    return moved


def _is_alone(numbers: list[float], place: int) -> bool:
    """Between two gaps, where no line would show it."""
    before = place == 0 or math.isnan(numbers[place - 1])
    return before and (place == len(numbers) - 1 or math.isnan(numbers[place + 1]))
