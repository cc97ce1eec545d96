"""One connection of a session to the internet, from its first byte until it is a tunnel or an answer.

Intake (head, opening) -> NameCheck -> Leg      CONNECT
Intake (head, opening) -> Leg                   plain http
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, cast

from ccdtasks.gateways.authority import Target
from ccdtasks.gateways.http_head import MAX_HEAD_BYTES, BadRequest, Head, connect_target, parse_head, plain_request
from ccdtasks.gateways.namecheck import NameCheck
from ccdtasks.gateways.resolver import Unreachable
from ccdtasks.gateways.rules import Refused
from ccdtasks.gateways.tunnel import Leg

if TYPE_CHECKING:
    from ccdtasks.gateways.egress import ServedEgress

_log = logging.getLogger(__name__)

_REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
}


class Intake(asyncio.Protocol):
    """Reads what the client wants, asks the door, and hands over to a tunnel or answers why not."""

    def __init__(self, door: ServedEgress, handshake_timeout_s: float) -> None:
        self.target: Target | None = None
        self.quiet_sweeps = 0
        self._door = door
        self._timeout_s = handshake_timeout_s
        self._buffer = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._opening: asyncio.Task[None] | None = None
        self._legs: tuple[Leg, ...] = ()
        self._transport: asyncio.Transport

    @property
    def moved_bytes(self) -> int:
        """Grows as long as the connection is of use."""
        return sum(leg.moved_bytes for leg in self._legs)

    def abort(self) -> None:
        """Cuts the connection, whatever it is doing."""
        self._transport.abort()

    def answer(self, status: int, text: str) -> None:
        """Sends a short answer for people to read, and closes."""
        self._stop_timer()
        if self._transport.is_closing():
            return
        body = f"ccdtasks: {text}\n".encode()
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self._transport.write(head.encode() + body)
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(
            self._timeout_s, self.answer, 408, "The request was not complete in time."
        )
        self._door.entered(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._opening is not None or self._transport.is_closing():
            return
        end = self._buffer.find(b"\r\n\r\n")
        if end > MAX_HEAD_BYTES or (end < 0 and len(self._buffer) > MAX_HEAD_BYTES):
            self.answer(431, f"The head of a request may have {MAX_HEAD_BYTES} bytes.")
        elif end >= 0:
            self._stop_timer()
            self._transport.pause_reading()
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            self._opening = asyncio.get_running_loop().create_task(self._open(head))

    def pause_writing(self) -> None:
        for leg in self._legs[:1]:
            leg.pause_writing()

    def resume_writing(self) -> None:
        for leg in self._legs[:1]:
            leg.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._opening is not None:
            self._opening.cancel()
        self._gone()

    async def _open(self, raw: bytes) -> None:
        try:
            head = parse_head(raw)
            if head.method == "CONNECT":
                await self._open_tunnel(head)
            else:
                await self._open_plain(head)
        except BadRequest as error:
            self.answer(400, str(error))
        except Refused as error:
            self._door.refused(error.refusal)
            self.answer(403, error.refusal.text)
        except Unreachable as error:
            self.answer(502, str(error))
        except OSError as error:
            self.answer(502, f"{self.target} does not answer ({error.strerror or 'no answer in time'}).")
        except Exception:
            _log.exception("egress: a connection failed")
            self.abort()

    async def _open_tunnel(self, head: Head) -> None:
        self.target = target = connect_target(head)
        upstream = await self._door.open(target, usual_port=443)
        self._transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        client = Leg(self._door.count_out, on_lost=self._gone)
        await self._join(client, Leg(self._door.count_in), upstream)
        check = NameCheck(
            target,
            client,
            self._door.refused,
            private=self._door.opens_private(target),
            timeout_s=self._timeout_s,
        )
        check.take_over(self._transport, bytes(self._buffer))
        self._transport.resume_reading()

    async def _open_plain(self, head: Head) -> None:
        request = plain_request(head)
        self.target = request.target
        upstream = await self._door.open(request.target, usual_port=80)
        client = Leg(self._door.count_out, half_close=False, limit_bytes=request.body_bytes, on_lost=self._gone)
        server = Leg(self._door.count_in, half_close=False)
        await self._join(client, server, upstream)
        self._door.count_out(len(request.head))
        server.write(request.head)
        self._transport.set_protocol(client)
        if self._buffer:
            client.data_received(bytes(self._buffer))
        self._transport.resume_reading()

    async def _join(self, client: Leg, server: Leg, upstream: socket.socket) -> None:
        client.connection_made(self._transport)
        client.join(server)
        self._legs = (client, server)
        try:
            await asyncio.get_running_loop().create_connection(lambda: server, sock=upstream)
        except BaseException:
            upstream.close()
            raise

    def _gone(self) -> None:
        self._door.left(self)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
