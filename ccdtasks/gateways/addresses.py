"""Says whether an address lies on the public internet, whatever clothes it wears.

`ipaddress.is_global` alone is a hole: it calls ::127.0.0.1, 64:ff9b::7f00:1 (NAT64), 2002:7f00:1:: (6to4), fec0::1,
224.0.0.1 and 192.0.0.8 global. So an address must pass `is_global` AND lie in none of the networks below; of the
IPv6 forms that carry an IPv4 address only the mapped one is looked into, the others are refused whole, because nobody
browses through them. Ranges: the IANA special-purpose address registries for IPv4 and IPv6.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

_HOME = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv4Network("169.254.0.0/16"),  # link-local, and every cloud's metadata service
    IPv4Network("100.64.0.0/10"),  # carrier NAT, Tailscale
    IPv6Network("fc00::/7"),
    IPv6Network("fe80::/10"),
    IPv6Network("fec0::/10"),  # site-local, deprecated but still routed by old routers
)
_THIS_COMPUTER = (IPv4Network("127.0.0.0/8"), IPv4Network("0.0.0.0/8"), IPv6Network("::/127"))
_NEVER_PUBLIC = (
    IPv4Network("192.0.0.0/24"),  # IETF protocol assignments
    IPv4Network("192.0.2.0/24"),  # documentation
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("198.18.0.0/15"),  # benchmarks
    IPv4Network("198.51.100.0/24"),  # documentation
    IPv4Network("203.0.113.0/24"),  # documentation
    IPv4Network("224.0.0.0/3"),  # multicast, reserved, broadcast
    IPv6Network("::/96"),  # IPv4-compatible
    IPv6Network("64:ff9b::/96"),  # NAT64
    IPv6Network("64:ff9b:1::/48"),  # NAT64, local use
    IPv6Network("100::/64"),  # discard
    IPv6Network("2001::/23"),  # protocol assignments, Teredo among them
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4
    IPv6Network("3fff::/20"),  # documentation
    IPv6Network("5f00::/16"),  # segment routing
    IPv6Network("ff00::/8"),  # multicast
)
_IPV6_UNICAST = IPv6Network("2000::/3")  # all that IANA gave out as global unicast; anything else is not the internet


def why_not_public(address: Address) -> str | None:
    """None for an address on the public internet, else what it is: `your home network`, `this computer`, ...

    Knows nothing of this machine's own public addresses: ask `is_own` too.
    """
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if _inside(address, _THIS_COMPUTER):
        return "this computer"
    if _inside(address, _HOME):
        return "your home network"
    if _inside(address, _NEVER_PUBLIC) or not address.is_global or address.is_multicast or address.is_reserved:
        return "not an address on the internet"
    if isinstance(address, IPv6Address) and (address not in _IPV6_UNICAST or address.scope_id is not None):
        return "not an address on the internet"
    return None


def is_own(address: Address) -> bool:
    """True if a packet to `address` would stay on this machine: its LAN, VPN and public addresses.

    The kernel is asked each time, since addresses come and go: only one's own address can be bound.
    """
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if not _can_bind(address):
        return False
    canary = IPv4Address("192.0.2.1") if isinstance(address, IPv4Address) else IPv6Address("2001:db8::1")
    # With net.ipv4.ip_nonlocal_bind everything can be bound. Then the route tells: to oneself one speaks as oneself.
    return not _can_bind(canary) or _source_towards(address) == address


def _inside(address: Address, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _can_bind(address: Address) -> bool:
    with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
        return True


def _source_towards(address: Address) -> Address | None:
    """The address this machine would speak from; connecting a datagram socket sends nothing."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))
        except OSError:
            return None
        host: str = probe.getsockname()[0]
    return IPv4Address(host) if address.version == 4 else IPv6Address(host)
