"""Checks of the machine itself: disk, clock, and what rootless containers need of it."""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from ccdtasks.doctor.finding import Finding, fail, ok, warn
from ccdtasks.times import Clock, size_text

_FULL_BYTES = 1 << 30
_TIGHT_BYTES = 5 << 30
_EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)


def disk(data_dir: Path) -> Finding:
    """Whether the data folder can be written and has room for runs."""
    there = next(path for path in (data_dir, *data_dir.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return fail("disk", f"{there} cannot be written by this user.", "check [paths] data_dir, and run as its owner")
    free_bytes = shutil.disk_usage(there).free
    text = f"{size_text(free_bytes)} are free for {data_dir}."
    if free_bytes < _FULL_BYTES:
        return fail("disk", text, "make room: a run may need several hundred megabytes")
    return warn("disk", text, "make room soon") if free_bytes < _TIGHT_BYTES else ok("disk", text)


async def time_of_day(clock: Clock) -> Finding:
    """Whether the clock is plausible, and kept so by the system."""
    now = clock.now()
    text = f"The clock says {now.astimezone():%Y-%m-%d %H:%M %Z}"
    if now < _EARLIEST:
        return fail("clock", f"{text}, which is long past.", "set it: timedatectl set-ntp true")
    synced = True if _timesyncd_says_so() else await _asks_timedatectl()
    if synced is None:
        return ok("clock", f"{text}; this system does not say whether it is synchronised.")
    if not synced:
        return warn("clock", f"{text}, and nothing keeps it right.", "timedatectl set-ntp true")
    return ok("clock", f"{text}, kept right by the system.")


def _timesyncd_says_so() -> bool:
    return os.path.exists("/run/systemd/timesync/synchronized")


async def _asks_timedatectl() -> bool | None:
    try:
        process = await asyncio.create_subprocess_exec(
            *("timedatectl", "show", "--property=NTPSynchronized", "--value"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(5):
            out, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    return {b"yes": True, b"no": False}.get(out.strip())


def rootless_user(uid: int | None = None, root: Path = Path("/")) -> Iterator[Finding]:
    """What an ordinary user needs to run containers that outlive the login. `root`: where /etc and /var lie."""
    if (uid if uid is not None else os.getuid()) == 0:
        return
    user = getpass.getuser()
    for file in ("subuid", "subgid"):
        path = root / "etc" / file
        if not path.exists() or not any(line.startswith(f"{user}:") for line in path.read_text().splitlines()):
            yield fail(
                "user",
                f"{user} has no range in /etc/{file}, so containers cannot have users of their own.",
                f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}, then: podman system migrate",
            )
    if (root / "run/systemd/system").exists() and not (root / "var/lib/systemd/linger" / user).exists():
        yield warn(
            "user", f"Containers of {user} end when {user} logs out: linger is off.", f"loginctl enable-linger {user}"
        )
