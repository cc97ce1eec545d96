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
import unicodedata
from typing import Any

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path

from ccdtasks.adapters.graph_layout import HEIGHT, WIDTH, Layout, Link, lay_out

Node = dict[str, Any]
Spot = tuple[float, float]

_DPI = 100
_PAPER, _INK, _FAINT, _LINE = "#FFFFFF", "#1F2328", "#57606A", "#80848E"
_FONTS = ("DejaVu Sans", "Noto Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Noto Sans Arabic")
_STAND_INS = {"✋": "!"}  # signs that the font, which comes with the library, does not have
_TIP_WIDTH, _TIP_HEIGHT = 8.0, 14.0
_SIZES = ((15.0, 20, 2), (12.0, 23, 3))
"""Of a name in its box: points, signs a line, lines; the first that holds it."""


def main() -> None:
    """Reads, draws, writes."""
    sys.stdout.buffer.write(draw(json.load(sys.stdin)))


def draw(data: dict[str, Any]) -> bytes:
    """The picture as PNG."""
    nodes: dict[str, Node] = {node["name"]: node for node in data["nodes"]}
    edges = [(start, end, bool(required)) for start, end, required in data["edges"]]
    layout = lay_out({name: node["level"] for name, node in nodes.items()}, edges)
    figure = Figure(figsize=(layout.width / _DPI, layout.height / _DPI), dpi=_DPI)
    figure.patch.set_alpha(0)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, layout.width)
    axes.set_ylim(layout.height, 0)
    for link in layout.links:
        _line(axes, layout, link)
    for stop, spot in layout.spots.items():
        if not stop.lane:
            _box(axes, nodes[stop.name], spot)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=_DPI, transparent=True)
    return picture.getvalue()


def _line(axes: Axes, layout: Layout, link: Link) -> None:
    """From row to row, and through the upper one where it passes it; dashed where the first may fail."""
    start, end, required = link
    (x, y), (to_x, to_y) = layout.spots[start], layout.spots[end]
    leaves, arrives = y + HEIGHT / 2, to_y - HEIGHT / 2 - (0 if end.lane else _TIP_HEIGHT / 2)
    middle = (leaves + arrives) / 2
    way = [(x, y - HEIGHT / 2 if start.lane else leaves), (x, leaves), (x, middle), (to_x, middle), (to_x, arrives)]
    path = Path(way, [Path.MOVETO, Path.LINETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
    style: dict[str, Any] = {"linestyle": "-" if required else (0, (3, 2)), "linewidth": 2.5, "capstyle": "butt"}
    axes.add_patch(PathPatch(path, facecolor="none", edgecolor=_LINE, zorder=1, **style))
    if not end.lane:
        _tip(axes, (to_x, to_y - HEIGHT / 2))


def _tip(axes: Axes, spot: Spot) -> None:
    x, y = spot
    corners = [(x, y), (x - _TIP_WIDTH, y - _TIP_HEIGHT), (x + _TIP_WIDTH, y - _TIP_HEIGHT)]
    axes.add_patch(Polygon(corners, facecolor=_LINE, edgecolor="none", zorder=1))


def _box(axes: Axes, node: Node, spot: Spot) -> None:
    x, y = spot
    axes.add_patch(
        FancyBboxPatch(
            (x - WIDTH / 2, y - HEIGHT / 2),
            WIDTH,
            HEIGHT,
            boxstyle="round,pad=0,rounding_size=14",
            facecolor=_PAPER,
            edgecolor=node["colour"],
            linewidth=5 if node["is_asked"] else 2.5,
            zorder=2,
        )
    )
    style: dict[str, Any] = {"ha": "center", "va": "center", "family": _families(), "zorder": 3, "parse_math": False}
    name, points = _fitted(node["name"])
    axes.text(x, y - 19, name, fontsize=points, color=_INK, weight="bold", linespacing=1.05, **style)
    sign = _STAND_INS.get(node["sign"], node["sign"])
    axes.text(x, y + (18 if node["note"] else 29), f"{sign} {node['word']}", fontsize=12, color=_FAINT, **style)
    axes.text(x, y + 38, node["note"], fontsize=10, color=_FAINT, **style)


def _fitted(name: str) -> tuple[str, float]:
    """A name in lines, and their size in points; of one that is too long the beginning and the end stay."""
    wide = any(unicodedata.east_asian_width(sign) in "WF" for sign in name)
    for points, signs, lines in _SIZES:
        room = signs // 2 if wide else signs
        wrapped = textwrap.wrap(name, room)
        if len(wrapped) <= lines:
            return "\n".join(wrapped), points
    return "\n".join([*wrapped[: lines - 1], f"…{name[1 - room :]}"]), points


def _families() -> list[str]:
    known = set(font_manager.get_font_names())
    return [name for name in _FONTS if name in known]


if __name__ == "__main__":
    main()
