"""What the engine adds to a start, as a ratio from one interleaved run: `python -m bench.start_overhead [--rounds 6]`.

From the moment a run's row is written to the CLI's first request to the model, against the same container and CLI
started by a plain `podman run` with the same seal, its folder and sockets made by hand. Both reach the same stand-in
for the model, which answers at once; the container is stopped after its first request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from ccdtasks.adapters.seccomp import write_session_profile
from ccdtasks.app import open_core
from ccdtasks.config import ClaudeConfig, Config, LimitsConfig, PathsConfig, PodmanConfig
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.demo.shop import served
from ccdtasks.engine.assembly import open_parts
from ccdtasks.engine.dispatcher import Dispatcher
from tests.doubles.messages_api import MessagesApi, say
from tests.doubles.podman import SESSION_IMAGE, podman_service
from tests.session.sealed import job


async def by_engine(core: Core, model: MessagesApi, name: str) -> float:
    """Seconds from the run's row to the first request; then the run is stopped and waited for."""
    await core.tasks.create(SHELL, TaskDraft(name, "Find mugs", config={"retries": {"attempts": 1}}))
    seen = len(model.asked)
    began = time.monotonic()
    run = (await core.runs.start(SHELL, name)).run
    await model.wait_for(seen + 1)
    took = time.monotonic() - began
    await core.runs.stop(SHELL, str(run.id), force=True)
    while (view := await core.runs.load(run.id)).session is None or view.session.removed_at is None:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return took


async def by_script(folder: Path) -> float:
    """Seconds from making the folder to the first request, by hand."""
    model = MessagesApi(say("Done."))
    name = f"ccdbench-{uuid4().hex[:12]}"
    began = time.monotonic()
    place = folder / name[-6:]
    for part, mode in (("host", 0o755), ("guest", 0o777)):
        (place / part).mkdir(parents=True)
        (place / part).chmod(mode)
    (place / "host/job.json").write_text(json.dumps(job()))
    await model.start(place / "host/model.sock")
    process = await asyncio.create_subprocess_exec(
        *_podman_run(name, place, folder / "seccomp.json"), stdout=subprocess.DEVNULL
    )
    await process.wait()
    await model.wait_for(1)
    took = time.monotonic() - began
    await (await asyncio.create_subprocess_exec("podman", "rm", "-ft0", name, stdout=subprocess.DEVNULL)).wait()
    await model.stop()
    shutil.rmtree(place)
    return took


def _podman_run(name: str, place: Path, profile: Path) -> list[str]:
    return [
        "podman", "run", "--detach", "--name", name, "--network", "none", "--cap-drop", "all", "--read-only",
        "--read-only-tmpfs=false", "--security-opt", "no-new-privileges", "--security-opt", f"seccomp={profile}",
        "--user", "2000:2000", "--ipc", "private", "--http-proxy=false", "--shm-size", "1g", "--pids-limit", "1024",
        "--memory", "3g", "--memory-swap", "3g", "--cpus", "2", "--ulimit", "nofile=4096:8192",
        "--ulimit", "nproc=4096:4096", "--log-driver", "k8s-file",
        "--mount", "type=tmpfs,destination=/tmp,tmpfs-size=512m,U=true",
        "--mount", "type=tmpfs,destination=/home/agent,tmpfs-size=1g,U=true",
        "--volume", f"{place}/host:/run/ccdtasks/host:ro", "--volume", f"{place}/guest:/run/ccdtasks/guest:rw",
        SESSION_IMAGE,
    ]  # fmt: skip


@asynccontextmanager
async def engine(folder: Path, model_port: int) -> AsyncIterator[Core]:
    """A core with a running dispatcher over a Podman service of its own."""
    with podman_service(folder / "p.sock") as socket:
        config = Config(
            claude=ClaudeConfig(api_key="sk-ant-api03-bench", base_url=f"http://127.0.0.1:{model_port}"),
            podman=PodmanConfig(socket=f"unix://{socket}", image=SESSION_IMAGE),
            paths=PathsConfig(data_dir=folder / "d"),
            limits=LimitsConfig(starts_per_minute=10_000),
        )
        config.paths.data_dir.mkdir()
        async with open_core(config) as core, open_parts(core) as parts:
            dispatcher = asyncio.create_task(Dispatcher(parts).run())
            yield core
            dispatcher.cancel()
            await asyncio.gather(dispatcher, return_exceptions=True)


async def main(rounds: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="ccdb-"))
    write_session_profile(folder / "seccomp.json")
    model = MessagesApi(say("Done."))
    times: dict[str, list[float]] = {"engine": [], "script": []}
    try:
        async with served(model.app()) as port, engine(folder, port) as core:
            for round_ in range(rounds + 1):  # the first warms the page cache
                one, other = await by_engine(core, model, f"bench-{round_}"), await by_script(folder)
                if round_:
                    times["engine"].append(one)
                    times["script"].append(other)
                    print(f"round {round_}: engine {one:.2f} s, script {other:.2f} s")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    engine_s, script_s = (statistics.median(times[name]) for name in ("engine", "script"))
    ratio = statistics.median(a / b for a, b in zip(times["engine"], times["script"], strict=True))
    load = os.getloadavg()[0]
    print(f"row to first model request: {engine_s:.2f} s; plain podman run: {script_s:.2f} s; load {load:.1f}")
    print(f"start overhead: {ratio:.2f} times (median of the rounds' ratios; at most 1.15 wanted)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    asyncio.run(main(parser.parse_args().rounds))
