"""Finds the server name in the first bytes of a TLS connection, before anything is passed on.

RFC 8446, 5.1 (records) and 4.1.2 (ClientHello); RFC 6066, 3 (server_name). A hello may be cut into several
records and each record into several segments, so the reader is called with all bytes so far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MAX_HELLO_BYTES = 16 * 1024  # post-quantum key shares make 2 KB; nothing honest is near this

_HANDSHAKE_RECORD = 22
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_MAX_RECORD = 2**14  # RFC 8446, 5.1
_MAX_RECORDS = 64  # bounds the work of a hello in one-byte pieces
_HOST_NAME = 0


@dataclass(frozen=True, slots=True)
class Hello:
    """`server_name`: as the client wrote it, in lower case; None if it named none."""

    server_name: str | None


HelloState = Hello | Literal["more", "not_tls"]


class _NotTls(Exception):
    """The bytes cannot be a ClientHello."""


class _Reader:
    """Takes bytes from the front; a hello that ends too early is none."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise _NotTls
        part = self._data[self._at : end]
        self._at = end
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, length_size: int) -> bytes:
        """Bytes that are preceded by their length."""
        return self.take(self.number(length_size))


def read_hello(data: bytes) -> HelloState:
    """The hello at the start of `data`, or `more` when it is not complete yet, or `not_tls` when it never will be."""
    try:
        message = _handshake_message(data)
        return "more" if message is None else Hello(_server_name(_Reader(message)))
    except _NotTls:
        return "not_tls"


def _handshake_message(data: bytes) -> bytes | None:
    """The body of the first handshake message, put together from its records; None while bytes are missing."""
    joined = bytearray()
    at = 0
    for _ in range(_MAX_RECORDS):
        _check_record(data[at : at + 5])
        length = int.from_bytes(data[at + 3 : at + 5], "big")
        joined += data[at + 5 : at + 5 + length]
        at += 5 + length
        if joined and (joined[0] != _CLIENT_HELLO or int.from_bytes(joined[1:4], "big") > MAX_HELLO_BYTES):
            raise _NotTls
        size = int.from_bytes(joined[1:4], "big")
        if len(joined) >= 4 + size:
            return bytes(joined[4 : 4 + size])
        if len(data) <= at:
            return None
    raise _NotTls


def _check_record(header: bytes) -> None:
    """Refuses early what cannot become a hello, so that another protocol need not wait for the time limit."""
    if header[:1] not in {b"", bytes([_HANDSHAKE_RECORD])} or header[1:2] not in {b"", b"\x03"}:
        raise _NotTls
    if len(header) == 5 and not 0 < int.from_bytes(header[3:], "big") <= _MAX_RECORD:
        raise _NotTls


def _server_name(hello: _Reader) -> str | None:
    hello.take(2 + 32)  # legacy_version, random
    hello.vector(1)  # legacy_session_id
    hello.vector(2)  # cipher_suites
    hello.vector(1)  # legacy_compression_methods
    if not hello:
        return None
    extensions = _Reader(hello.vector(2))
    name: str | None = None
    while extensions:
        kind, body = extensions.number(2), extensions.vector(2)
        if kind != _SERVER_NAME:
            continue
        if name is not None:
            raise _NotTls  # forbidden (RFC 8446, 4.2), and a way to show us one name and the server another
        name = _one_host_name(_Reader(body))
    return name


def _one_host_name(extension: _Reader) -> str:
    names = _Reader(extension.vector(2))
    kind, name = names.number(1), names.vector(2)
    if kind != _HOST_NAME or names or extension:
        raise _NotTls
    try:
        return name.decode("ascii").lower()
    except UnicodeDecodeError:
        raise _NotTls from None
