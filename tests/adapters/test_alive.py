"""Whether the process of a container is still the container's, read from /proc."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccdtasks.adapters.containers import state_from_inspect

OURS, OTHER, AROUND = "a" * 64, "b" * 64, "c" * 64


def _alive(proc: Path, cgroup: str | None, own: str = "0::/system.slice/ccdtasks.service") -> bool | None:
    for pid, content in {"1": "0::/init.scope", "self": own, "4711": cgroup}.items():
        (proc / pid).mkdir(parents=True)
        if content is not None:
            (proc / pid / "cgroup").write_text(content + "\n")
    state = {"Status": "running", "Pid": 4711, "ExitCode": 0}
    return state_from_inspect({"Name": "n", "Id": OURS, "State": state}, proc).pid_alive


@pytest.mark.parametrize(
    ("cgroup", "alive"),
    [
        (f"0::/user.slice/user-997.slice/user@997.service/user.slice/libpod-{OURS}.scope/container", True),
        (f"9:memory:/libpod_parent/libpod-{OURS}\n0::/", True),
        (f"0::/machine.slice/libpod-{OTHER}.scope", False),
        ("0::/user.slice/session-1.scope", True),
        (None, False),
    ],
    ids=["cgroup v2", "cgroup v1", "recycled by another container", "without cgroups", "gone"],
)
def test_on_an_ordinary_machine(tmp_path: Path, cgroup: str | None, alive: bool) -> None:
    assert _alive(tmp_path, cgroup) is alive


def test_where_ccdtasks_itself_runs_in_a_container(tmp_path: Path) -> None:
    around = f"0::/libpod_parent/libpod-{AROUND}"
    assert _alive(tmp_path, around, own=around) is True


def test_cannot_tell_where_processes_are_hidden(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    state = {"Status": "running", "Pid": 4711, "ExitCode": 0}
    assert state_from_inspect({"Name": "n", "Id": OURS, "State": state}, tmp_path).pid_alive is None
