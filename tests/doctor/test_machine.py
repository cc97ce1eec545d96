"""What the doctor says of the machine and of Podman."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ccdtasks.adapters.podman import PodmanInfo
from ccdtasks.config import Config
from ccdtasks.doctor import host
from ccdtasks.doctor.containers import sealed, service
from tests.clock import MoveableClock


def _info(version: str = "4.3.1", storage_driver: str = "overlay") -> PodmanInfo:
    return PodmanInfo(
        version=version, rootless=True, storage_driver=storage_driver, cgroup_version="v2", socket="/s",
        runtime="crun", seccomp_profile="",
    )  # fmt: skip


def test_storage_that_copies_images_is_refused_with_the_remedy() -> None:
    podman, storage = service(_info(storage_driver="vfs"))
    assert podman.outcome == "ok"
    assert storage.outcome == "fail"
    assert 'driver = "overlay"' in storage.remedy


@pytest.mark.parametrize(
    ("version", "outcome"), [("3.4.4", "fail"), ("4.2.0", "fail"), ("4.3.0", "ok"), ("5.0.0-dev", "ok")]
)
def test_old_versions_are_refused(version: str, outcome: str) -> None:
    assert next(iter(service(_info(version)))).outcome == outcome


async def test_a_clock_in_the_past_is_a_failure() -> None:
    finding = await host.time_of_day(MoveableClock(datetime(1970, 1, 2, tzinfo=UTC)))
    assert finding.outcome == "fail"
    assert finding.remedy


def test_a_folder_that_cannot_be_made_and_one_that_can(tmp_path: Path) -> None:
    assert host.disk(tmp_path / "a" / "b").outcome in ("ok", "warn")
    assert host.disk(Path("/proc/nothing/here")).outcome == "fail"


def test_a_rootless_user_needs_sub_ids_and_linger(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    missing = list(host.rootless_user(1000, tmp_path))
    assert [finding.outcome for finding in missing] == ["fail", "fail", "warn"]
    assert "enable-linger" in missing[2].remedy
    for name in ("subuid", "subgid"):
        (tmp_path / "etc" / name).write_text(f"{getpass.getuser()}:100000:65536\n")
    linger = tmp_path / "var/lib/systemd/linger" / getpass.getuser()
    linger.parent.mkdir(parents=True)
    linger.touch()
    assert list(host.rootless_user(1000, tmp_path)) == []
    assert list(host.rootless_user(0, tmp_path)) == []


GOOD = {
    "limits": {"memory": 3072 << 20, "pids": 1024, "cpu": 2.0},
    "interfaces": ["lo"],
    "routes": False,
    "reached": [],
    "capabilities": 0,
    "no_new_privileges": True,
    "seccomp": 2,
    "root_writable": False,
    "chromium": {"works": True, "said": ""},
}


def test_a_good_report_has_nothing_to_mend() -> None:
    assert {finding.outcome for finding in sealed(GOOD, Config())} == {"ok"}


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"limits": {"memory": None, "pids": 1024, "cpu": 2.0}}, "limits"),
        ({"limits": {"memory": 3072 << 20, "pids": 1024, "cpu": None}}, "limits"),
        ({"limits": {"memory": 8 << 40, "pids": 1024, "cpu": 2.0}}, "limits"),
        ({"reached": ["192.168.1.1:80"]}, "network"),
        ({"interfaces": ["eth0", "lo"]}, "network"),
        ({"routes": True}, "network"),
        ({"capabilities": 1}, "seal"),
        ({"no_new_privileges": False}, "seal"),
        ({"seccomp": 0}, "seal"),
        ({"root_writable": True}, "seal"),
        ({"chromium": {"works": False, "said": "Zygote"}}, "chromium"),
    ],
)
def test_each_hole_is_found(change: dict[str, object], check: str) -> None:
    failed = [finding for finding in sealed({**GOOD, **change}, Config()) if finding.outcome == "fail"]
    assert [finding.check for finding in failed] == [check]
    assert failed[0].remedy
