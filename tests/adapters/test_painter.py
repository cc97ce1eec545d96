"""Pictures by processes of their own."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import pytest

from ccdtasks.adapters.graph_picture import draw
from ccdtasks.adapters.painter import Painter
from ccdtasks.errors import Unavailable

GRAPH = "ccdtasks.adapters.graph_picture"


def node(name: str, level: int) -> dict[str, Any]:
    return {
        "name": name,
        "level": level,
        "sign": "✓",
        "word": "done",
        "colour": "#22A06B",
        "note": "",
        "is_asked": level == 0,
    }


def size_of(picture: bytes) -> tuple[int, int]:
    """Width and height of a PNG."""
    width, height = struct.unpack(">II", picture[16:24])
    return width, height


async def test_a_graph_becomes_a_picture_as_large_as_its_rows(tmp_path: Path) -> None:
    painter = Painter(tmp_path / "cache")
    nodes = [node("scrape", -1), node("prices", -1), node("analyze", 0)]
    picture = await painter.draw(
        GRAPH, {"nodes": nodes, "edges": [["scrape", "analyze", True], ["prices", "analyze", False]]}
    )
    wide, high = size_of(picture)
    assert wide > high
    assert (tmp_path / "cache").is_dir()


def test_names_of_any_kind_are_drawn_as_they_are() -> None:
    odd = ["a$\\frac{x", "x" * 100, "日本語", "naïve-ß", "a_b^c%d", "<b>&amp;</b>"]
    picture = draw({"nodes": [node(name, place) for place, name in enumerate(odd)], "edges": []})
    assert picture.startswith(b"\x89PNG")


async def test_a_program_that_fails_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        await Painter(tmp_path).draw("ccdtasks.no_such_program", {})
    assert caught.value.part == "picture"
    assert "\n" not in caught.value.message


async def test_no_secret_goes_into_the_environment_of_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tell.py").write_text("import os, sys\nsys.stderr.write(' '.join(os.environ))\nsys.exit(1)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("CCDTASKS_CLAUDE__API_KEY", "planted")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "planted")
    with pytest.raises(Unavailable) as caught:
        await Painter(tmp_path).draw("tell", {})
    assert "CCDTASKS" not in caught.value.message
    assert "ANTHROPIC" not in caught.value.message
    assert os.environ["ANTHROPIC_API_KEY"] == "planted"
