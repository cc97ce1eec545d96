"""The server name in a ClientHello, however the hello is cut, and what is no hello."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccdtasks.gateways.clienthello import MAX_HELLO_BYTES, Hello, read_hello
from tests.gateways.internet import client_hello

NAME = "shop.example.com"
HELLO = client_hello(NAME)


def in_records(hello: bytes, size: int) -> bytes:
    """The same handshake message in records of `size` bytes."""
    message = hello[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def with_extension(hello: bytes, kind: int, body: bytes) -> bytes:
    """The hello with one more extension at its end, all lengths set right."""
    extension = kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body
    message = bytearray(hello[5:])
    at = 4 + 2 + 32
    at += 1 + message[at]
    at += 2 + int.from_bytes(message[at : at + 2], "big")
    at += 1 + message[at]
    message[at : at + 2] = (int.from_bytes(message[at : at + 2], "big") + len(extension)).to_bytes(2, "big")
    message += extension
    message[1:4] = (len(message) - 4).to_bytes(3, "big")
    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + bytes(message)


def server_name(name: bytes, kind: int = 0) -> bytes:
    entry = bytes([kind]) + len(name).to_bytes(2, "big") + name
    return len(entry).to_bytes(2, "big") + entry


def test_a_real_hello_names_its_server() -> None:
    assert read_hello(HELLO) == Hello(NAME)
    assert read_hello(client_hello("SHOP.Example.com")) == Hello(NAME)
    assert read_hello(client_hello(None)) == Hello(None)


@given(st.integers(0, len(HELLO) - 1))
def test_a_part_of_a_hello_asks_for_more(size: int) -> None:
    assert read_hello(HELLO[:size]) == "more"


@given(st.integers(-(-len(HELLO) // 60), len(HELLO)), st.data())
def test_records_make_no_difference(size: int, data: st.DataObject) -> None:
    cut = in_records(HELLO, size)
    assert read_hello(cut) == Hello(NAME)
    assert read_hello(cut[: data.draw(st.integers(0, len(cut) - 1))]) == "more"


@pytest.mark.parametrize("early", [b"\x14\x03\x03\x00\x01\x01", b"\x17\x03\x03\x00\x02hi", b"\x00"])
def test_what_follows_a_hello_is_not_looked_at(early: bytes) -> None:
    assert read_hello(HELLO + early) == Hello(NAME)


def test_a_hello_in_crumbs_is_none() -> None:
    assert read_hello(in_records(HELLO, 1)) == "not_tls"


def test_a_second_name_is_no_way_to_show_two() -> None:
    assert read_hello(with_extension(HELLO, 0, server_name(b"evil.example"))) == "not_tls"
    two = server_name(b"a.example")[2:] + server_name(b"b.example")[2:]
    plain = client_hello(None)
    assert read_hello(with_extension(plain, 0, len(two).to_bytes(2, "big") + two)) == "not_tls"
    assert read_hello(with_extension(plain, 0, server_name(b"a.example"))) == Hello("a.example")
    assert read_hello(with_extension(plain, 0, server_name(b"a.example") + b"x")) == "not_tls"
    assert read_hello(with_extension(plain, 0, server_name(b"a.example", kind=1))) == "not_tls"
    assert read_hello(with_extension(plain, 0, server_name("ä.example".encode()))) == "not_tls"


def test_an_encrypted_inner_hello_changes_nothing() -> None:
    assert read_hello(with_extension(HELLO, 0xFE0D, bytes(200))) == Hello(NAME)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET / HTTP/1.1\r\n",
        b"\x80\x2e\x01\x00\x02",  # SSLv2
        b"\x17\x03\x03\x00\x05hello",
        b"\x16\x02",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x40\x01" + bytes(10),
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
    ],
)
def test_other_protocols_are_known_early(data: bytes) -> None:
    assert read_hello(data) == "not_tls"


@given(st.binary(max_size=600))
def test_junk_never_breaks_the_reader(junk: bytes) -> None:
    for data in (junk, HELLO[:60] + junk, b"\x16\x03\x01" + junk):
        assert read_hello(data) in {"more", "not_tls"} or isinstance(read_hello(data), Hello)


def test_a_reader_never_waits_beyond_the_limit() -> None:
    endless = b"\x16\x03\x01\x40\x00" + b"\x01\x00\x40\x01" + bytes(MAX_HELLO_BYTES)
    assert read_hello(endless) == "not_tls"
