"""A sealed container as data: what we ask Podman for, and what Podman says about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

GUEST_UID = 2000
"""The user inside. Rootless, it is one of the service user's powerless sub-uids outside."""

_HOME_MIB = 1024
_TMP_MIB = 512
_SHM_MIB = 1024
_LOG_BYTES = 10_000_000
_STOP_TIMEOUT_S = 20
_CPU_PERIOD_US = 100_000


@dataclass(frozen=True, slots=True)
class Bind:
    """A folder of the host, seen inside. Never a single socket file: it would keep the dead inode after a restart."""

    source: Path
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One sealed container. What is not a field cannot be chosen: no network, no capability, no writable root.

    `cleans_up`: runs a program of ours as root of its user namespace, to remove what a guest left; never a guest.
    """

    name: str
    image: str
    labels: Mapping[str, str]
    memory_mib: int
    cpus: float
    pids: int
    seccomp_profile: Path
    binds: tuple[Bind, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cleans_up: bool = False


def create_body(spec: ContainerSpec) -> dict[str, Any]:
    """The body of libpod's `POST /containers/create`, understood by every server from 4.3 on."""
    memory_bytes = spec.memory_mib << 20
    body: dict[str, Any] = {
        "name": spec.name,
        "image": spec.image,
        "labels": dict(spec.labels),
        "env": dict(spec.env),
        "user": "0:0" if spec.cleans_up else f"{GUEST_UID}:{GUEST_UID}",
        "umask": "0022",
        "netns": {"nsmode": "none"},
        "ipcns": {"nsmode": "private"},
        "read_only_filesystem": True,
        "read_write_tmpfs": False,
        "cap_drop": ["all"],
        "cap_add": ["CAP_DAC_OVERRIDE", "CAP_FOWNER"] if spec.cleans_up else [],
        "no_new_privileges": True,
        "seccomp_profile_path": str(spec.seccomp_profile),
        "image_volume_mode": "ignore",
        "systemd": "false",
        "httpproxy": False,
        "stop_timeout": _STOP_TIMEOUT_S,
        "shm_size": _SHM_MIB << 20,
        "log_configuration": {"driver": "k8s-file", "size": _LOG_BYTES},
        "mounts": [*map(_bind, spec.binds), _tmpfs("/tmp", _TMP_MIB), _tmpfs("/home/agent", _HOME_MIB)],  # noqa: S108
        # Both, and in lower case: the API does not apply the defaults of containers.conf, and `nofile` alone fails
        # where the caller may not raise limits.
        "r_limits": [
            {"type": "nofile", "soft": 4096, "hard": 8192},
            {"type": "nproc", "soft": 4096, "hard": 4096},
        ],
        "resource_limits": {
            "memory": {"limit": memory_bytes, "swap": memory_bytes},  # swap counts memory in: no swap at all
            "cpu": {"period": _CPU_PERIOD_US, "quota": int(spec.cpus * _CPU_PERIOD_US)},
            "pids": {"limit": spec.pids},
        },
    }
    if spec.entrypoint:
        body["entrypoint"] = list(spec.entrypoint)
    if spec.command:
        body["command"] = list(spec.command)
    return body


def _bind(bind: Bind) -> dict[str, Any]:
    mode = "ro" if bind.read_only else "rw"
    options = [mode, "rbind", "nosuid", "nodev", "rprivate"]
    return {"type": "bind", "source": str(bind.source), "destination": bind.target, "options": options}


def _tmpfs(target: str, size_mib: int) -> dict[str, Any]:
    # U: owned by the user inside; without it a tmpfs belongs to root and the home cannot be written.
    options = ["rw", "nosuid", "nodev", f"size={size_mib}m", "U"]
    return {"type": "tmpfs", "source": "tmpfs", "destination": target, "options": options}


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What is known about a container.

    `pid_alive` is None when this process cannot tell (another pid namespace, hidden processes). `oom_kills`
    counts the kernel's out-of-memory kills inside, None once the container's cgroup is gone.
    """

    name: str
    container_id: str
    labels: Mapping[str, str]
    status: str
    running: bool
    exit_code: int | None = None
    pid: int = 0
    pid_alive: bool | None = None
    oom_killed: bool = False
    oom_kills: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: str = ""


def state_from_inspect(data: Mapping[str, Any], proc: Path = Path("/proc")) -> ContainerState:
    """Reads libpod's inspect answer."""
    state = data["State"]
    running = state.get("Status") in ("running", "paused", "stopping")
    pid = int(state.get("Pid") or 0)
    started_at = _moment(state.get("StartedAt"))
    finished_at = _moment(state.get("FinishedAt"))
    return ContainerState(
        name=str(data["Name"]).lstrip("/"),
        container_id=data["Id"],
        labels=dict(data.get("Config", {}).get("Labels") or {}),
        status=str(state.get("Status", "")),
        running=running,
        exit_code=int(state["ExitCode"]) if finished_at and not running else None,
        pid=pid,
        pid_alive=_is_alive(pid, data["Id"], proc) if running else False,
        oom_killed=bool(state.get("OOMKilled")),
        oom_kills=_oom_kills(pid, proc) if running else None,
        started_at=started_at,
        finished_at=finished_at,
        error=str(state.get("Error") or ""),
    )


def state_from_list(data: Mapping[str, Any]) -> ContainerState:
    """Reads one entry of libpod's container list: enough to match it with a row."""
    status = str(data.get("State", ""))
    return ContainerState(
        name=str(data["Names"][0]),
        container_id=data["Id"],
        labels=dict(data.get("Labels") or {}),
        status=status,
        running=status in ("running", "paused", "stopping"),
        exit_code=int(data["ExitCode"]) if data.get("Exited") else None,
        pid=int(data.get("Pid") or 0),
    )


def _moment(text: str | None) -> datetime | None:
    """Go writes nanoseconds and year 1 for "never"."""
    if not text or text.startswith("0001-"):
        return None
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", text)
    if match is None:
        return None
    fraction = (match[2] or "0")[:6].ljust(6, "0")
    return datetime.fromisoformat(f"{match[1]}.{fraction}{match[3].replace('Z', '+00:00')}").astimezone(UTC)


def _is_alive(pid: int, container_id: str, proc: Path) -> bool | None:
    """Whether `pid` still is the container's process: a recycled pid has another cgroup."""
    if not (proc / "1").exists():  # hidepid, ProtectProc: we would take every container for dead
        return None
    try:
        theirs = _containers_around(proc / str(pid))
        # Where ccdtasks itself runs in a container, that one is around all of us and tells nothing.
        theirs -= _containers_around(proc / "self")
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:
        return None
    # None around it: containers without cgroups, or cgroups hidden by a namespace.
    return not theirs or container_id in theirs


def _containers_around(process: Path) -> set[str]:
    return set(re.findall(r"libpod-(?:conmon-)?([0-9a-f]{64})", (process / "cgroup").read_text()))


def _oom_kills(pid: int, proc: Path) -> int | None:
    """The kernel's count of out-of-memory kills: `State.OOMKilled` stays false with runc on cgroup v1."""
    try:
        for line in (proc / str(pid) / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                return _counter(Path(f"/sys/fs/cgroup{path}/memory.events"), "oom_kill")
            if "memory" in controllers.split(","):
                return _counter(Path(f"/sys/fs/cgroup/memory{path}/memory.oom_control"), "oom_kill")
    except (OSError, ValueError):
        return None
    return None


def _counter(path: Path, name: str) -> int | None:
    try:
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    except OSError:
        return None
    return None
