"""How a place may be written: one plain way for each, and nothing else."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ccdtasks.gateways.authority import Target, parse_authority, parse_host


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("shop.example.com:443", Target("shop.example.com", 443)),
        ("Shop.EXAMPLE.com.:443", Target("shop.example.com", 443)),
        ("nas:8080", Target("nas", 8080)),
        ("_dmarc.example.com:1", Target("_dmarc.example.com", 1)),
        ("xn--bcher-kva.example:443", Target("xn--bcher-kva.example", 443)),
        ("1.2.3.4:65535", Target("1.2.3.4", 65535, IPv4Address("1.2.3.4"))),
        ("[2606:4700:0::1111]:443", Target("2606:4700::1111", 443, IPv6Address("2606:4700::1111"))),
        ("1und1.de:443", Target("1und1.de", 443)),
    ],
)
def test_plain_places(text: str, target: Target) -> None:
    assert parse_authority(text) == target


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ":",
            ":443",
            "host",
            "host:",
            "host:0",
            "host:00443",
            "host:65536",
            "host:+443",
            "host:-1",
            "host:４４３",
        ),
        *("host:443 ", " host:443", "host:443/", "host:443/x", "host:443?x", "host:443#x", "host:44 3", "host:1:2"),
        *("user@host:443", "user:pass@host:443", "host\\@x:443", "http://host:443", "//host:443"),
        *("0x7f.1:443", "0x7f000001:443", "2130706433:443", "127.1:443", "0177.0.0.1:443", "127.0.0.01:443"),
        *(
            "127.0.0.1.1:443",
            "1.2.3:443",
            "256.1.1.1:443",
            "1.2.3.0x4:443",
            "foo.0x:443",
            "foo.123:443",
            "1.2.3.4..:443",
        ),
        *(
            "①②⑦.⓪.⓪.①:443",
            "１２７.0.0.1:443",
            "127。0。0。1:443",
            "localhost\u200b:443",
            "ｌocalhost:443",
            "bücher.example:443",
        ),
        *("ex%61mple.com:443", "a..b:443", ".a:443", "-a.com:443", "a-.com:443", "a b:443", "a\tb:443", "a\x00b:443"),
        *(f"{'a' * 64}.com:443", f"{'a.' * 127}com:443", "..:443"),
        *("[::1:443", "::1:443", "[::1]", "[::1]443", "[::1]:", "[fe80::1%eth0]:443", "[1.2.3.4]:443", "[]:443"),
        *("[::1]:443]", "[[::1]]:443", "[::1%25lo]:443", "[v1.x]:443", "2606:4700::1111:443"),
        *("host\r\n:443", "host:443\r\n", "host,evil:443", "host;x:443", "*.host:443"),
    ],
)
def test_nothing_else_is_a_place(text: str) -> None:
    assert parse_authority(text) is None


@given(st.one_of(st.text(max_size=40), st.from_regex(r"[0-9a-fxX.:\[\]%@]{0,30}(:[0-9]{1,6})?", fullmatch=True)))
@example("[::ffff:1.2.3.4]:80")
def test_what_is_taken_reads_the_same_again(text: str) -> None:
    target = parse_authority(text)
    if target is not None:
        assert parse_authority(str(target)) == target
        assert target.host.isascii()
        assert not set(target.host) & set("%@/\\?# []")
        assert 0 < target.port < 65536


def test_a_bare_host_needs_no_brackets() -> None:
    assert parse_host("fd00::1") == Target("fd00::1", 0, IPv6Address("fd00::1"))
    assert parse_host("nas.lan") == Target("nas.lan", 0)
    assert parse_host("nas.lan/x") is None


def test_a_port_may_be_left_out_where_there_is_a_usual_one() -> None:
    assert parse_authority("a.example", default_port=80) == Target("a.example", 80)
    assert parse_authority("[::1]", default_port=80) == Target("::1", 80, IPv6Address("::1"))
    assert parse_authority("a.example:", default_port=80) is None
