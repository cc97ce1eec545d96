"""A bare Debian with systemd as its first process, in a container of the test's own."""

from __future__ import annotations

import os
import shlex
import subprocess
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.surface.repository import ROOT, files

CHECKOUT = "/root/ccdtasks"
_BOOT_S = 60
# What a container inside a container cannot have, and no ordinary machine needs to be told.
_CONTAINERS_CONF = """
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=1024:{files}", "nproc=30000:30000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
"""
_NO_REGISTRY = """
[[registry]]
location = "docker.io"
blocked = true
"""
_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class Machine:
    """`name` is the container's."""

    name: str

    def run(self, command: str, *, ok: bool = True, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
        """A shell command as root in there, its two outputs in one."""
        done = subprocess.run(
            ["podman", "exec", self.name, "bash", "-c", command],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=timeout_s,
        )
        assert not ok or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done

    def says(self, command: str) -> str:
        return self.run(command).stdout.strip()

    def write(self, path: str, text: str) -> None:
        self.run(f"mkdir -p {shlex.quote(str(Path(path).parent))} && cat > {shlex.quote(path)} <<'END'\n{text}\nEND")

    def as_user(self, user: str, command: str) -> str:
        """The command line that runs `command` as `user`, with what a login would give."""
        environment = "PODMAN_IGNORE_CGROUPSV1_WARNING=1 "  # from the machine around this one, and not what is tested
        environment += f"HOME=$(getent passwd {user} | cut -d: -f6) XDG_RUNTIME_DIR=/run/user/$(id -u {user})"
        return f"cd / && runuser -u {user} -- env {environment} bash -c {shlex.quote(command)}"

    def as_service(self, command: str) -> str:
        """As the service's user, in whose Podman the sessions are."""
        return self.as_user("ccdtasks", command)

    def give_image(self, image: str, user: str, name: str, podman: str = "podman") -> None:
        """Loads an image of ours into that user's Podman, under another name."""
        with subprocess.Popen(["podman", "save", image], stdout=subprocess.PIPE) as saving:
            load = ["podman", "exec", "-i", self.name, "bash", "-c", self.as_user(user, f"{podman} load -q")]
            subprocess.run(load, stdin=saving.stdout, check=True, stdout=subprocess.DEVNULL)
        assert saving.returncode == 0
        self.run(self.as_user(user, f"{podman} tag {image} {name}"))


@contextmanager
def bare_machine(release: str) -> Iterator[Machine]:
    """Boots one, with this checkout in `CHECKOUT` and no container registry within reach; gone at the end.

    `release`: its code name.
    """
    image = subprocess.run(
        [ROOT / "tests/setup/bare-debian", release], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    name = f"ccdtest-bare-{uuid.uuid4().hex[:12]}"
    command = ["podman", "run", "--detach", "--name", name, "--privileged", "--systemd=always", "--network", "host"]
    # Podman's storage inside must not lie on the overlay that this container is made of.
    command += [
        "--tmpfs",
        "/run",
        "--tmpfs",
        "/tmp",
        "--volume",
        f"{name}:/var/lib/ccdtasks",
        "--volume",
        f"{name}-home:/home",
    ]
    command += [image, "/sbin/init"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    try:
        machine = Machine(name)
        _wait_for_boot(machine)
        _copy_checkout(machine)
        soft_files = min(20_000, os.sysconf("SC_OPEN_MAX"))
        machine.write("/etc/containers/containers.conf", _CONTAINERS_CONF.format(files=soft_files))
        machine.write("/etc/containers/registries.conf", _NO_REGISTRY)
        subprocess.run(["podman", "cp", _CA_BUNDLE, f"{name}:{_CA_BUNDLE}"], check=True)
        yield machine
    finally:
        subprocess.run(["podman", "rm", "--force", "--time", "5", name], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(
            ["podman", "volume", "rm", "--force", name, f"{name}-home"], check=True, stdout=subprocess.DEVNULL
        )


def _wait_for_boot(machine: Machine) -> None:
    deadline = time.monotonic() + _BOOT_S
    while (state := machine.run("systemctl is-system-running --wait", ok=False).stdout.strip()) not in (
        "running",
        "degraded",
    ):
        assert time.monotonic() < deadline, f"systemd says {state}"
        time.sleep(0.2)


def _copy_checkout(machine: Machine) -> None:
    with tempfile.NamedTemporaryFile(suffix=".tar") as tar:
        with tarfile.open(tar.name, "w") as archive:
            for file in files():
                archive.add(file, f"{CHECKOUT}/{file.relative_to(ROOT)}")
        subprocess.run(["podman", "exec", "-i", machine.name, "tar", "x", "-C", "/"], stdin=tar.file, check=True)
