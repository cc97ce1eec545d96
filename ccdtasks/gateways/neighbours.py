"""Knows the home network where it has public addresses: with IPv6 every device of a home has one.

A page that the session visits sees this machine's address and so can guess those of the router and the NAS beside it.
The kernel is asked for each connection, since networks come and go.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

from ccdtasks.gateways.addresses import Address

Network = IPv4Network | IPv6Network

_KERNEL = Path("/proc/net")
_GLOBAL_SCOPE = 0
_IS_UP = 1
_LAN_V4 = 16  # no LAN is larger; a VPN that takes all traffic claims half of the internet as its own
_HOME_V6 = 56  # what a home gets at the least (RIPE-690), its guests' network and that of its lamps included


def is_neighbour(address: Address, networks: Sequence[Network]) -> bool:
    """True if `address` lies in one of the `home_networks`."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


def home_networks(kernel: Path = _KERNEL) -> list[Network]:
    """The networks that are reached without a router, and the surroundings of this machine's own IPv6 addresses."""
    return [*_on_link_v4(_lines(kernel / "route")[1:]), *_around_v6(_lines(kernel / "if_inet6"))]


def _lines(path: Path) -> list[str]:
    with suppress(OSError):  # a kernel without IPv6 has no such file
        return path.read_text().splitlines()
    return []


def _on_link_v4(routes: list[str]) -> list[IPv4Network]:
    networks = []
    for _, network, gateway, flags, _, _, _, mask, *_ in map(str.split, routes):
        length = int(mask, 16).bit_count()
        if int(gateway, 16) == 0 and int(flags, 16) & _IS_UP and length >= _LAN_V4:
            networks.append(IPv4Network((_host_order(network), length), strict=False))
    return networks


def _around_v6(interfaces: list[str]) -> list[IPv6Network]:
    networks = []
    for address, _, length, scope, *_ in map(str.split, interfaces):
        if int(scope, 16) == _GLOBAL_SCOPE:
            networks.append(IPv6Network((int(address, 16), min(int(length, 16), _HOME_V6)), strict=False))
    return networks


def _host_order(word: str) -> IPv4Address:
    """The kernel prints an address as this machine reads its four bytes as one number."""
    return IPv4Address(int(word, 16).to_bytes(4, sys.byteorder))
