"""The only way from a session to the internet: an HTTP proxy on a unix socket, which never leads home.

A name is judged (`rules`), resolved once, every address of it judged (`addresses`), and the very address that was
judged is dialled (`resolver`); a TLS connection must ask for the name that was judged (`namecheck`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ccdtasks.gateways.authority import Target
from ccdtasks.gateways.intake import Intake
from ccdtasks.gateways.resolver import Dial, Resolve, SystemResolver, addresses_of, dial, refuse_addresses
from ccdtasks.gateways.rules import EgressPolicy, Refusal, Refused, Rules
from ccdtasks.gateways.sockets import bind_socket, remove_socket, socket_inode
from ccdtasks.times import size_text

__all__ = ["Counts", "EgressGateway", "EgressPolicy", "Refusal", "ServedEgress", "Timeouts"]

_log = logging.getLogger(__name__)

_MAX_TOLD = 200  # distinct refusals reported per session; a page can make up addresses without end
_MAX_NAMES_KEPT = 20_000
_SPARE_CONNECTIONS = 64  # beyond the limit, to be told so
_SWEEPS = 4  # an idle connection is closed after 4 to 5 quarters of the idle time


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a connection may take over each thing, in seconds."""

    handshake_s: float = 20.0
    lookup_s: float = 10.0
    connect_s: float = 15.0
    idle_s: float = 900.0


@dataclass(slots=True)
class Counts:
    """What went through so far. `bytes_in` came from the internet. What the browser calls by itself is not counted."""

    connections: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    names: int = 0
    refusals: int = 0


class EgressGateway:
    """Serves one proxy socket per session.

    `model_hosts`: hosts of the configured model API, refused like the well-known one. `resolve` and `connect` are the
    two ways out of this process: a test stands in for the internet there, behind every check.
    """

    def __init__(
        self,
        *,
        resolve: Resolve | None = None,
        connect: Dial = dial,
        model_hosts: Sequence[str] = (),
        timeouts: Timeouts | None = None,
    ) -> None:
        self._resolve = resolve
        self._connect = connect
        self._model_hosts = tuple(model_hosts)
        self._timeouts = timeouts or Timeouts()

    async def serve(
        self, socket_path: Path, policy: EgressPolicy, on_refusal: Callable[[Refusal], None]
    ) -> ServedEgress:
        """Opens the proxy at `socket_path`. `on_refusal` hears of each distinct refusal once, and must not block.

        Raises Invalid for a policy that cannot be meant, Conflict when something lies at the path.
        """
        served = ServedEgress(
            path=socket_path,
            policy=policy,
            rules=Rules(policy, self._model_hosts),
            on_refusal=on_refusal,
            resolve=self._resolve,
            connect=self._connect,
            timeouts=self._timeouts,
        )
        await served.start()
        return served


class ServedEgress:
    """One session's way to the internet, while it lasts."""

    def __init__(
        self,
        *,
        path: Path,
        policy: EgressPolicy,
        rules: Rules,
        on_refusal: Callable[[Refusal], None],
        resolve: Resolve | None,
        connect: Dial,
        timeouts: Timeouts,
    ) -> None:
        self.counts = Counts()
        self._path = path
        self._policy = policy
        self._rules = rules
        self._on_refusal = on_refusal
        self._system_resolver = SystemResolver()
        self._resolve: Resolve = resolve or self._system_resolver
        self._connect = connect
        self._timeouts = timeouts
        self._intakes: dict[Intake, int] = {}  # -> bytes moved at the last sweep
        self._names: set[str] = set()
        self._told: set[tuple[str, int, str]] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._inode = 0
        self._full = False

    async def start(self) -> None:
        """Listens."""
        loop = asyncio.get_running_loop()
        listener = bind_socket(self._path)
        self._inode = socket_inode(self._path)
        self._server = await loop.create_unix_server(lambda: Intake(self, self._timeouts.handshake_s), sock=listener)
        self._sweep()

    async def close(self) -> None:
        """Cuts everything and removes the socket. Safe to call twice."""
        if self._server is None:
            return
        self._server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for intake in list(self._intakes):
            intake.abort()
        remove_socket(self._path, self._inode)
        self._system_resolver.close()
        self._server = None

    # -- what a connection asks of its session

    def entered(self, intake: Intake) -> None:
        """Takes a new connection in. Far beyond the limit none is even asked what it wants."""
        self._intakes[intake] = 0
        if len(self._intakes) > self._policy.max_connections + _SPARE_CONNECTIONS:
            intake.abort()

    def left(self, intake: Intake) -> None:
        """Forgets a connection. What was refused is told elsewhere, once: a session must not fill our log."""
        if self._intakes.pop(intake, None) is not None and intake.moved_bytes:
            _log.info("egress %s: %s closed after %d bytes", self._path.parent, intake.target, intake.moved_bytes)

    def refused(self, refusal: Refusal) -> None:
        """Counts a refusal and tells of it when it is new."""
        if refusal.quiet:
            return
        self.counts.refusals += 1
        key = (refusal.host, refusal.port, refusal.reason)
        if key not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add(key)
            self._on_refusal(refusal)

    def opens_private(self, target: Target) -> bool:
        """True if the owner opened this very host and port."""
        return self._rules.opens_private(target)

    def count_in(self, size: int) -> None:
        """Adds bytes that came from the internet."""
        self.counts.bytes_in += size
        self._check_bytes()

    def count_out(self, size: int) -> None:
        """Adds bytes that went to the internet."""
        self.counts.bytes_out += size
        self._check_bytes()

    async def open(self, target: Target, usual_port: int) -> socket.socket:
        """A connection to an address of the target that was judged. Raises Refused, Unreachable, OSError."""
        refusal = self._rules.refuse(target, usual_port) or self._refuse_more(target)
        if refusal is not None:
            raise Refused(refusal)
        addresses = await addresses_of(target, self._resolve, self._timeouts.lookup_s)
        refusal = refuse_addresses(target, addresses, self._rules)
        if refusal is not None:
            raise Refused(refusal)
        async with asyncio.timeout(self._timeouts.connect_s):
            upstream = await self._connect(addresses, target.port)
        self.counts.connections += 1
        _log.info("egress %s: %s at %s", self._path.parent, target, upstream.getpeername()[0])
        return upstream

    # -- caps

    def _refuse_more(self, target: Target) -> Refusal | None:
        """Why this session gets nothing new, if its caps are used up; otherwise remembers the name."""
        host, port = target.host, target.port
        limit = self._policy.max_connections
        if len(self._intakes) > limit:
            text = f"This session has {limit} connections open and may have no more."
            return Refusal(host, port, "too_many_connections", text)
        if self._full:
            return Refusal(host, port, "too_many_bytes", self._full_text())
        if target.literal is None and host not in self._names:
            limit = min(self._policy.max_names or _MAX_NAMES_KEPT, _MAX_NAMES_KEPT)
            if len(self._names) >= limit:
                text = f"This session asked for {limit} different names and may ask for no more."
                return Refusal(host, port, "too_many_names", text)
            self._names.add(host)
            self.counts.names = len(self._names)
        return None

    def _check_bytes(self) -> None:
        limit = self._policy.max_bytes
        if limit is None or self._full or self.counts.bytes_in + self.counts.bytes_out <= limit:
            return
        self._full = True
        self.refused(Refusal("", 0, "too_many_bytes", self._full_text()))
        for intake in list(self._intakes):
            intake.abort()

    def _full_text(self) -> str:
        return f"This session has moved {size_text(self._policy.max_bytes or 0)}, all that it may."

    def _sweep(self) -> None:
        """Closes connections that moved nothing for the idle time; costs the busy ones nothing."""
        for intake, moved_bytes in list(self._intakes.items()):
            if intake.moved_bytes == moved_bytes:
                intake.quiet_sweeps += 1
            else:
                intake.quiet_sweeps = 0
                self._intakes[intake] = intake.moved_bytes
            if intake.quiet_sweeps > _SWEEPS:
                intake.abort()
        self._sweeper = asyncio.get_running_loop().call_later(self._timeouts.idle_s / _SWEEPS, self._sweep)
