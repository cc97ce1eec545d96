"""A program of its own: draws a chart of `charts` from JSON on standard input to a PNG on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from ccdtasks.adapters import chart_bars, chart_lines

_DRAW: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "LineChart": chart_lines.draw,
    "ColumnChart": chart_bars.columns,
    "BarChart": chart_bars.rows,
}


def main() -> None:
    """Reads, draws, writes."""
    sys.stdout.buffer.write(draw(json.load(sys.stdin)))


def draw(data: dict[str, Any]) -> bytes:
    """The picture as PNG."""
    return _DRAW[data["kind"]](data)


if __name__ == "__main__":
    main()
