"""What all charts are drawn on: ground, inks, fonts, title, and the numbers of an axis."""

from __future__ import annotations

import io
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ccdtasks.amounts import amount_text

SCALE = 3  # pixels of the picture for one of the phone
TEXT = 13.0  # 11 px at least where a phone shows a picture of 360 px on 310
_TITLE = 15.0
_TITLE_LINE = 19.0
EDGE = 14.0
_UNIT_SIGNS = 10
_FONTS = (
    "DejaVu Sans", "Noto Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Droid Sans Fallback", "WenQuanYi Zen Hei",
    "Unifont", "Noto Sans Symbols2", "Noto Emoji", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Thai",
    "Noto Sans Devanagari",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Inks:
    """Colours with at least 4.5:1 on their ground; the series keep apart for colour-blind eyes."""

    ground: str
    ink: str
    faint: str
    grid: str
    series: tuple[str, ...]
    tones: dict[str, str]


INKS = {
    "dark": Inks(
        ground="#232428",
        ink="#F2F3F5",
        faint="#B5BAC1",
        grid="#3F4147",
        series=("#56B4E9", "#F0A830", "#3FC79A", "#F08AC0", "#E8E070", "#FF8A5C"),
        tones={"good": "#2FB67C", "bad": "#FF6B70", "busy": "#6BA4FA", "unsure": "#A98BFA", "quiet": "#9CA0A9"},
    ),
    "light": Inks(
        ground="#FFFFFF",
        ink="#1F2328",
        faint="#57606A",
        grid="#E3E5E8",
        series=("#0068A8", "#A85500", "#007A57", "#A83A7C", "#6B6400", "#C2410C"),
        tones={"good": "#1B8558", "bad": "#C8303A", "busy": "#2563EB", "unsure": "#7C4DF0", "quiet": "#6B7078"},
    ),
}


class Paper:
    """A card with a title; places on it are pixels of a phone, from the upper left corner."""

    def __init__(self, theme: str, width: float, height: float, title: str) -> None:
        self.inks = INKS.get(theme, INKS["dark"])
        self.width = width
        lines = self._wrapped(drawable(title), width - 2 * EDGE)
        self.top = EDGE + len(lines) * _TITLE_LINE + 6 if lines else EDGE
        self.height = height + max(0, len(lines) - 1) * _TITLE_LINE
        self.figure = Figure(figsize=(self.width / 72, self.height / 72), dpi=72 * SCALE)
        self.figure.patch.set_alpha(0)
        self._ground()
        for number, line in enumerate(lines):
            self.text(EDGE, EDGE + _TITLE_LINE * (number + 0.5), line, size=_TITLE, color=self.inks.ink, weight="bold")

    def field(self, left: float, top: float, right: float, bottom: float) -> Axes:
        """A field without a frame."""
        box = (left / self.width, 1 - bottom / self.height, (right - left) / self.width, (bottom - top) / self.height)
        axes = self.figure.add_axes(box)
        axes.patch.set_alpha(0)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, pad=4, colors=self.inks.faint, labelsize=TEXT)
        return axes

    def text(self, x: float, y: float, said: str, *, size: float = TEXT, align: str = "left", **look: Any) -> float:
        """Writes one line around height `y`; returns how wide it is."""
        self.figure.text(
            x / self.width, 1 - y / self.height, said, fontsize=size, ha=align, va="center", **(style() | look)
        )
        return width_of(said, size, bold=look.get("weight") == "bold")

    def png(self) -> bytes:
        """The finished picture."""
        picture = io.BytesIO()
        self.figure.savefig(picture, format="png", dpi=72 * SCALE, transparent=True)
        return picture.getvalue()

    def _ground(self) -> None:
        axes = self.figure.add_axes((0, 0, 1, 1), zorder=-1)
        axes.set_axis_off()
        axes.set_xlim(0, self.width)
        axes.set_ylim(0, self.height)
        shape = "round,pad=0,rounding_size=10"
        axes.add_patch(
            FancyBboxPatch((0, 0), self.width, self.height, boxstyle=shape, facecolor=self.inks.ground, linewidth=0)
        )

    def _wrapped(self, said: str, width: float) -> list[str]:
        """At most three lines."""
        lines: list[str] = []
        for word in said.split():
            longer = f"{lines[-1]} {word}" if lines else word
            if lines and width_of(longer, _TITLE, bold=True) <= width:
                lines[-1] = longer
            else:
                lines.append(shortened(word, width, _TITLE, bold=True))
        if len(lines) > 3:
            lines[2:] = [shortened(" ".join(lines[2:]), width, _TITLE, bold=True)]
        return lines


def amount_axis(axes: Axes, unit: str, inks: Inks, *, whole: bool = False) -> None:
    """A light horizontal grid and few numbers with their unit on the left."""
    steps = [1, 1.2, 1.8, 3, 6, 10] if unit == "s" and axes.get_ylim()[1] > 90 else [1, 2, 2.5, 5, 10]  # whole minutes
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=steps, integer=whole, min_n_ticks=2))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda number, _at: amount_text(number, unit, short=True)))
    axes.grid(axis="y", color=inks.grid, linewidth=1)
    axes.set_axisbelow(True)


def axis_width(axes: Axes, unit: str) -> float:
    """The room that the numbers of the left axis need."""
    low, high = axes.get_ylim()
    shown = [tick for tick in axes.yaxis.get_major_locator().tick_values(low, high) if low <= tick <= high]
    return max((width_of(amount_text(tick, unit, short=True), TEXT) for tick in shown), default=0.0)


def style() -> dict[str, Any]:
    """How foreign text is written: nothing in it is a formula, and what one font lacks another may have."""
    return {"family": families(), "parse_math": False}


@cache
def families() -> list[str]:
    """The fonts of this machine that we draw with; the first comes with the library."""
    known = set(font_manager.get_font_names())
    return [name for name in _FONTS if name in known]


@cache
def _measure() -> tuple[Figure, Any]:
    figure = Figure(dpi=72)
    return figure, FigureCanvasAgg(figure).get_renderer()


@cache
def width_of(said: str, size: float = TEXT, *, bold: bool = False) -> float:
    """How wide a line of text becomes."""
    figure, renderer = _measure()
    text = figure.text(0, 0, said, fontsize=size, weight="bold" if bold else "normal", **style())
    width = float(text.get_window_extent(renderer).width)
    text.remove()
    return width


@cache
def _glyphs() -> frozenset[int]:
    found: set[int] = set()
    for name in families():
        path = Path(font_manager.findfont(name))
        found.update(FT2Font(str(path)).get_charmap())
    return frozenset(found)


def drawable(said: str) -> str:
    """Without what no font here can draw, and without marks that draw nothing: a box tells nobody anything."""
    known = _glyphs()
    kept = (sign if ord(sign) in known else "" for sign in said if unicodedata.category(sign) not in ("Cc", "Cf", "Cs"))
    return " ".join("".join(kept).split())


def short_unit(unit: str) -> str:
    """The unit as an axis has room for it."""
    return drawable(unit)[:_UNIT_SIGNS].strip()


def shortened(said: str, width: float, size: float, *, bold: bool = False) -> str:
    """As much of it as fits, with an ellipsis."""
    if width_of(said, size, bold=bold) <= width:
        return said
    low, high = 0, len(said)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if width_of(said[:middle] + "…", size, bold=bold) <= width else (low, middle - 1)
    return said[:low].rstrip() + "…"
