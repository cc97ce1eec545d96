from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ccdtasks.adapters.seccomp import session_profile, write_session_profile
from ccdtasks.errors import Unavailable

HOST: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {"names": ["read", "mount", "umount2", "ptrace", "clone"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["userfaultfd", "vm86"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
        {"names": ["bpf", "setns"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_CHROOT"]}},
        {"names": ["chroot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": {"caps": ["CAP_SYS_CHROOT"]}},
    ],
}


@pytest.fixture
def host(tmp_path: Path) -> Path:
    path = tmp_path / "seccomp.json"
    path.write_text(json.dumps(HOST))
    return path


def rules_for(profile: dict[str, Any], call: str) -> list[dict[str, Any]]:
    return [rule for rule in profile["syscalls"] if call in rule["names"]]


def test_chroot_is_allowed_without_conditions(host: Path) -> None:
    assert rules_for(json.loads(session_profile(host)), "chroot") == [{"names": ["chroot"], "action": "SCMP_ACT_ALLOW"}]


def test_what_a_browser_never_needs_is_refused_and_nothing_else_changes(host: Path) -> None:
    profile = json.loads(session_profile(host))
    for call in ("mount", "umount2", "ptrace", "bpf", "setns", "userfaultfd", "io_uring_setup", "keyctl"):
        assert [rule["action"] for rule in rules_for(profile, call)] == ["SCMP_ACT_ERRNO"]
    assert rules_for(profile, "read") == [{"names": ["read", "clone"], "action": "SCMP_ACT_ALLOW"}]
    assert rules_for(profile, "vm86") == [{"names": ["vm86"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]
    assert profile["archMap"] == HOST["archMap"]


def test_the_profile_is_written_whole(host: Path, tmp_path: Path) -> None:
    write_session_profile(tmp_path / "session.json", host)
    assert (tmp_path / "session.json").read_text() == session_profile(host)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seccomp.json", "session.json"]


def test_a_host_without_a_profile_is_told_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        session_profile(tmp_path / "gone.json")
    assert "gone.json" in caught.value.message
    assert "Install" in caught.value.hint


@pytest.mark.parametrize("text", ["{", "{}", '{"syscalls": [{}]}', "[]"])
def test_a_damaged_profile_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(Unavailable, match="damaged"):
        session_profile(tmp_path / "bad.json")
