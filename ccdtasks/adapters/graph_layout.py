"""Where the boxes of a graph of tasks and the lines between them go: rows by level, and no line behind a box.

A line that passes rows gets a way through each of them, as wide as a line; lines that come from one box, or go to one
box, share it. A level with many boxes takes several rows, so that the picture stays as narrow as a phone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

WIDTH, HEIGHT = 280.0, 104.0
"""Of a box, in pixels."""
GAP_Y = 64.0
_GAP_X, _NARROW_GAP_X, _EDGE = 28.0, 14.0, 16.0
_MOST_ABREAST = 4
_SWEEPS = 6

Edge = tuple[str, str, bool]
"""From, to, and whether the first must complete."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A box, or a way through a row (`lane` says whose) in its place."""

    name: str
    row: int
    lane: str = ""

    @property
    def width(self) -> float:
        return 0.0 if self.lane else WIDTH


Link = tuple[Stop, Stop, bool]
"""A piece of a line between two rows that follow each other."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The size of the picture, the middle of each stop, and the pieces of lines between them."""

    width: float
    height: float
    spots: Mapping[Stop, tuple[float, float]]
    links: Sequence[Link]


def lay_out(levels: Mapping[str, int], edges: Sequence[Edge]) -> Layout:
    """Places the tasks, given by name and level; each edge leads to a higher level."""
    anchors = _anchors(levels)
    boxes = {stop.name: stop for stop in anchors}
    links = _links(boxes, edges)
    rows: list[list[Stop]] = [[] for _ in range(1 + max(stop.row for stop in boxes.values()))]
    for stop in dict.fromkeys([*boxes.values(), *(end for link in links for end in link[:2])]):
        rows[stop.row].append(stop)
    place = _places(rows, links, {stop: x for stop, x in anchors.items() if x is not None})
    left = min(place[stop] - stop.width / 2 for row in rows for stop in row)
    right = max(place[stop] + stop.width / 2 for row in rows for stop in row)
    return Layout(
        width=right - left + 2 * _EDGE,
        height=len(rows) * (HEIGHT + GAP_Y) - GAP_Y + 2 * _EDGE,
        spots={stop: (x - left + _EDGE, _EDGE + HEIGHT / 2 + stop.row * (HEIGHT + GAP_Y)) for stop, x in place.items()},
        links=links,
    )


def _anchors(levels: Mapping[str, int]) -> dict[Stop, float | None]:
    """Each box in its row; what does not fit abreast is spread evenly over more rows, each around the middle."""
    anchors: dict[Stop, float | None] = {}
    row = 0
    for level in sorted(set(levels.values())):
        names = [name for name, own in levels.items() if own == level]
        count = -(-len(names) // _MOST_ABREAST)
        for number in range(count):
            own = names[number * len(names) // count : (number + 1) * len(names) // count]
            for place, name in enumerate(own):
                x = (place - (len(own) - 1) / 2) * (WIDTH + _GAP_X)
                anchors[Stop(name, row + number)] = x if count > 1 else None
        row += count
    return anchors


def _links(boxes: Mapping[str, Stop], edges: Sequence[Edge]) -> list[Link]:
    leaving, coming = Counter(start for start, _, _ in edges), Counter(end for _, end, _ in edges)
    found: dict[Link, None] = {}
    for start, end, required in edges:
        shared, lane = (start, "from") if leaving[start] >= coming[end] else (end, "to")
        between = (
            Stop(shared, row, f"{lane}{'' if required else ' even if it fails'}")
            for row in range(boxes[start].row + 1, boxes[end].row)
        )
        stops = [boxes[start], *between, boxes[end]]
        found |= dict.fromkeys((here, there, required) for here, there in pairwise(stops))
    return list(found)


def _places(rows: Sequence[list[Stop]], links: Sequence[Link], anchors: Mapping[Stop, float]) -> dict[Stop, float]:
    """The middle of each stop across: as near to what it is linked with as its neighbours in the row let it."""
    above, below = defaultdict[Stop, list[Stop]](list), defaultdict[Stop, list[Stop]](list)
    for start, end, _ in links:
        above[end].append(start)
        below[start].append(end)
    place: dict[Stop, float] = {}
    for row in rows:
        _settle(row, place, above, anchors)
    for _ in range(_SWEEPS):
        for row in reversed(rows):
            _settle(row, place, below, anchors)
        for row in rows:
            _settle(row, place, above, anchors)
    return place


def _settle(
    row: list[Stop], place: dict[Stop, float], beside: Mapping[Stop, list[Stop]], anchors: Mapping[Stop, float]
) -> None:
    """Sorts a row and places its stops at their anchors, or by the middle of what they are linked with on one side."""
    wanted = {}
    for number, stop in enumerate(row):
        known = [place[other] for other in beside.get(stop, ()) if other in place]
        middle = sum(known) / len(known) if known else place.get(stop, number * (WIDTH + _GAP_X))
        wanted[stop] = anchors.get(stop, middle)
    row.sort(key=wanted.__getitem__)
    place.update(zip(row, _apart(row, [wanted[stop] for stop in row]), strict=True))


def _apart(row: Sequence[Stop], wanted: Sequence[float]) -> list[float]:
    """The places nearest to the wanted ones (least squares) at which no two stops of the row touch."""
    offsets, blocks = [0.0], list[tuple[float, int]]()
    for here, there in pairwise(row):
        gap = _GAP_X if not here.lane and not there.lane else _NARROW_GAP_X
        offsets.append(offsets[-1] + (here.width + there.width) / 2 + gap)
    for target, offset in zip(wanted, offsets, strict=True):
        total, count = target - offset, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / count:
            more, size = blocks.pop()
            total, count = total + more, count + size
        blocks.append((total, count))
    middles = [total / count for total, count in blocks for _ in range(count)]
    return [middle + offset for middle, offset in zip(middles, offsets, strict=True)]
