"""Which networks count as home, by what the kernel says of routes and addresses."""

from __future__ import annotations

import sys
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import pytest

from ccdtasks.gateways.neighbours import home_networks, is_neighbour

HEAD = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"


def _word(address: str) -> str:
    return f"{int.from_bytes(IPv4Address(address).packed, sys.byteorder):08X}"


def _route(network: str, mask: str, gateway: str = "0.0.0.0", flags: str = "0001") -> str:
    return f"eth0\t{_word(network)}\t{_word(gateway)}\t{flags}\t0\t0\t0\t{_word(mask)}\t0\t0\t0\n"


def _address(address: str, length: int, scope: str = "00") -> str:
    return f"{int(ip_address(address)):032x} 02 {length:02x} {scope} 80     eth0\n"


def test_what_is_reached_without_a_router_is_home(tmp_path: Path) -> None:
    routes = [
        _route("0.0.0.0", "0.0.0.0", gateway="198.41.0.1", flags="0003"),
        _route("198.41.0.0", "255.255.255.0"),
        _route("93.184.216.0", "255.255.255.0", gateway="198.41.0.1", flags="0003"),
        _route("0.0.0.0", "128.0.0.0"),  # a VPN that takes all traffic, in two halves
        _route("128.0.0.0", "128.0.0.0"),
    ]
    (tmp_path / "route").write_text(HEAD + "".join(routes))
    assert home_networks(tmp_path) == [ip_network("198.41.0.0/24")]


def test_the_homes_other_networks_are_home_too(tmp_path: Path) -> None:
    addresses = [
        _address("2a02:810d:4:5601::2", 64),
        _address("2a02:810d:9::1", 128),
        _address("2001:470:1::1", 48),
        _address("fe80::1", 64, scope="20"),
        _address("::1", 128, scope="10"),
    ]
    (tmp_path / "if_inet6").write_text("".join(addresses))
    homes = [ip_network(text) for text in ("2a02:810d:4:5600::/56", "2a02:810d:9::/56", "2001:470:1::/48")]
    assert home_networks(tmp_path) == homes


@pytest.mark.parametrize(
    ("address", "is_home"),
    [("198.41.0.9", True), ("::ffff:198.41.0.9", True), ("198.41.1.9", False), ("2a02:810d:4:56ff::9", True),
     ("2a02:810d:4:5700::9", False)],
)  # fmt: skip
def test_a_neighbour_is_known_in_either_writing(address: str, is_home: bool) -> None:
    homes = [ip_network("198.41.0.0/24"), ip_network("2a02:810d:4:5600::/56")]
    assert is_neighbour(ip_address(address), homes) == is_home
