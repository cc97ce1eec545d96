"""A program of its own: draws tasks and what runs after what, from JSON on standard input to a PNG on standard output.

    {"nodes": [{"name", "level", "sign", "word", "colour", "note", "is_asked"}], "edges": [[from, to, required]]}

Rows go down by level, as a phone is held; nothing is drawn outside the boxes but lines of a middle grey, so that it
reads on light and dark ground alike.
"""

from __future__ import annotations

import io
import json
import sys
import textwrap
from typing import Any

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

Node = dict[str, Any]
Spot = tuple[float, float]

_WIDTH, _HEIGHT = 280.0, 104.0  # of a box, in pixels of the picture
_GAP_X, _GAP_Y, _EDGE = 28.0, 56.0, 16.0
_DPI = 100
_PAPER, _INK, _FAINT, _LINE = "#FFFFFF", "#1F2328", "#57606A", "#80848E"
_FONTS = ("DejaVu Sans", "Noto Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Noto Sans Arabic")
_STAND_INS = {"✋": "!"}  # signs that the font, which comes with the library, does not have
_NAME_SIGNS, _NAME_LINES = 20, 2


def main() -> None:
    """Reads, draws, writes."""
    sys.stdout.buffer.write(draw(json.load(sys.stdin)))


def draw(data: dict[str, Any]) -> bytes:
    """The picture as PNG."""
    nodes: list[Node] = data["nodes"]
    edges = [(start, end, bool(required)) for start, end, required in data["edges"]]
    rows = _rows(nodes, edges)
    width = max(len(row) for row in rows) * (_WIDTH + _GAP_X) - _GAP_X + 2 * _EDGE
    height = len(rows) * (_HEIGHT + _GAP_Y) - _GAP_Y + 2 * _EDGE
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    figure.patch.set_alpha(0)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    spots = _spots(rows, width)
    for start, end, required in edges:
        _arrow(axes, spots[start], spots[end], required)
    for node in nodes:
        _box(axes, node, spots[node["name"]])
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=_DPI, transparent=True)
    return picture.getvalue()


def _rows(nodes: list[Node], edges: list[tuple[str, str, bool]]) -> list[list[str]]:
    """The names in rows by level; in each row, tasks stand below the middle of what they run after."""
    levels = sorted({node["level"] for node in nodes})
    rows = [[node["name"] for node in nodes if node["level"] == level] for level in levels]
    place: dict[str, float] = {}
    for row in rows:
        middles = {name: [place[start] for start, end, _ in edges if end == name and start in place] for name in row}
        row.sort(key=lambda name: sum(middles[name]) / len(middles[name]) if middles[name] else 0.0)
        place |= {name: number - (len(row) - 1) / 2 for number, name in enumerate(row)}
    return rows


def _spots(rows: list[list[str]], width: float) -> dict[str, Spot]:
    """The middle of each box."""
    return {
        name: (
            width / 2 + (number - (len(row) - 1) / 2) * (_WIDTH + _GAP_X),
            _EDGE + _HEIGHT / 2 + level * (_HEIGHT + _GAP_Y),
        )
        for level, row in enumerate(rows)
        for number, name in enumerate(row)
    }


def _arrow(axes: Axes, start: Spot, end: Spot, required: bool) -> None:
    """From the lower edge of one box to the upper edge of another; dashed where the first may fail."""
    bend = 0.0 if abs(start[0] - end[0]) > 1 or end[1] - start[1] < _HEIGHT + _GAP_Y + 1 else 0.75
    axes.add_patch(
        FancyArrowPatch(
            (start[0], start[1] + _HEIGHT / 2),
            (end[0], end[1] - _HEIGHT / 2),
            connectionstyle=f"arc3,rad={bend}",
            arrowstyle="-|>",
            mutation_scale=20,
            linewidth=2.5,
            linestyle="-" if required else (0, (3, 2)),
            color=_LINE,
            shrinkA=0,
            shrinkB=2,
            zorder=1,
        )
    )


def _box(axes: Axes, node: Node, spot: Spot) -> None:
    x, y = spot
    axes.add_patch(
        FancyBboxPatch(
            (x - _WIDTH / 2, y - _HEIGHT / 2),
            _WIDTH,
            _HEIGHT,
            boxstyle="round,pad=0,rounding_size=14",
            facecolor=_PAPER,
            edgecolor=node["colour"],
            linewidth=5 if node["is_asked"] else 2.5,
            zorder=2,
        )
    )
    style: dict[str, Any] = {"ha": "center", "va": "center", "family": _families(), "zorder": 3, "parse_math": False}
    name = "\n".join(textwrap.wrap(node["name"], _NAME_SIGNS, max_lines=_NAME_LINES, placeholder="…"))
    axes.text(x, y - 18, name, fontsize=15, color=_INK, weight="bold", linespacing=1.05, **style)
    sign = _STAND_INS.get(node["sign"], node["sign"])
    said = " · ".join(part for part in (f"{sign} {node['word']}", node["note"]) if part)
    axes.text(x, y + 32, said, fontsize=12, color=_FAINT, **style)


def _families() -> list[str]:
    known = set(font_manager.get_font_names())
    return [name for name in _FONTS if name in known]


if __name__ == "__main__":
    main()
