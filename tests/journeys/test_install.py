"""`./install.sh` on a bare Debian 12 and 13: what somebody has who never saw this before."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from tests.doubles.podman import SESSION_IMAGE, require_image
from tests.journeys.bare_machine import CHECKOUT, Machine, bare_machine

pytestmark = [
    pytest.mark.systemd,
    pytest.mark.image,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="a machine that boots in a container needs root"),
]
INSTALL = f"{CHECKOUT}/install.sh"
SESSION_IN_USE = "localhost/ccdtasks-session:latest"


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Debian 12 has Podman 4.3 and Python 3.11, Debian 13 has Podman 5.4 and Python 3.13."""
    require_image()
    with bare_machine(request.param) as machine:
        yield machine


@pytest.fixture(scope="module")
def first_try(machine: Machine) -> str:
    """Fails: the base image of the session cannot be pulled."""
    done = machine.run(INSTALL, ok=False)
    assert done.returncode == 1, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def installed(machine: Machine, first_try: str) -> str:
    """What the command said that succeeded, once the session image was there."""
    machine.give_image(SESSION_IMAGE, "ccdtasks", SESSION_IN_USE)
    return machine.says(INSTALL)


def _property(machine: Machine, name: str, unit: str = "ccdtasks") -> str:
    return machine.says(f"systemctl show {unit} --property {name} --value")


def test_says_what_stopped_it(first_try: str) -> None:
    assert "error: the session image could not be built" in first_try
    assert "run ./install.sh again" in first_try
    assert "Traceback" not in first_try


def test_the_service_runs_and_starts_at_boot(machine: Machine, installed: str) -> None:
    assert "ccdtasks is installed and running" in installed
    assert machine.says("systemctl is-enabled ccdtasks") == "enabled"
    assert machine.says("systemctl is-active ccdtasks") == "active"
    assert _property(machine, "Type") == "notify"
    assert _property(machine, "User") == "ccdtasks"


def test_the_doctor_has_the_last_word(installed: str) -> None:
    report = installed.split("What the doctor says", 1)[1]
    assert "Podman" in report
    assert "rootless" in report
    assert "overlay" in report


def test_commands_are_typed_as_the_services_user(machine: Machine, installed: str) -> None:
    made = machine.says("cd / && sudo -u ccdtasks ccdtasks task create mine 'Look at {url}' 2>&1")
    assert made == "✓ mine is ready. It needs url. Start it: ccdtasks run mine url=... --wait"
    found = machine.run("cd / && sudo -u ccdtasks ccdtasks doctor", ok=False).stdout
    assert "rootless" in found
    assert "act as that user: sudo -u ccdtasks ccdtasks ..." in machine.says("ccdtasks task list 2>&1")


def test_what_python_compiled_for_the_service_is_kept(machine: Machine, installed: str) -> None:
    assert machine.says("find /var/cache/ccdtasks/python -name 'app*.opt-2.pyc' | grep ccdtasks/app") != ""


def test_the_configuration_is_for_the_service_alone(machine: Machine, installed: str) -> None:
    assert machine.says("stat -c '%a %U %G' /etc/ccdtasks/config.toml") == "640 root ccdtasks"
    assert machine.says("stat -c '%a %U' /var/lib/ccdtasks") == "700 ccdtasks"


def test_limits_are_delegated_and_the_user_lingers(machine: Machine, installed: str) -> None:
    uid = machine.says("id -u ccdtasks")
    assert machine.says(f"loginctl show-user {uid} --property Linger --value") == "yes"
    delegated = machine.says(f"systemctl show user@{uid} --property DelegateControllers --value").split()
    assert {"cpu", "cpuset", "io", "memory", "pids"} <= set(delegated)


def test_the_unit_is_sound_and_tight(machine: Machine, installed: str) -> None:
    assert machine.says("systemd-analyze verify ccdtasks.service 2>&1") == ""
    machine.run("systemd-analyze security --threshold=25 --no-pager ccdtasks.service")


def test_sessions_outlive_the_service(machine: Machine, installed: str) -> None:
    podman = "podman --url unix:///run/user/$(id -u)/podman/podman.sock"
    run = f"{podman} run --detach --network none --entrypoint sleep {SESSION_IN_USE} 600"
    container = machine.says(machine.as_service(run)).splitlines()[-1]
    machine.run("systemctl restart ccdtasks")
    assert machine.says("systemctl is-active ccdtasks") == "active"
    state = machine.as_service(f"podman inspect --format '{{{{.State.Status}}}}' {container}")
    assert machine.says(state) == "running"
    machine.run(machine.as_service(f"podman rm --force --time 0 {container}"))


def test_running_it_again_changes_nothing_of_yours(machine: Machine, installed: str) -> None:
    machine.run("echo '# mine' >> /etc/ccdtasks/config.toml")
    before = machine.says("id ccdtasks; cat /etc/subuid /etc/subgid; md5sum /etc/ccdtasks/config.toml")
    assert "ccdtasks is installed and running" in machine.says(INSTALL)
    assert machine.says("id ccdtasks; cat /etc/subuid /etc/subgid; md5sum /etc/ccdtasks/config.toml") == before
    assert machine.says("systemctl is-active ccdtasks") == "active"


def test_comes_back_after_a_crash(machine: Machine, installed: str) -> None:
    machine.run("systemctl kill --signal KILL --kill-whom main ccdtasks")
    # systemd waits 30 s by our unit; what is told here is that it will, not when.
    assert _becomes(machine, "SubState", {"auto-restart", "running"})
    machine.run("systemctl restart ccdtasks")


def test_a_wrong_configuration_is_not_tried_again_and_again(machine: Machine, installed: str) -> None:
    machine.run("cp -p /etc/ccdtasks/config.toml /root/good.toml && echo '[limits' >> /etc/ccdtasks/config.toml")
    started = machine.run("systemctl restart ccdtasks", ok=False)
    assert started.returncode != 0
    assert _becomes(machine, "ActiveState", {"failed"})
    assert _property(machine, "ExecMainStatus") == "78"
    log = machine.says("journalctl -u ccdtasks -n 20 --no-pager")
    assert "config.toml is not valid TOML" in log
    machine.run("cp -p /root/good.toml /etc/ccdtasks/config.toml && systemctl restart ccdtasks")


def test_somebody_else_on_that_machine_sees_the_demonstration(machine: Machine, installed: str) -> None:
    machine.run("useradd --create-home alice && loginctl enable-linger alice")
    machine.run(f"cp -r {CHECKOUT} /home/alice/ccdtasks && chown -R alice: /home/alice/ccdtasks")
    assert _becomes(machine, "ActiveState", {"active"}, unit="user@$(id -u alice)")
    demo = machine.as_user("alice", "~/ccdtasks/install.sh --demo")
    assert "could not be built" in machine.run(demo, ok=False).stdout  # no registry, and his storage is empty

    podman = "XDG_DATA_HOME=~/ccdtasks/.cache/demo-data STORAGE_DRIVER=overlay podman"
    machine.give_image(SESSION_IMAGE, "alice", SESSION_IN_USE, podman)
    shown = machine.says(demo)
    assert "graph driver" not in shown
    assert "The run completed, with evidence." in shown
    assert "A script plays Claude here" in shown
    assert machine.says("ls -A /home/alice/.local 2>/dev/null | wc -l") == "0", (
        "something was left outside of the checkout"
    )
    assert machine.says("systemctl is-active ccdtasks") == "active"


def test_goes_away_and_leaves_your_data(machine: Machine, installed: str) -> None:
    said = machine.says(f"{INSTALL} --uninstall")
    assert "/var/lib/ccdtasks" in said
    assert machine.run("systemctl cat ccdtasks", ok=False).returncode != 0
    assert machine.run("command -v ccdtasks", ok=False).returncode != 0
    machine.run("test -e /etc/ccdtasks/config.toml && test -d /var/lib/ccdtasks")


def _becomes(machine: Machine, name: str, values: set[str], unit: str = "ccdtasks") -> bool:
    deadline = time.monotonic() + 60
    while _property(machine, name, unit) not in values:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
