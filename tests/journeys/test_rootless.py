"""The same journeys as an ordinary user with rootless Podman: real containers, the guest's files owned by a sub-uid."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from tests.doubles.podman import SESSION_IMAGE

pytestmark = [pytest.mark.image, pytest.mark.rootless, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
AS_USER = ROOT / "tests/setup/as-ccdtest"


@pytest.fixture(autouse=True)
def _is_set_up() -> None:
    """The user and his image, which tests/run makes."""
    complete = bool(os.environ.get("CCDTEST_COMPLETE"))
    if os.geteuid() != 0 and not complete:
        pytest.skip("needs root to become the user ccdtest")
    try:
        pwd.getpwnam("ccdtest")
        has_image = subprocess.run([AS_USER, "podman", "image", "exists", SESSION_IMAGE], check=False).returncode == 0
    except KeyError:
        has_image = False
    if not has_image and not complete:
        pytest.skip("the user ccdtest has no session image; tests/run gives it to him")


def _as_user(*tests: str) -> None:
    """Runs tests as the user, with the tests' own folder as the place to start from."""
    pytest_command = f"cd {ROOT} && exec python -m pytest -q -p no:cacheprovider --timeout 300 " + " ".join(tests)
    done = subprocess.run(
        [AS_USER, "sh", "-c", pytest_command], capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "passed" in done.stdout


def test_the_adapter_and_runs() -> None:
    engine = [f"tests/engine/test_{part}.py" for part in ("runs", "adoption", "reaper")]
    _as_user("tests/adapters/test_podman.py", *engine)


def test_killed_and_taken_up_again() -> None:
    _as_user("tests/journeys/test_crashes.py", "-k", "'start or finish or order or put_off'")


def test_the_whole_chain_on_real_parts() -> None:
    _as_user("tests/journeys/test_real_run.py", "-k", "'create_start_result'")


def test_the_demonstration_from_the_wheel() -> None:
    environment = {**os.environ, "CCDTASKS_PODMAN__IMAGE": SESSION_IMAGE}
    command = [AS_USER, "ccdtasks", "demo"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The run completed, with evidence." in done.stdout
