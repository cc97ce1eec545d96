"""Lets a TLS connection through only if it asks the server for the name that was checked.

Otherwise `CONNECT allowed.example` could talk to any other site of the same provider. It also keeps other protocols
off port 443.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ccdtasks.gateways.authority import Target
from ccdtasks.gateways.clienthello import MAX_HELLO_BYTES, Hello, read_hello
from ccdtasks.gateways.rules import Refusal
from ccdtasks.gateways.tunnel import Leg

_UNRECOGNIZED_NAME = bytes([21, 3, 3, 0, 2, 2, 112])  # TLS alert, RFC 6066: the browser then names the cause


class NameCheck(asyncio.Protocol):
    """The client's protocol until its ClientHello is complete; then `client`, its leg of the tunnel, takes over.

    `private`: a pair that the owner opened; there it need not be TLS and the server may speak first.
    """

    def __init__(
        self,
        target: Target,
        client: Leg,
        refused: Callable[[Refusal], None],
        *,
        private: bool,
        timeout_s: float,
    ) -> None:
        self._target = target
        self._client = client
        self._refused = refused
        self._private = private
        self._timeout_s = timeout_s
        self._buffer = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def take_over(self, transport: asyncio.Transport, held: bytes) -> None:
        """Becomes the protocol of `transport`; `held` came in before."""
        self._transport = transport
        if not self._private:
            self._timer = asyncio.get_running_loop().call_later(self._timeout_s, transport.abort)
        transport.set_protocol(self)
        if held:
            self.data_received(held)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        hello = read_hello(bytes(self._buffer))
        if hello == "more" and len(self._buffer) <= MAX_HELLO_BYTES:
            return
        self._stop_timer()
        refusal = self._judge(hello if isinstance(hello, Hello) else None)
        if refusal is None:
            self._transport.set_protocol(self._client)
            self._client.data_received(bytes(self._buffer))
        else:
            self._refused(refusal)
            self._transport.write(_UNRECOGNIZED_NAME)
            self._transport.close()

    def pause_writing(self) -> None:
        self._client.pause_writing()

    def resume_writing(self) -> None:
        self._client.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._client.connection_lost(exc)

    def _judge(self, hello: Hello | None) -> Refusal | None:
        host, port = self._target.host, self._target.port
        if hello is None:
            text = f"Something other than https was sent to {self._target}."
            return None if self._private else Refusal(host, port, "not_tls", text)
        if hello.server_name is None:
            nameless = self._target.literal is not None or self._private  # an address has no name (RFC 6066, 3)
            text = f"A connection to {host} did not say which site it wants."
            return None if nameless else Refusal(host, port, "no_server_name", text)
        if hello.server_name.removesuffix(".") != host:
            text = f"A connection to {host} asked for another site, {hello.server_name[:100]}."
            return Refusal(host, port, "name_mismatch", text)
        return None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
