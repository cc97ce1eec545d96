"""Plain requests: what is sent on, and every trick with which one request becomes two."""

from __future__ import annotations

import pytest

from ccdtasks.gateways.authority import Target
from ccdtasks.gateways.http_head import BadRequest, PlainRequest, connect_target, parse_head, plain_request


def read(*lines: str) -> PlainRequest:
    return plain_request(parse_head("\r\n".join(lines).encode("latin-1")))


def test_a_request_becomes_one_to_the_server_itself() -> None:
    request = read(
        "POST http://Shop.example/a/b?c=d HTTP/1.1",
        "Host: shop.example",
        "User-Agent: Mozilla/5.0",
        "Cookie: a=b; c=d",
        "Proxy-Authorization: Basic c2VjcmV0",
        "Proxy-Connection: keep-alive",
        "Connection: keep-alive, X-Private",
        "X-Private: 1",
        "Keep-Alive: 5",
        "TE: trailers",
        "Upgrade: websocket",
        "Content-Length: 5",
        "Accept-Language: \xe4",
    )
    assert request.target == Target("shop.example", 80)
    assert request.body_bytes == 5
    assert request.head.decode("latin-1").split("\r\n") == [
        "POST /a/b?c=d HTTP/1.1",
        "Host: shop.example",
        "User-Agent: Mozilla/5.0",
        "Cookie: a=b; c=d",
        "Accept-Language: \xe4",
        "Content-Length: 5",
        "Connection: close",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("address", "line", "host"),
    [
        ("http://a.example", "GET / HTTP/1.1", "a.example"),
        ("HTTP://a.example?q", "GET /?q HTTP/1.1", "a.example"),
        ("http://a.example:80/x", "GET /x HTTP/1.1", "a.example"),
        ("http://nas.lan:8080/x", "GET /x HTTP/1.1", "nas.lan:8080"),
        ("http://[2606:4700::1]/x//y/../z", "GET /x//y/../z HTTP/1.1", "[2606:4700::1]"),
    ],
)
def test_the_first_lines_that_go_on(address: str, line: str, host: str) -> None:
    lines = read(f"GET {address} HTTP/1.1").head.decode().split("\r\n")
    assert lines[:2] == [line, f"Host: {host}"]


def test_a_header_cannot_be_dropped_by_naming_it() -> None:
    request = read("POST http://a.example/ HTTP/1.1", "Connection: content-length, host", "Content-Length: 3")
    assert b"\r\nContent-Length: 3\r\n" in request.head
    assert b"\r\nHost: a.example\r\n" in request.head


@pytest.mark.parametrize(
    "lines",
    [
        ("GET / HTTP/1.1", "Host: a.example"),
        ("GET https://a.example/ HTTP/1.1",),
        ("GET ftp://a.example/ HTTP/1.1",),
        ("GET http:///x HTTP/1.1",),
        ("GET http://a.example/#f HTTP/1.1",),
        ("GET http://user@a.example/ HTTP/1.1",),
        ("GET http://a.example\\@evil.example/ HTTP/1.1",),
        ("GET http://127.1/ HTTP/1.1",),
        ("GET http://a.example/ HTTP/2.0",),
        ("GET http://a.example/",),
        ("GET  http://a.example/ HTTP/1.1",),
        ("GET http://a.example/ x HTTP/1.1",),
        ("GET http://a.example/\xe4 HTTP/1.1",),
        ("G(T http://a.example/ HTTP/1.1",),
        ("GET http://a.example/ HTTP/1.1", "Host: evil.example"),
        ("GET http://a.example/ HTTP/1.1", "Host: a.example:81"),
        ("GET http://a.example/ HTTP/1.1", "Host:"),
        ("GET http://a.example/ HTTP/1.1", "Host: a.example", "Host: a.example"),
        ("GET http://a.example/ HTTP/1.1", "Host : a.example"),
        ("GET http://a.example/ HTTP/1.1", "X: a\nHost: evil.example"),
        ("GET http://a.example/ HTTP/1.1", "X: a\rY: b"),
        ("GET http://a.example/ HTTP/1.1", "X: a\x00"),
        ("GET http://a.example/ HTTP/1.1", " folded"),
        ("GET http://a.example/ HTTP/1.1", "no colon"),
        ("GET http://a.example/ HTTP/1.1", ": x"),
        ("POST http://a.example/ HTTP/1.1", "Transfer-Encoding: chunked"),
        ("POST http://a.example/ HTTP/1.1", "Content-Length: 3", "Content-Length: 3"),
        ("POST http://a.example/ HTTP/1.1", "Content-Length: 3, 3"),
        ("POST http://a.example/ HTTP/1.1", "Content-Length: +3"),
        ("POST http://a.example/ HTTP/1.1", "Content-Length: 0x3"),
        ("POST http://a.example/ HTTP/1.1", "Content-Length: ３"),
        ("POST http://a.example/ HTTP/1.1", "Content-Length:"),
        ("POST http://a.example/ HTTP/1.1", "Transfer-Encoding: identity", "Content-Length: 3"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(lines: tuple[str, ...]) -> None:
    raw = "\r\n".join(lines).encode("utf-8" if "３" in "".join(lines) else "latin-1")
    with pytest.raises(BadRequest):
        plain_request(parse_head(raw))


@pytest.mark.parametrize("target", ["a.example", "https://a.example:443", "a.example:443/", "u@a.example:443", "/"])
def test_connect_wants_a_plain_host_and_port(target: str) -> None:
    with pytest.raises(BadRequest):
        connect_target(parse_head(f"CONNECT {target} HTTP/1.1".encode()))
