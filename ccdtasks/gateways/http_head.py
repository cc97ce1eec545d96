"""Reads the head of a request to a proxy, and writes the one that goes on to the server.

Strict on purpose: what two readers may read in two ways is refused, because the second reader is a server we do not
know (RFC 9112, 11.2: request smuggling).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ccdtasks.gateways.authority import Target, parse_authority

MAX_HEAD_BYTES = 32 * 1024

_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e]+) (HTTP/1\.[01])", re.ASCII)
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_LENGTH = re.compile(r"[0-9]{1,15}", re.ASCII)
_NOT_PASSED_ON = {"connection", "content-length", "host", "keep-alive", "te", "trailer", "upgrade"}


class BadRequest(Exception):
    """The request is not written the one way we take; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request's first line and header fields, checked for form only."""

    method: str
    target: str
    version: str
    fields: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        """All values of a header field; `name` in lower case."""
        return [value for field, value in self.fields if field.lower() == name]


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """A plain HTTP request that may go on: where to, the head to send, and how many bytes of body belong to it."""

    target: Target
    head: bytes
    body_bytes: int


def parse_head(raw: bytes) -> Head:
    """The head in `raw`, which ends before the empty line. Raises BadRequest."""
    lines = raw.decode("latin-1").split("\r\n")
    first = _REQUEST_LINE.fullmatch(lines[0])
    if first is None:
        raise BadRequest("The first line is no request to a proxy.")
    fields = []
    for line in lines[1:]:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise BadRequest("A header line is malformed.")
        fields.append((field[1], field[2]))
    return Head(first[1], first[2], first[3], tuple(fields))


def connect_target(head: Head) -> Target:
    """Where a CONNECT request wants to go. Raises BadRequest."""
    target = parse_authority(head.target)
    if target is None:
        raise BadRequest(f"“{head.target[:80]}” is not a plain host:port.")
    return target


def plain_request(head: Head) -> PlainRequest:
    """The request behind an absolute `http://` address, to be sent to the server itself. Raises BadRequest.

    One request a connection: it goes out with `Connection: close`, so nothing that follows it can reach the server.
    """
    scheme, separator, rest = head.target.partition("://")
    if not separator or scheme.lower() != "http" or "#" in rest:
        raise BadRequest("This is a proxy: name a whole address, http://host/path.")
    end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    authority, path = rest[:end], rest[end:]
    target = parse_authority(authority, default_port=80)
    if target is None:
        raise BadRequest(f"“{authority[:80]}” is not a plain host or host:port.")
    _check_host(head, target)
    body_bytes = _body_bytes(head)
    return PlainRequest(target, _server_head(head, target, path, body_bytes), body_bytes or 0)


def _check_host(head: Head, target: Target) -> None:
    hosts = head.values("host")
    if len(hosts) > 1 or (hosts and parse_authority(hosts[0], default_port=80) != target):
        raise BadRequest("The Host header names another host than the address.")


def _body_bytes(head: Head) -> int | None:
    if head.values("transfer-encoding"):
        raise BadRequest("A body over plain http must come with Content-Length.")
    lengths = head.values("content-length")
    if not lengths:
        return None
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise BadRequest("Content-Length is not one number.")
    return int(lengths[0])


def _server_head(head: Head, target: Target, path: str, body_bytes: int | None) -> bytes:
    hop_by_hop = {name.strip().lower() for value in head.values("connection") for name in value.split(",")}
    dropped = _NOT_PASSED_ON | hop_by_hop
    host = str(target).removesuffix(":80")
    lines = [f"{head.method} {path if path.startswith('/') else '/' + path} {head.version}", f"Host: {host}"]
    lines += [
        f"{name}: {value}"
        for name, value in head.fields
        if name.lower() not in dropped and not name.lower().startswith("proxy-")
    ]
    if body_bytes is not None:
        lines.append(f"Content-Length: {body_bytes}")
    lines += ["Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")
