"""The egress gateway on a real network of two machines, with its own resolver and its own way to connect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def in_own_network(folder: Path) -> dict[str, list[object]]:
    """What `two_networks.py` prints, run in a network namespace of its own."""
    command = ["unshare", "--map-root-user", "--net", sys.executable, "-m", "tests.gateways.two_networks", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode and "CCDTEST_COMPLETE" not in os.environ and "unshare" in done.stderr.partition(":")[0]:
        pytest.skip(f"no network namespaces here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_other_machine_is_reached_and_ones_own_public_address_is_not(folder: Path) -> None:
    answers = in_own_network(folder)
    assert answers.pop("93.184.216.34") == [200, "from the other machine"]
    assert {host: answer[0] for host, answer in answers.items()} == {
        "93.184.216.33": 403,
        "127.0.0.1": 403,
        "[::ffff:93.184.216.33]": 403,
    }
    assert "is this computer" in str(answers["93.184.216.33"][1])
