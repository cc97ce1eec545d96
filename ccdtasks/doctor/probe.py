"""Runs inside a sealed container, on the standard library alone, and prints what it found as one line of JSON."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

# Addresses that a container with any network at all would reach, or that would be worth reaching.
PLACES = [("1.1.1.1", 443), ("8.8.8.8", 53), ("169.254.169.254", 80), ("192.168.1.1", 80), ("10.0.2.2", 22)]
CHROMIUM = [
    *("/usr/lib/chromium/chromium", "--headless", "--disable-gpu", "--no-first-run", "--disable-breakpad"),
    *("--user-data-dir=/tmp/doctor", "about:blank"),
]
PATIENCE_S = 30


def number(*paths: str) -> float | None:
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            return float(Path(path).read_text().split()[0])
    return None


def cpus() -> float | None:
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return float(quota) / float(period)
    quota_us = number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us")
    period_us = number("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us")
    return quota_us / period_us if quota_us and period_us and quota_us > 0 else None


def reached() -> list[str]:
    found = []
    for host, port in PLACES:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
            found.append(f"{host}:{port}")
    return found


def status(field: str, pid: str = "self") -> str:
    lines = Path("/proc", pid, "status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{field}:"))


def is_root_writable() -> bool:
    for folder in ("/", "/usr", "/etc", "/opt", "/var"):
        with contextlib.suppress(OSError):
            Path(folder, "doctor-was-here").touch()
            return True
    return False


def is_sandboxed(pid: str) -> bool:
    """A renderer behind Chromium's own sandbox: in a pid namespace of its own, and under a second seccomp filter."""
    with contextlib.suppress(OSError):
        if b"--type=renderer" in Path("/proc", pid, "cmdline").read_bytes():
            own_namespace = os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
            return own_namespace and int(status("Seccomp_filters", pid)) > int(status("Seccomp_filters"))
    return False


def chromium() -> dict[str, object]:
    env = {"HOME": "/home/agent", "PATH": os.environ.get("PATH", ""), "DBUS_SESSION_BUS_ADDRESS": "disabled:"}
    with Path("/tmp/chromium.log").open("w+") as log:  # noqa: S108 - its own tmpfs
        browser = subprocess.Popen(CHROMIUM, stdout=log, stderr=log, env=env)
        end = time.monotonic() + PATIENCE_S
        works = False
        while not works and browser.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
            works = any(is_sandboxed(pid) for pid in os.listdir("/proc") if pid.isdigit())
        browser.kill()
        browser.wait()
        log.seek(0)
        complaints = [line.strip() for line in log if "FATAL" in line or "No usable sandbox" in line]
    return {"works": works, "said": "" if works else " ".join(complaints)[:300]}


report = {
    "limits": {
        "memory": number("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        "pids": number("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"),
        "cpu": cpus(),
    },
    "interfaces": sorted(os.listdir("/sys/class/net")),
    "routes": len(Path("/proc/net/route").read_text().splitlines()) > 1,
    "reached": reached(),
    "capabilities": int(status("CapEff"), 16) | int(status("CapPrm"), 16) | int(status("CapBnd"), 16),
    "no_new_privileges": status("NoNewPrivs") == "1",
    "seccomp": int(status("Seccomp")),
    "root_writable": is_root_writable(),
    "chromium": chromium(),
}
sys.stdout.write(f"\n{json.dumps(report)}\n")
