"""Charts: any values and names become a picture; what it shows is judged by its pixels."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray

from ccdtasks.adapters.chart_lines import apart
from ccdtasks.adapters.chart_paper import INKS, TEXT, drawable
from ccdtasks.adapters.chart_picture import draw
from ccdtasks.adapters.charts import (
    Bar,
    BarChart,
    Chart,
    ColumnChart,
    Line,
    LineChart,
    Part,
    Threshold,
    described,
    paint,
    thinned,
)
from ccdtasks.adapters.painter import Painter

NOW = datetime(2026, 11, 24, 7, tzinfo=UTC)
ODD = ["a$\\frac{x", "x" * 300, "日本語 😀", "مرحبا שלום", "a_b^c%d", "<b>&amp;</b>", "\x00\u202e", ""]


def line(numbers: list[float | None], name: str = "price", unit: str = "$", step_h: float = 24) -> Line:
    first = NOW - timedelta(hours=step_h) * (len(numbers) - 1)
    points = tuple((first + timedelta(hours=step_h) * place, number) for place, number in enumerate(numbers))
    return Line(name, points, unit)


def drawn(chart: Chart) -> NDArray[np.float64]:
    """The pixels, after the description went through JSON as it does on the way to the other process."""
    return np.asarray(imread(io.BytesIO(draw(json.loads(json.dumps(described(chart)))))), dtype=np.float64)


def colour(code: str) -> NDArray[np.float64]:
    return np.array([int(code[place : place + 2], 16) / 255 for place in (1, 3, 5)])


def count(picture: NDArray[np.float64], code: str) -> int:
    """How many pixels have a colour."""
    return int((np.abs(picture[..., :3] - colour(code)).max(axis=2) < 0.02).sum())


@pytest.mark.parametrize(
    "numbers",
    [
        [342], [5, 5, 5], [None, None], [1, None, 2, None, None, 3], [-5, -10.5], [1e300, -1e300], [1e-9, 2e-9],
        [1.7e308, 1.6e308], [0, 0], [float("nan"), 1, float("inf")], list(range(5000)), [1e15, 1e15 + 1], [],
    ],
)  # fmt: skip
def test_any_values_are_a_picture(numbers: list[float | None]) -> None:
    picture = drawn(LineChart("What it says", (line(numbers),), Threshold(3, "limit")))
    known = [number for number in numbers if number is not None and abs(number) < 1e100]
    assert picture.shape == ((660 if known else 330), 1080, 4)
    assert (count(picture, INKS["dark"].series[0]) > 50) is bool(known)


def test_any_names_are_drawn_as_they_are() -> None:
    for name in ODD:
        lines = drawn(LineChart(name, (line([1, 2], name, name[:20]), line([2, 3], name * 2)), Threshold(1, name)))
        columns = drawn(ColumnChart(name, (name, name), (Part(name, (1, 2), "good"),), name))
        bars = drawn(BarChart(name, (Bar(name, 1.0), Bar(name, 2.0, "bad")), name))
        assert count(lines, INKS["dark"].series[0]) > 50, name
        assert count(columns, INKS["dark"].tones["good"]) > 50, name
        assert count(bars, INKS["dark"].tones["bad"]) > 50, name


def test_what_cannot_be_drawn_is_left_out_and_the_rest_stays() -> None:
    assert drawable("price\x00 \u202eof \U0001f9ff tea") in ("price of tea", "price of \U0001f9ff tea")


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_each_ink_reads_well_on_its_ground(theme: str) -> None:
    def light(code: str) -> float:
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour(code)]
        return float(0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2])

    inks = INKS[theme]
    for ink in (inks.ink, inks.faint, *inks.series, *inks.tones.values()):
        high, low = sorted((light(ink), light(inks.ground)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, ink


def test_text_is_large_enough_on_a_phone() -> None:
    assert TEXT * 310 / LineChart("", ()).width >= 11  # a phone shows the picture about 310 px wide


def test_a_card_of_its_own_ground_with_clear_corners() -> None:
    picture = drawn(LineChart("Title", (line([1, 2, 3]),)))
    assert picture[0, 0, 3] == 0
    assert np.allclose(picture[20, 540, :3], colour(INKS["dark"].ground), atol=0.02)


def test_each_unit_gets_a_field_and_the_picture_grows() -> None:
    one = drawn(LineChart("T", (line([1, 2]), line([2, 3], "other"))))
    two = drawn(LineChart("T", (line([1, 2]), line([2, 3], "options", ""))))
    assert two.shape[0] > one.shape[0]
    for picture in (one, two):
        assert count(picture, INKS["dark"].series[0]) > 50
        assert count(picture, INKS["dark"].series[1]) > 50


def test_a_threshold_is_a_dashed_line() -> None:
    ink = INKS["dark"].ink
    without, with_it = (drawn(LineChart("", (line([1, 9]),), limit)) for limit in (None, Threshold(5)))
    assert count(with_it, ink) > count(without, ink) + 200


def test_a_gap_is_not_bridged() -> None:
    series = INKS["dark"].series[0]
    whole, parted = (
        drawn(LineChart("", (line([*[5.0] * 20, *[middle] * 20, *[5.0] * 20]),))) for middle in (5.0, None)
    )  # many points, so that none is marked
    assert count(parted, series) < count(whole, series) * 0.9


def test_labels_that_would_meet_are_moved_apart_within_the_field() -> None:
    moved = apart([10, 11, 12, 95], [10, 10, 10, 10], 0, 100)
    assert all(after - before >= 10 for before, after in pairwise(moved))
    assert moved[0] >= 5
    assert moved[-1] <= 95


def test_columns_of_nothing_and_of_many_days() -> None:
    drawn(ColumnChart("No runs", (), ()))
    drawn(ColumnChart("Quiet", ("Mon", "Tue"), (Part("done", (0, 0), "good"),)))
    many = drawn(ColumnChart("Year", tuple(f"{n} Jan" for n in range(366)), (Part("done", (3,) * 366, "good"),)))
    assert count(many, INKS["dark"].tones["good"]) > 1000


def test_thinning_keeps_the_outline() -> None:
    points = [(place, float(place % 7)) for place in range(50_000)]
    points[31_234] = (31_234, 99.0)
    kept = thinned(points, 500)
    assert len(kept) <= 500
    assert (31_234, 99.0) in kept
    assert kept[0] == points[0]
    assert kept[-1] == points[-1]


async def test_it_is_drawn_beside_the_process_and_nothing_of_it_is_loaded_here(tmp_path: Path) -> None:
    picture = await paint(Painter(tmp_path), BarChart("Slow", (Bar("Search", 101.5, "bad"), Bar("Open", 2.0)), "s"))
    assert picture.startswith(b"\x89PNG")
    asks = "import sys, ccdtasks.adapters.charts; print('matplotlib' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
