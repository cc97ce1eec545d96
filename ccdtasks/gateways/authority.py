"""Reads the `host:port` that a client names, and takes only the one plain way to write each.

Every lenient reading is a way around a rule: `0x7f.1`, `2130706433`, `0177.0.0.1` and circled digits all reach
127.0.0.1 through the system's resolver. So a host is either a name of ASCII letters, digits and hyphens whose last
label is no number, or an address in its canonical form. The resolved address is judged as well, elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from ccdtasks.gateways.addresses import Address

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)  # "_": not in the standard, but on the web
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)  # the last label that makes browsers read a host as IPv4
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_MAX_NAME = 253  # RFC 1035


@dataclass(frozen=True, slots=True)
class Target:
    """A place to connect to. `literal` is set when the host was written as an address."""

    host: str
    port: int
    literal: Address | None = None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_authority(text: str, default_port: int | None = None) -> Target | None:
    """The target that `host:port` names, in lower case and without a final dot; None if it is not written plainly."""
    host, port_text = _split(text)
    if port_text is None:
        port = default_port
    elif _PORT.fullmatch(port_text) and int(port_text) <= 0xFFFF:
        port = int(port_text)
    else:
        return None
    if port is None:
        return None
    if host.startswith("["):
        return _bracketed(host, port)
    return _named(host.lower(), port)


def parse_host(text: str) -> Target | None:
    """As `parse_authority` for a bare host (an IPv6 address without brackets); the port is 0."""
    return parse_authority(f"[{text}]" if ":" in text and not text.startswith("[") else text, default_port=0)


def _split(text: str) -> tuple[str, str | None]:
    """The host and the port's text, None if there is no colon after the host."""
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        host += bracket
        return (host, None) if not rest else (host, rest[1:] if rest[0] == ":" else "")
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _bracketed(host: str, port: int) -> Target | None:
    inner = host[1:-1]
    if "%" in inner or not host.endswith("]"):
        return None
    try:
        address = IPv6Address(inner)
    except AddressValueError:
        return None
    return Target(str(address), port, address)


def _named(host: str, port: int) -> Target | None:
    host = host.removesuffix(".")
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return Target(host, port, IPv4Address(host))
        except AddressValueError:
            return None
    if len(host) > _MAX_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    return Target(host, port)
