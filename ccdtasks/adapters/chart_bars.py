"""Counts by period as columns, and rows with a bar each."""

from __future__ import annotations

from typing import Any

from ccdtasks.adapters.chart_paper import (
    EDGE,
    TEXT,
    Paper,
    amount_axis,
    axis_width,
    drawable,
    short_unit,
    shortened,
    width_of,
)
from ccdtasks.amounts import amount_text

Data = dict[str, Any]

_NAMES_LINE = 20.0
_FOOT = 22.0
_NAME_WIDTH = 110.0
_ROW = 38.0
_BAR = 8.0
_ROWS = 20
_NUMBERED = 8  # with so few columns each has its number on top


def columns(data: Data) -> bytes:
    """The PNG of a `ColumnChart`."""
    data = {**data, "unit": short_unit(data["unit"])}
    paper = Paper(data["theme"], data["width"], data["height"] + _NAMES_LINE, data["title"])
    parts = [part for part in data["parts"] if any(part["numbers"])] or data["parts"][:1]
    _names(paper, parts, data["unit"])
    count = len(data["columns"])
    names = [shortened(drawable(name), _NAME_WIDTH, TEXT) for name in data["columns"]]
    right = paper.width - max(EDGE, width_of(names[-1]) / 2 - 100 / count + 4 if names else 0)
    axes = paper.field(EDGE, paper.top + _NAMES_LINE + TEXT, right, paper.height - EDGE / 2 - _FOOT)
    sums = [sum(part["numbers"][place] or 0 for part in parts) for place in range(count)]
    axes.set_ylim(0, max([*sums, 0]) * 1.02 or 1)
    axes.set_xlim(-0.6, max(count, 1) - 0.4)
    amount_axis(axes, data["unit"], paper.inks, whole=data["unit"] == "")
    left = EDGE + axis_width(axes, data["unit"]) + 6
    box = axes.get_position()
    axes.set_position((left / paper.width, box.y0, box.x1 - left / paper.width, box.height))
    floor = [0.0] * count
    for part in parts:
        numbers = [number or 0 for number in part["numbers"][:count]]
        colour, ground = paper.inks.tones[part["tone"]], paper.inks.ground
        axes.bar(range(count), numbers, 0.74, bottom=floor, color=colour, edgecolor=ground, linewidth=0.6)
        floor = [under + number for under, number in zip(floor, numbers, strict=True)]
    _below(axes, names, right - left)
    if 0 < count <= _NUMBERED:
        for place, total in enumerate(sums):
            said = amount_text(total, data["unit"], short=True)
            axes.annotate(said, (place, total), xytext=(0, 2), textcoords="offset points", ha="center", va="bottom",
                          fontsize=TEXT, color=paper.inks.ink, parse_math=False)  # fmt: skip
    return paper.png()


def _names(paper: Paper, parts: list[Data], unit: str) -> None:
    """Below the title, each part's name in its colour with what it comes to: no legend to compare with."""
    x = EDGE
    for part in parts:
        total = amount_text(sum(number or 0 for number in part["numbers"]), unit, short=True)
        said = drawable(f"{part['name']} {total}" if not unit else part["name"])
        room = paper.width - EDGE - x
        if room < 30:
            return
        colour = paper.inks.tones[part["tone"]]
        x += paper.text(x, paper.top + _NAMES_LINE / 2, shortened(said, room, TEXT, bold=True), color=colour,
                        weight="bold") + 14  # fmt: skip


def _below(axes: Any, names: list[str], width: float) -> None:
    """The names of the columns, as many as there is room for, always with the last."""
    if not names:
        axes.set_xticks([])
        return
    widest = max(width_of(name) for name in names) + 10
    step = max(1, -(-len(names) * widest // max(width, 1)))
    shown = list(range(len(names) - 1, -1, -int(step)))[::-1]
    axes.set_xticks(shown, [shortened(names[place], width, TEXT) for place in shown], parse_math=False)


def rows(data: Data) -> bytes:
    """The PNG of a `BarChart`."""
    data, bars = {**data, "unit": short_unit(data["unit"])}, data["bars"][:_ROWS]
    paper = Paper(data["theme"], data["width"], 44 + len(bars) * _ROW + EDGE / 2, data["title"])
    axes = paper.field(EDGE, paper.top, paper.width - EDGE, paper.height - EDGE / 2)
    axes.set_axis_off()
    wide = paper.width - 2 * EDGE
    axes.set_xlim(0, wide)
    axes.set_ylim(paper.height - EDGE / 2 - paper.top, 0)
    most = max((abs(bar["number"] or 0) for bar in bars), default=0) or 1
    for place, bar in enumerate(bars):
        number = bar["number"] or 0
        y = paper.top + place * _ROW + 10
        amount = amount_text(number, data["unit"], short=True)
        colour = paper.inks.tones[bar["tone"]]
        weight = "normal" if bar["tone"] == "quiet" else "bold"
        ink = paper.inks.ink if bar["tone"] == "quiet" else colour
        room = wide - width_of(amount, bold=True) - 12
        paper.text(EDGE, y, shortened(drawable(bar["name"]), room, TEXT, bold=weight == "bold"), color=paper.inks.ink)
        paper.text(paper.width - EDGE, y, amount, align="right", color=ink, weight=weight)
        middle = place * _ROW + 24
        axes.barh(middle, wide, _BAR, color=paper.inks.grid)
        axes.barh(middle, max(abs(number) / most * wide, 2), _BAR, color=colour)
    return paper.png()
