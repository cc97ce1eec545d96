"""Podman through podman-py: off the event loop, each call bounded in time, each error said in our words."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from ccdtasks.adapters.containers import (
    ContainerSpec,
    ContainerState,
    create_body,
    state_from_inspect,
    state_from_list,
)
from ccdtasks.adapters.podman_client import api_client_class
from ccdtasks.counters import Counters
from ccdtasks.errors import Conflict, Unavailable

if TYPE_CHECKING:
    from podman.api.client import APIClient, APIResponse

_API_VERSION = "4.0.0"
"""The oldest libpod API that servers 4.3 to 5.x all speak."""

_THREADS = 8
_GRACE_S = 5.0
_LOG_BYTES_MAX = 8 << 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PodmanInfo:
    """What kind of Podman answers."""

    version: str
    rootless: bool
    storage_driver: str
    cgroup_version: str
    socket: str
    runtime: str
    seccomp_profile: str


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """A local image."""

    image_id: str
    size_bytes: int
    labels: Mapping[str, str]


def find_socket(configured: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """The path of Podman's socket: the configured one, else the user's own, else the system's."""
    if configured:
        return configured.removeprefix("unix://")
    candidates = [Path("/run/podman/podman.sock")]
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        candidates.insert(0, Path(runtime) / "podman/podman.sock")
    elif os.getuid() != 0:
        candidates.insert(0, Path(f"/run/user/{os.getuid()}/podman/podman.sock"))
    return str(next((path for path in candidates if _is_socket(path)), candidates[0]))


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False


class Podman:
    """The containers of one Podman server. Every method may raise `Unavailable("podman")`: that says nothing about
    any container. Absent is success for `stop`, `kill` and `remove`. `call_timeout_s` bounds what only looks;
    what works (create, start, remove) may take six times as long on a busy box with a cold disk.
    """

    def __init__(self, socket: str, call_timeout_s: float = 10.0, counters: Counters | None = None) -> None:
        self.socket = socket
        self._counters = counters or Counters()
        self._look_timeout_s = call_timeout_s
        self._work_timeout_s = call_timeout_s * 6
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="podman")
        self._local = threading.local()
        self._clients: list[APIClient] = []

    async def close(self) -> None:
        """Ends the threads; calls on the way keep their own time limits and are not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        for client in self._clients:
            client.close()

    async def version(self) -> PodmanInfo:
        """Asks the server what it is."""
        info = (await self._get("/info")).json()
        host = info["host"]
        return PodmanInfo(
            version=info["version"]["Version"],
            rootless=bool(host["security"]["rootless"]),
            storage_driver=info["store"]["graphDriverName"],
            cgroup_version=host["cgroupVersion"],
            socket=self.socket,
            runtime=host.get("ociRuntime", {}).get("name", ""),
            seccomp_profile=host["security"].get("seccompProfilePath", ""),
        )

    async def create(self, spec: ContainerSpec) -> str:
        """Creates the container and returns its id; the one that is there already when it is the same one.

        Raises `Conflict` when the name belongs to a container with other labels.
        """
        answer = await self._call(_create, create_body(spec), timeout_s=self._work_timeout_s)
        if answer.status_code == 201:
            return str(answer.json()["Id"])
        cause, message = _reason(answer)
        if "image not known" in cause or "no such image" in message.lower():
            raise _image_missing(spec.image)
        # Podman answers a name in use with 500, so look instead of trusting the status.
        present = await self.inspect(spec.name)
        if present is None:
            raise _refused(message)
        if any(present.labels.get(key) != value for key, value in spec.labels.items()):
            raise Conflict(
                f"The container name {spec.name} is taken by another container.",
                f"Look at it with `podman inspect {spec.name}` and remove it if it is not needed.",
            )
        return present.container_id

    async def start(self, name: str) -> None:
        """Starts it; a running one is left alone."""
        answer = await self._call(_post, f"/containers/{quote(name)}/start", timeout_s=self._work_timeout_s)
        _expect(answer, 204, 304)

    async def stop(self, name: str) -> None:
        """Asks the container to end (SIGTERM) and returns at once; it may take its time to collect."""
        await self._signal(name, "TERM")

    async def kill(self, name: str) -> None:
        """Ends the container now."""
        await self._signal(name, "KILL")

    async def remove(self, name: str) -> None:
        """Removes the container, running or not, with its logs."""
        path = f"/containers/{quote(name)}"
        params = {"force": "true", "v": "true", "timeout": "0"}
        answer = await self._call(_delete, path, params, timeout_s=self._work_timeout_s)
        _expect(answer, 200, 204, 404, 409)

    async def inspect(self, name: str) -> ContainerState | None:
        """The container's present state, None when there is none of that name."""
        answer = await self._get(f"/containers/{quote(name)}/json", absent_is_fine=True)
        return None if _is_absent(answer) else state_from_inspect(answer.json())

    async def list(self, instance_id: str) -> list[ContainerState]:
        """All containers, in any state, that carry this instance's label."""
        filters = json.dumps({"label": [f"ccdtasks.instance={instance_id}"]})
        answer = await self._get("/containers/json", {"all": "true", "filters": filters})
        return [state_from_list(entry) for entry in answer.json() or ()]

    async def image(self, name: str) -> ImageInfo | None:
        """The local image of that name, None when there is none."""
        answer = await self._get(f"/images/{quote(name, safe='/:@')}/json", absent_is_fine=True)
        if _is_absent(answer):
            return None
        data = answer.json()
        return ImageInfo(data["Id"], int(data["Size"]), data.get("Labels") or {})

    async def logs(self, name: str, tail_lines: int = 500) -> str:
        """The last lines that the container wrote to its standard streams; empty when it is gone."""
        params = {"stdout": "true", "stderr": "true", "tail": str(tail_lines)}
        answer = await self._get(f"/containers/{quote(name)}/logs", params, absent_is_fine=True)
        return "" if _is_absent(answer) else _demultiplex(answer.content[:_LOG_BYTES_MAX])

    async def _signal(self, name: str, signal: str) -> None:
        answer = await self._call(_post, f"/containers/{quote(name)}/kill", {"signal": signal})
        if "container state improper" not in _reason(answer)[0]:  # it is not running: what we wanted
            _expect(answer, 204, 404, 409)

    async def _get(
        self, path: str, params: Mapping[str, str] | None = None, *, absent_is_fine: bool = False
    ) -> APIResponse:
        answer = await self._call(_get, path, params)
        if not (absent_is_fine and _is_absent(answer)):
            _expect(answer, 200)
        return answer

    async def _call(self, function: Callable[..., T], *arguments: Any, timeout_s: float | None = None) -> T:
        """Runs one request in our own pool: the socket's time limit ends the thread, ours holds even when it fails."""

        limit_s = timeout_s or self._look_timeout_s

        def work() -> T:
            return function(self._client(), *arguments, timeout=limit_s)

        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limit_s + _GRACE_S):
                answer = await loop.run_in_executor(self._executor, work)
            self._count(function, "answered")
            return answer
        except TimeoutError:
            self._count(function, "silent")
            raise _silent(self.socket, limit_s) from None
        except OSError as error:  # podman-py's APIError is one, whatever happened below it
            self._count(function, "failed")
            raise self._translated(error, limit_s) from error

    def _count(self, function: Callable[..., Any], outcome: str) -> None:
        self._counters.add("podman_calls", kind=function.__name__.strip("_"), outcome=outcome)

    def _client(self) -> APIClient:
        client: APIClient | None = getattr(self._local, "client", None)
        if client is None:
            client = api_client_class()(base_url=f"unix://{self.socket}", version=_API_VERSION)
            self._local.client = client
            self._clients.append(client)
        return client

    def _translated(self, error: BaseException, timeout_s: float) -> Unavailable:
        chain: list[BaseException] = []
        step: BaseException | None = error
        while step is not None and step not in chain:
            chain.append(step)
            step = step.__cause__ or step.__context__
        if any(isinstance(link, TimeoutError) or "timed out" in str(link).lower() for link in chain):
            return _silent(self.socket, timeout_s)
        if any(isinstance(link, FileNotFoundError) for link in chain):
            return Unavailable(
                "podman",
                f"Podman's socket {self.socket} is not there.",
                "Start it: `systemctl --user enable --now podman.socket`, as root without `--user`.",
            )
        if any(isinstance(link, PermissionError) for link in chain):
            return Unavailable(
                "podman",
                f"This user may not use Podman's socket {self.socket}.",
                "Run ccdtasks as the socket's owner, or set `[podman] socket` to this user's own.",
            )
        if any(isinstance(link, ConnectionRefusedError) for link in chain):
            return Unavailable(
                "podman",
                f"Nobody answers on Podman's socket {self.socket}.",
                "Restart it: `systemctl --user restart podman.socket`, as root without `--user`.",
            )
        return Unavailable("podman", "The connection to Podman broke off.", "It is tried again by itself.")


def _get(client: APIClient, path: str, params: Mapping[str, str] | None, timeout: float) -> APIResponse:
    return client.get(path, params=params, timeout=timeout)


def _post(client: APIClient, path: str, params: Mapping[str, str] | None = None, *, timeout: float) -> APIResponse:
    return client.post(path, params=params, timeout=timeout)


def _delete(client: APIClient, path: str, params: Mapping[str, str], timeout: float) -> APIResponse:
    return client.delete(path, params=params, timeout=timeout)


def _create(client: APIClient, body: dict[str, Any], timeout: float) -> APIResponse:
    headers = {"Content-Type": "application/json"}
    return client.post("/containers/create", data=json.dumps(body), headers=headers, timeout=timeout)


def _expect(answer: APIResponse, *statuses: int) -> None:
    if answer.status_code not in statuses:
        raise _refused(_reason(answer)[1])


def _is_absent(answer: APIResponse) -> bool:
    """Whether there is no such thing; one that is being removed at this moment is a 500 with the same cause."""
    return answer.status_code == 404 or _reason(answer)[0] == "no such container"


def _reason(answer: APIResponse) -> tuple[str, str]:
    """Podman's own `cause` and `message`, whatever the body is."""
    if answer.status_code < 400:
        return "", ""
    try:
        body = answer.json()
        return str(body["cause"]), str(body["message"])
    except (ValueError, KeyError, TypeError):
        return "", f"HTTP status {answer.status_code}"


def _refused(message: str) -> Unavailable:
    return Unavailable("podman", f"Podman refused: {message[:300].rstrip('.')}.", "Look at it with `ccdtasks doctor`.")


def _silent(socket: str, timeout_s: float) -> Unavailable:
    return Unavailable("podman", f"Podman did not answer on {socket} within {timeout_s:.0f} s.", "It is tried again.")


def _image_missing(image: str) -> Unavailable:
    return Unavailable("image", f"The session image {image} is not on this machine.", "Run `ccdtasks image build`.")


def _demultiplex(data: bytes) -> str:
    """Podman frames each piece: stream (1 byte), three zeros, length (4 bytes, big-endian)."""
    pieces = []
    position = 0
    while position + 8 <= len(data):
        length = int.from_bytes(data[position + 4 : position + 8], "big")
        pieces.append(data[position + 8 : position + 8 + length])
        position += 8 + length
    return b"".join(pieces).decode("utf-8", "replace")
