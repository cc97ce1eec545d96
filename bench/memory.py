"""What `ccdtasks serve` takes: `python -m bench.memory [--sessions 10]`.

The service is a process of its own, in the environment that its systemd unit gives it, with the bot connected to a
Discord on loopback. Printed are the seconds until it says "ready", its resident memory while idle, and with ten
sessions that are alive and talk (scripted guests in real containers: measured is the service, not the browsers).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from ccdtasks.core.access import SHELL
from ccdtasks.db.enums import RunStatus
from tests.doubles.discord_server import DiscordServer
from tests.doubles.podman import guest_image, podman_service
from tests.journeys.service import Instance, instance, start, unit_environment

_STARTS = 5


def resident_mb(pid: int) -> float:
    """RSS in decimal megabytes, as people compare it."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("no VmRSS")


@contextmanager
def _notified(folder: Path):  # type: ignore[no-untyped-def]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(folder / "notify"))
        listener.settimeout(60)
        yield listener
    (folder / "notify").unlink()


async def start_service(box: Instance, listener: socket.socket) -> tuple[subprocess.Popen[bytes], float]:
    """The service and the seconds until it was ready."""
    command = [sys.executable, "-m", "ccdtasks.cli", "--config", str(box.config_path), "serve"]
    env = {**unit_environment(), "NOTIFY_SOCKET": str(box.folder / "notify")}
    began = time.monotonic()
    with (box.folder / "serve.log").open("ab") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    while await asyncio.to_thread(listener.recv, 100) != b"READY=1":
        pass
    return process, time.monotonic() - began


async def main(sessions: int) -> None:
    with tempfile.TemporaryDirectory(prefix="ccdb-") as folder, podman_service(Path(folder) / "p.sock") as podman:
        async with DiscordServer(answer_within_s=30) as discord:
            with instance(podman, guest_image(), {"discord": discord.config}) as box, _notified(box.folder) as listener:
                ready = []
                for _ in range(_STARTS):
                    process, took = await start_service(box, listener)
                    ready.append(took)
                    process.terminate()
                    await asyncio.to_thread(process.wait)
                process, _ = await start_service(box, listener)
                await discord.connected()
                await asyncio.sleep(5)
                idle = resident_mb(process.pid)
                median_s = statistics.median(ready[1:])
                load = os.getloadavg()[0]
                print(f"ready in {median_s:.2f} s (median of {len(ready) - 1}; load {load:.1f}; 2.5 wanted)")
                print(f"idle, bot connected: {idle:.0f} MB resident (at most 110 wanted)")
                busy = await _with_sessions(box, process.pid, sessions)
                print(f"with {sessions} sessions: {busy:.0f} MB resident (at most 200 wanted)")
                process.terminate()
                await asyncio.to_thread(process.wait)


async def _with_sessions(box: Instance, pid: int, sessions: int) -> float:
    async with box.core() as core:
        runs = [await start(core, f"talker-{number}", "behave: works-on") for number in range(sessions)]
        while not all([(await core.runs.load(run)).run.status is RunStatus.RUNNING for run in runs]):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        most = 0.0
        for _ in range(40):
            most = max(most, resident_mb(pid))
            await asyncio.sleep(0.25)
        for run in runs:
            await core.runs.stop(SHELL, str(run), force=True)
        while not all([(await core.runs.load(run)).run.completed_at for run in runs]):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        await asyncio.sleep(2)
        return most


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=10)
    asyncio.run(main(parser.parse_args().sessions))
