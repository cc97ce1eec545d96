"""Where boxes and lines of a graph go: nothing behind anything, and never wider than a phone can show."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ccdtasks.adapters.graph_layout import HEIGHT, WIDTH, Edge, Layout, Stop, lay_out


def rows_of(layout: Layout) -> list[list[Stop]]:
    """The stops of each row from left to right."""
    rows: dict[int, list[Stop]] = {}
    for stop in layout.spots:
        rows.setdefault(stop.row, []).append(stop)
    return [sorted(rows[row], key=lambda stop: layout.spots[stop][0]) for row in sorted(rows)]


def require_clear(layout: Layout) -> None:
    """No two boxes touch, no line passes behind a box or out of the picture, and every piece leads one row down."""
    for row in rows_of(layout):
        for here, there in pairwise(row):
            gap = layout.spots[there][0] - layout.spots[here][0] - (here.width + there.width) / 2
            assert gap >= 13.9, (here, there)
    for stop, (x, y) in layout.spots.items():
        assert stop.width / 2 <= x <= layout.width - stop.width / 2
        assert HEIGHT / 2 <= y <= layout.height - HEIGHT / 2
    assert all(end.row == start.row + 1 for start, end, _ in layout.links)


def test_a_line_that_passes_rows_goes_beside_their_boxes() -> None:
    levels = {f"k{number}": number for number in range(6)}
    edges: list[Edge] = [(f"k{n}", f"k{n + 1}", True) for n in range(5)]
    layout = lay_out(levels, [*edges, ("k0", "k5", False), ("k0", "k3", True)])
    require_clear(layout)
    way = {start.row: layout.spots[start][0] for start, _, required in layout.links if not required and start.lane}
    assert sorted(way) == [1, 2, 3, 4]
    boxes = {stop.row: layout.spots[stop][0] for stop in layout.spots if not stop.lane}
    assert all(abs(x - boxes[row]) > WIDTH / 2 for row, x in way.items())


def test_many_abreast_take_several_rows() -> None:
    levels = {"root": 0, **{f"w{n}": 1 for n in range(15)}, "end": 2}
    edges: list[Edge] = [("root", f"w{n}", True) for n in range(15)]
    edges += [(f"w{n}", "end", n % 3 > 0) for n in range(15)]
    layout = lay_out(levels, edges)
    require_clear(layout)
    assert layout.width < 1500
    boxes = [sum(not stop.lane for stop in row) for row in rows_of(layout)]
    assert boxes == [1, 3, 4, 4, 4, 1]


def test_one_box_is_a_picture() -> None:
    layout = lay_out({"lone": 0}, [])
    assert (layout.width, layout.height) == (WIDTH + 32, HEIGHT + 32)


@settings(max_examples=60)
@given(
    st.integers(1, 30).flatmap(
        lambda count: st.tuples(
            st.just(count),
            st.lists(
                st.tuples(st.integers(0, count - 1), st.integers(0, count - 1), st.booleans()), max_size=60, unique=True
            ),
        )
    )
)
def test_any_graph_is_drawn_clearly(graph: tuple[int, list[tuple[int, int, bool]]]) -> None:
    count, pairs = graph
    levels = {f"t{n}": 0 for n in range(count)}
    edges: list[Edge] = list(
        {(min(a, b), max(a, b)): (f"t{min(a, b)}", f"t{max(a, b)}", r) for a, b, r in pairs if a != b}.values()
    )
    for start, end, _ in sorted(edges, key=lambda edge: int(edge[1][1:])):
        levels[end] = max(levels[end], levels[start] + 1)
    layout = lay_out(levels, edges)
    require_clear(layout)
    assert {stop.name for stop in layout.spots if not stop.lane} == set(levels)
    ways = {(start, end) for start, end, _ in edges}
    assert all(reaches(layout, start, end) for start, end in ways)


def reaches(layout: Layout, start: str, end: str) -> bool:
    """Whether the pieces of lines lead from one box to another without passing a third."""
    here = {stop for stop in layout.spots if stop.name == start and not stop.lane}
    while here:
        here = {there for stop, there, _ in layout.links if stop in here}
        if any(stop.name == end and not stop.lane for stop in here):
            return True
        here = {stop for stop in here if stop.lane}
    return False
