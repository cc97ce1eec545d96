"""The system calls a session may make: the host's own default profile, made to fit Chromium and then tightened.

Podman's default refuses `chroot` to a container without capabilities, and with it Chromium's own sandbox, which needs
it inside its user namespace. So `chroot` is allowed, and in return much goes that a browser and a shell never need.
Measured: with every capability dropped and this profile Chromium's renderers sit in a user, pid and network namespace
of their own, rootless too.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ccdtasks.errors import Unavailable

HOST_PROFILE = Path("/usr/share/containers/seccomp.json")

_ALLOWED = ("chroot",)

# Gone, whatever the host's profile says of them: mounting, looking into other processes, entering other namespaces, and
# the parts of the kernel with the longest record of escapes.
_REFUSED = frozenset(
    (
        "mount", "umount", "umount2", "mount_setattr", "move_mount", "open_tree",
        "fsopen", "fsconfig", "fsmount", "fspick", "pivot_root",
        "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd",
        "keyctl", "add_key", "request_key",
        "setns",
        "io_uring_setup", "io_uring_enter", "io_uring_register",
        "bpf", "perf_event_open", "userfaultfd",
        "fanotify_init", "open_by_handle_at", "name_to_handle_at", "lookup_dcookie", "quotactl", "quotactl_fd",
        "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module",
        "swapon", "swapoff", "reboot", "acct", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex",
        "personality", "vhangup", "syslog", "modify_ldt",
    )
)  # fmt: skip
_EPERM = 1


def session_profile(host_profile: Path = HOST_PROFILE) -> str:
    """The profile as JSON text. Raises Unavailable when the host has no default profile to derive it from."""
    try:
        profile = json.loads(host_profile.read_bytes())
        rules = [kept for rule in profile["syscalls"] if (kept := _without_refused(rule)) is not None]
    except OSError as error:
        raise Unavailable(
            "podman",
            f"The system's default seccomp profile {host_profile} cannot be read: {error.strerror}.",
            "Install the package that brings it: golang-github-containers-common on Debian and Ubuntu.",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable("podman", f"The system's default seccomp profile {host_profile} is damaged.") from error
    rules.append({"names": sorted(_REFUSED), "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM})
    rules.append({"names": list(_ALLOWED), "action": "SCMP_ACT_ALLOW"})
    return json.dumps({**profile, "syscalls": rules}, indent=1)


def write_session_profile(path: Path, host_profile: Path = HOST_PROFILE) -> None:
    """Write the profile to `path`, whole or not at all. Raises Unavailable as `session_profile` does."""
    text = session_profile(host_profile)
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _without_refused(rule: dict[str, Any]) -> dict[str, Any] | None:
    """`rule` for the calls that we decide nothing about; None when none is left."""
    ours = _REFUSED.union(_ALLOWED)
    names = [name for name in rule["names"] if name not in ours]
    return {**rule, "names": names} if names else None
