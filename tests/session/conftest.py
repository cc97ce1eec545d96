"""The session program is not part of the package: its folder is put on the path for its tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

CONTAINER = Path(__file__).parents[2] / "container"
if str(CONTAINER) not in sys.path:
    sys.path.insert(0, str(CONTAINER))


@pytest.fixture
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`host/` and `guest/`, at a path short enough for sockets."""
    root = tmp_path_factory.mktemp("r")
    (root / "host/inputs").mkdir(parents=True)
    (root / "guest").mkdir()
    (root / "guest").chmod(0o777)
    return root
