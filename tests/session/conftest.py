"""The session program is not part of the package: its folder is put on the path for its tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.session.sealed import IMAGE

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


@pytest.fixture(scope="session")
def _image() -> None:
    """The session image is there. Without it the tests are skipped, but not where everything was set up for them."""
    there = shutil.which("podman") and subprocess.run(["podman", "image", "exists", IMAGE], check=False).returncode == 0
    if not there:
        (pytest.fail if os.environ.get("CCDTEST_COMPLETE") else pytest.skip)(f"the image {IMAGE} is not built")


@pytest.fixture(autouse=True)
def _needs_image(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("image"):
        request.getfixturevalue("_image")
