"""Which addresses are the internet, against an oracle written another way."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ccdtasks.gateways.addresses import is_own, why_not_public

# First and last address of what IANA's special-purpose registries call not globally reachable, multicast and reserved.
NOT_PUBLIC_V4 = [
    ("0.0.0.0", "0.255.255.255"),
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("169.254.0.0", "169.254.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.0.0.0", "192.0.0.255"),
    ("192.0.2.0", "192.0.2.255"),
    ("192.88.99.0", "192.88.99.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("198.18.0.0", "198.19.255.255"),
    ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"),
    ("224.0.0.0", "255.255.255.255"),
]
# The same inside 2000::/3; everything outside of that is not the internet either.
NOT_PUBLIC_V6 = [
    ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
]


def _number(text: str) -> int:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    return int.from_bytes(socket.inet_pton(family, text), "big")


RANGES_V4 = [(_number(first), _number(last)) for first, last in NOT_PUBLIC_V4]
RANGES_V6 = [(_number(first), _number(last)) for first, last in NOT_PUBLIC_V6]
EDGES_V4 = sorted({n for first, last in RANGES_V4 for n in (first - 1, first, last, last + 1) if 0 <= n < 2**32})
EDGES_V6 = sorted({n for first, last in RANGES_V6 for n in (first - 1, first, last, last + 1)})
V4 = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from(EDGES_V4))


def _public_v4(number: int) -> bool:
    return not any(first <= number <= last for first, last in RANGES_V4)


@given(V4)
def test_v4_agrees_with_the_registry(number: int) -> None:
    assert (why_not_public(IPv4Address(number)) is None) == _public_v4(number)


@given(st.one_of(st.integers(0, 2**128 - 1), st.integers(2**125, 2**126 - 1), st.sampled_from(EDGES_V6)))
@example(2**125 - 1)
@example(2**126)
def test_v6_agrees_with_the_registry(number: int) -> None:
    if number >> 32 == 0xFFFF:
        expected = _public_v4(number & 0xFFFFFFFF)
    else:
        expected = number >> 125 == 1 and not any(first <= number <= last for first, last in RANGES_V6)
    assert (why_not_public(IPv6Address(number)) is None) == expected


@given(V4)
def test_an_ipv4_address_inside_ipv6_is_no_way_around(number: int) -> None:
    assert (why_not_public(IPv6Address((0xFFFF << 32) | number)) is None) == _public_v4(number)
    carriers = [
        number,  # IPv4-compatible
        (0x64FF9B << 96) | number,  # NAT64
        (0x64FF9B0001 << 80) | number,  # NAT64, local use
        (0x2002 << 112) | (number << 80),  # 6to4
        (0x20010000 << 96) | (number ^ 0xFFFFFFFF),  # Teredo
        (0xFFFF << 48) | number,  # IPv4-translated (SIIT)
        (0xFE80 << 112) | (0x5EFE << 32) | number,  # ISATAP
    ]
    for carrier in carriers:
        assert why_not_public(IPv6Address(carrier)) is not None, IPv6Address(carrier)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("127.0.0.1", "this computer"),
        ("127.255.255.254", "this computer"),
        ("0.0.0.0", "this computer"),
        ("::", "this computer"),
        ("::1", "this computer"),
        ("::ffff:127.0.0.1", "this computer"),
        ("192.168.1.5", "your home network"),
        ("10.0.0.1", "your home network"),
        ("172.31.255.255", "your home network"),
        ("169.254.169.254", "your home network"),
        ("100.100.100.100", "your home network"),
        ("::ffff:192.168.1.5", "your home network"),
        ("fd00::1", "your home network"),
        ("fe80::1", "your home network"),
        ("fe80::1%eth0", "your home network"),
        ("fec0::1", "your home network"),
        ("::127.0.0.1", "not an address on the internet"),
        ("64:ff9b::7f00:1", "not an address on the internet"),
        ("64:ff9b:1::1", "not an address on the internet"),
        ("2002:7f00:1::", "not an address on the internet"),
        ("2001:0:1::1", "not an address on the internet"),
        ("2001:db8::1", "not an address on the internet"),
        ("3fff::1", "not an address on the internet"),
        ("5f00::1", "not an address on the internet"),
        ("ff02::1", "not an address on the internet"),
        ("100::1", "not an address on the internet"),
        ("4000::1", "not an address on the internet"),
        ("224.0.0.1", "not an address on the internet"),
        ("240.0.0.1", "not an address on the internet"),
        ("255.255.255.255", "not an address on the internet"),
        ("192.0.0.8", "not an address on the internet"),
        ("192.88.99.1", "not an address on the internet"),
        ("198.18.0.1", "not an address on the internet"),
        ("2606:4700::1111%eth0", "not an address on the internet"),
    ],
)
def test_what_is_not_public_is_called_by_its_name(text: str, what: str) -> None:
    assert why_not_public(ip_address(text)) == what


@pytest.mark.parametrize("text", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450::1", "::ffff:1.1.1.1"])
def test_the_internet_is_public(text: str) -> None:
    assert why_not_public(ip_address(text)) is None
    assert not is_own(ip_address(text))


@pytest.mark.parametrize("text", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_ones_own_addresses_are_known(text: str) -> None:
    assert is_own(ip_address(text))
