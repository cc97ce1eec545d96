"""The egress gateway on a real network of two machines, with its own resolver and its own way to connect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def in_own_network(folder: Path, *options: str) -> dict[str, list[object]]:
    """What `two_networks.py` prints, run in a network namespace of its own."""
    command = ["unshare", "--map-root-user", "--net", sys.executable, "-m", "tests.gateways.two_networks", str(folder)]
    command += options
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode and "CCDTEST_COMPLETE" not in os.environ and "unshare" in done.stderr.partition(":")[0]:
        pytest.skip(f"no network namespaces here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture
def answers(folder: Path) -> dict[str, list[object]]:
    return in_own_network(folder)


def test_the_internet_is_reached_and_ones_own_public_address_is_not(answers: dict[str, list[object]]) -> None:
    assert answers["93.184.216.34"] == answers["[2606:2800:220:1::34]"] == [200, "from the other machine"]
    for own in ("127.0.0.1", "198.41.0.2", "[::ffff:198.41.0.2]", "[2a02:810d:4:5600::2]"):
        assert answers[own][0] == 403
        assert "is this computer" in str(answers[own][1])


def test_devices_at_home_are_not_reached_where_they_have_public_addresses(answers: dict[str, list[object]]) -> None:
    for device in ("198.41.0.7", "[::ffff:198.41.0.7]", "[2a02:810d:4:5600::1]", "[2a02:810d:4:5611::9]"):
        assert answers[device][0] == 403, device
        assert "is on your home network; allow it with [egress] allow_private" in str(answers[device][1])


def test_a_device_that_the_owner_opened_is_reached(folder: Path) -> None:
    answers = in_own_network(folder, "--opened")
    assert answers["198.41.0.7"] == [200, "from the other machine"]
    assert answers["[2a02:810d:4:5600::1]"][0] == 403
