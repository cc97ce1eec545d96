"""Runs the session image exactly as sealed as the appliance does, with stand-ins behind its two sockets."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ccdtasks.adapters.seccomp import write_session_profile
from tests.doubles.messages_api import MessagesApi
from tests.session.shop import Shop

IMAGE = os.environ.get("CCDTEST_IMAGE", "localhost/ccdtasks-session:dev")
_PATIENCE_S = 150  # a loaded machine; what is fast is measured elsewhere


def job(**changes: Any) -> dict[str, Any]:
    """A job.json for the shop."""
    session_id = str(uuid.uuid4())
    return {
        "version": 1, "run_id": str(uuid.uuid4()), "session_id": session_id, "attempt": 1, "epoch": 1,
        "task_name": "lamps", "prompt": "Find the price of lamps in {place}", "system_prompt": "",
        "parameters": [{"name": "place", "value": "Kyoto", "description": ""}],
        "model": "claude-sonnet-5", "fallback_model": None, "max_turns": 50, "max_budget_usd": 5.0,
        "credential_kind": "api_key", "credential_dummy": "sk-ant-api03-dummy", "claude_session_id": str(uuid.uuid4()),
        "resume": False, "start_url": None, "timezone": "Europe/Berlin", "locale": "en-US", "chromium_sandbox": True,
        "timeout_s": 300, "human_timeout_s": 300, **changes,
    }  # fmt: skip


@dataclass
class Sealed:
    """A running session, seen from the host."""

    folder: Path
    container: str
    model: MessagesApi
    shop: Shop
    _read: int = 0
    _seen: list[dict[str, Any]] = field(default_factory=list)

    def events(self) -> list[dict[str, Any]]:
        """All events so far."""
        path = self.folder / "guest/events.jsonl"
        if path.exists():
            with path.open("rb") as file:
                file.seek(self._read)
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._read += len(whole)
            self._seen += [json.loads(line) for line in whole.splitlines()]
        return self._seen

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events() if event["type"] == kind]

    async def event(self, kind: str, count: int = 1) -> dict[str, Any]:
        """The `count`-th event of that type, once it is there."""
        async with asyncio.timeout(_PATIENCE_S):
            while len(found := self.of_type(kind)) < count:
                if (self.folder / "guest/exit.json").exists() and len(self.of_type(kind)) < count:
                    raise AssertionError(f"the session ended without {kind}: {self.exit()} {self.events()[-5:]}")
                await asyncio.sleep(0.02)
        return found[count - 1]

    async def control(self, **request: Any) -> dict[str, Any]:
        """Ask the session something over its control socket."""
        reader, writer = await asyncio.open_unix_connection(str(self.folder / "guest/control.sock"))
        writer.write(json.dumps({"id": 1, **request}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        return answer

    def exit(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "guest/exit.json").read_bytes())
        return found

    async def ended(self) -> dict[str, Any]:
        """Wait until the container stopped; `exit.json`, with the container's code as `container_exit_code`."""
        async with asyncio.timeout(_PATIENCE_S):
            code = int(await podman("wait", "--interval", "50ms", self.container))
        return {**self.exit(), "container_exit_code": code}

    async def click_on_vnc(self, x: int, y: int) -> None:
        """Click as a person who holds the desktop: RFB 3.8 on the session's socket."""
        reader, writer = await asyncio.open_unix_connection(str(self.folder / "guest/vnc.sock"))
        assert (await reader.readexactly(12)).startswith(b"RFB 003.008")
        writer.write(b"RFB 003.008\n")
        kinds = await reader.readexactly((await reader.readexactly(1))[0])
        assert kinds == b"\x01"  # no password: the socket's folder is the guard
        writer.write(b"\x01")
        assert await reader.readexactly(4) == bytes(4)
        writer.write(b"\x01")  # shared
        width, height = struct.unpack(">HH", (await reader.readexactly(24))[:4])
        assert (width, height) == (1280, 800)
        for buttons in (0, 1, 0):
            writer.write(struct.pack(">BBHH", 5, buttons, x, y))
        await writer.drain()
        writer.close()

    async def shell(self, *argv: str) -> str:
        """Run a program in the container as the agent's user."""
        return await podman("exec", self.container, *argv)

    async def output(self) -> str:
        """What the session program itself said, stacks of its mistakes among it."""
        return await podman("logs", self.container, with_errors=True)

    async def processes(self) -> list[dict[str, str]]:
        """What runs inside: pid, ppid and command line."""
        listing = await self.shell("ps", "-eo", "pid=,ppid=,args=")
        rows = (line.split(None, 2) for line in listing.splitlines())
        return [{"pid": row[0], "ppid": row[1], "args": row[2]} for row in rows if len(row) == 3]


@asynccontextmanager
async def sealed(folder: Path, model: MessagesApi, **changes: Any) -> AsyncIterator[Sealed]:
    """A session in a container of its own; gone at the end, whatever happened."""
    shop = Shop()
    (folder / "host/job.json").write_text(json.dumps(job(**changes)))
    write_session_profile(folder / "seccomp.json")
    await model.start(folder / "host/model.sock")
    await shop.start(folder / "host/egress.sock")
    name = f"ccdtest-{uuid.uuid4().hex[:12]}"
    try:
        await podman("run", "--detach", "--name", name, *_seal(folder), IMAGE)
        yield Sealed(folder, name, model, shop)
    finally:
        await podman("rm", "--force", "--time", "0", "--ignore", name)
        await model.stop()
        await shop.stop()


def _seal(folder: Path) -> list[str]:
    """Design 3: no network, no capability, nothing writable but memory and `guest/`, Chromium's own sandbox on."""
    return [
        "--network", "none", "--cap-drop", "all", "--security-opt", "no-new-privileges",
        "--security-opt", f"seccomp={folder}/seccomp.json", "--read-only", "--read-only-tmpfs=false",
        "--user", "2000:2000", "--ipc", "private",
        "--mount", "type=tmpfs,destination=/tmp,tmpfs-size=512m,U=true",
        "--mount", "type=tmpfs,destination=/home/agent,tmpfs-size=1g,U=true",
        "--shm-size", "512m", "--memory", "3g", "--memory-swap", "3g", "--pids-limit", "1024",
        "--ulimit", "nofile=4096:8192", "--ulimit", "nproc=4096:4096", "--stop-timeout", "20", "--http-proxy=false",
        "--volume", f"{folder}/host:/run/ccdtasks/host:ro", "--volume", f"{folder}/guest:/run/ccdtasks/guest:rw",
    ]  # fmt: skip


async def podman(*argv: str, with_errors: bool = False) -> str:
    """Run Podman and return what it says, on standard error too if wanted. Raises AssertionError with its complaint."""
    process = await asyncio.create_subprocess_exec(
        "podman", *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, f"podman {argv[0]}: {err.decode()}"
    return (out + err if with_errors else out).decode()
