"""The egress gateway from a session's side: the internet is open, the home is not, whatever the way it is asked for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from ccdtasks.errors import Conflict, Invalid
from ccdtasks.gateways.egress import EgressGateway, EgressPolicy, Refusal, Timeouts
from tests.gateways.internet import PUBLIC, PUBLIC_V6, Internet, Session, client_hello, session

pytestmark = pytest.mark.timeout(60)  # a stream that never ends must fail, not hang

HELLO = client_hello("shop.example")


async def tunnel(inside: Session, authority: str, hello: bytes = HELLO) -> bytes:
    """What the echoing internet sends back through a tunnel for a first flight of `hello`."""
    reader, writer, head = await inside.connect(authority)
    assert b" 200 " in head
    writer.write(hello)
    writer.write_eof()
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def reasons(inside: Session) -> list[str]:
    return [refusal.reason for refusal in inside.refusals]


# -- what is open


async def test_https_goes_through_to_the_address_that_was_judged(folder: Path) -> None:
    async with Internet() as internet, session(folder, internet) as inside:
        assert await tunnel(inside, "shop.example:443") == HELLO
        counts = inside.served.counts
        assert (counts.connections, counts.names, counts.refusals) == (1, 1, 0)
        assert counts.bytes_in == counts.bytes_out == len(HELLO)
    assert internet.lookups == ["shop.example"]
    assert internet.dialled == [(PUBLIC, 443)]


async def test_plain_http_goes_through_and_nothing_after_that_request(folder: Path) -> None:
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.put_nowait(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(4))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbought")
        got.put_nowait(await reader.read())

    smuggled = b"GET / HTTP/1.1\r\nHost: intranet.example\r\n\r\n"
    async with Internet(serve=serve) as internet, session(folder, internet) as inside:
        reader, writer = await inside.open()
        writer.write(b"POST http://shop.example/buy HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody" + smuggled)
        assert (await reader.readuntil(b"bought")).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.write(smuggled)
        await writer.drain()
        writer.close()
        sent = b"POST /buy HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"
        assert await got.get() == sent
        assert await got.get() == b""
    assert internet.dialled == [(PUBLIC, 80)]


async def test_a_plain_answer_without_length_ends_with_the_server(folder: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(500_000))

    async with Internet(serve=serve) as internet, session(folder, internet) as inside:
        answer = await inside.ask(b"GET http://shop.example/ HTTP/1.1\r\n\r\n")
    assert answer == b"HTTP/1.1 200 OK\r\n\r\n" + bytes(500_000)


async def test_a_half_close_passes_and_the_answer_still_comes(folder: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"got %d" % len(await reader.read()))

    async with Internet(serve=serve) as internet, session(folder, internet) as inside:
        assert await tunnel(inside, "shop.example:443") == b"got %d" % len(HELLO)


async def test_megabytes_pass_both_ways_unharmed_past_a_slow_reader(folder: Path) -> None:
    load = bytes(range(256)) * 16_384  # 4 MB: far more than any buffer on the way
    async with Internet() as internet, session(folder, internet) as inside:
        reader, writer, _ = await inside.connect("shop.example:443")
        writer.write(HELLO + load)
        writer.write_eof()
        got = b""
        while piece := await reader.read(1000 if len(got) < 100_000 else 1_000_000):
            got += piece
        writer.close()
        assert got == HELLO + load


async def test_a_stalled_reader_holds_the_server_back_and_loses_nothing(folder: Path) -> None:
    size = 32 * 1024 * 1024

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        for _ in range(size // 65536):
            writer.write(bytes(65536))
            await writer.drain()

    async with Internet(serve=serve) as internet, session(folder, internet) as inside:
        reader, writer, _ = await inside.connect("shop.example:443")
        writer.write(HELLO)
        for _ in range(2000):  # turns of the loop: ten times what the whole load would need without back-pressure
            await asyncio.sleep(0)
        assert 0 < inside.served.counts.bytes_in < 4 * 1024 * 1024
        got = 0
        while piece := await reader.read(1_000_000):
            got += len(piece)
        writer.close()
        assert got == size


async def test_a_broken_line_looks_broken(folder: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    async with Internet(serve=serve) as internet, session(folder, internet) as inside:
        assert await tunnel(inside, "shop.example:443") == b""


async def test_a_name_with_several_public_addresses_is_open(folder: Path) -> None:
    async with Internet({"shop.example": [[PUBLIC_V6, PUBLIC]]}) as internet, session(folder, internet) as inside:
        assert await tunnel(inside, "shop.example:443") == HELLO
    assert internet.dialled == [(PUBLIC_V6, 443), (PUBLIC, 443)]


async def test_a_public_address_needs_no_name(folder: Path) -> None:
    async with Internet() as internet, session(folder, internet) as inside:
        nameless = client_hello(None)
        assert await tunnel(inside, f"{PUBLIC}:443", nameless) == nameless
        assert await tunnel(inside, f"[{PUBLIC_V6}]:443", nameless) == nameless
    assert internet.lookups == []


# -- what is home


@pytest.mark.parametrize(
    "authority",
    [
        *("127.0.0.1:443", "127.8.9.1:443", "0.0.0.0:443", "10.0.0.1:443", "172.16.0.1:443", "192.168.1.5:443"),
        *("169.254.169.254:443", "100.64.0.1:443", "192.0.0.8:443", "224.0.0.1:443", "255.255.255.255:443"),
        *("[::]:443", "[::1]:443", "[::ffff:127.0.0.1]:443", "[::ffff:7f00:1]:443", "[::127.0.0.1]:443"),
        *("[64:ff9b::7f00:1]:443", "[2002:7f00:1::]:443", "[fec0::1]:443", "[fe80::1]:443", "[fd00::1]:443"),
        *("[2001:0:7f00:1::]:443", "[ff02::1]:443", "[3fff::1]:443", "[5f00::1]:443"),
    ],
)
async def test_no_address_leads_home(folder: Path, authority: str) -> None:
    async with Internet() as internet, session(folder, internet) as inside:
        _, _, head = await inside.connect(authority)
        assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        host = authority.rpartition(":")[0]
        plain = await inside.ask(f"GET http://{host}/ HTTP/1.1\r\n\r\n".encode())
        assert plain.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        assert set(reasons(inside)) == {"private_address"}
    assert internet.dialled == []


@pytest.mark.parametrize(
    "authority",
    ["0x7f.1:443", "2130706433:443", "127.1:443", "0177.0.0.1:443", "①②⑦.⓪.⓪.①:443", "[::1%25lo]:443", "u@1.1.1.1:443"],
)
async def test_odd_spellings_of_home_are_no_places(folder: Path, authority: str) -> None:
    async with Internet() as internet, session(folder, internet) as inside:
        answer = await inside.ask(f"CONNECT {authority} HTTP/1.1\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 400 ")
    assert internet.lookups == internet.dialled == []


@pytest.mark.parametrize("name", ["localhost", "localhost.", "ip6-localhost", "sub.localhost"])
async def test_the_systems_own_names_for_home_are_refused_or_unknown(folder: Path, name: str) -> None:
    async with Internet() as internet, session(folder, internet, resolve=None) as inside:
        assert await inside.status(f"{name}:443") in {403, 502}
    assert internet.dialled == []


async def test_the_system_resolver_is_judged_like_any_other(folder: Path) -> None:
    async with Internet() as internet, session(folder, internet, resolve=None) as inside:
        assert await inside.status("localhost:443") == 403
        assert reasons(inside) == ["private_address"]


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"],
        ["192.168.1.5", PUBLIC],
        [PUBLIC, "192.168.1.5"],
        [PUBLIC, PUBLIC_V6, "::ffff:10.0.0.1"],
        ["fe80::1%eth0"],
        ["2002:c0a8:105::"],
    ],
)
async def test_one_address_at_home_spoils_a_name(folder: Path, answer: list[str]) -> None:
    async with Internet({"evil.example": [answer]}) as internet, session(folder, internet) as inside:
        assert await inside.status("evil.example:443") == 403
        assert reasons(inside) == ["private_address"]
    assert internet.dialled == []


async def test_a_rebinding_name_gains_nothing(folder: Path) -> None:
    names = {"rebind.example": [[PUBLIC], ["192.168.1.5"]]}
    async with Internet(names) as internet, session(folder, internet) as inside:
        hello = client_hello("rebind.example")
        assert await tunnel(inside, "rebind.example:443", hello) == hello
        assert internet.dialled == [(PUBLIC, 443)]  # the address that was judged; nobody asked again
        assert internet.lookups == ["rebind.example"]
        assert await inside.status("rebind.example:443") == 403
    assert internet.dialled == [(PUBLIC, 443)]


async def test_the_text_says_what_to_do(folder: Path) -> None:
    async with Internet({"nas.lan": [["192.168.1.5"]]}) as internet, session(folder, internet) as inside:
        _, _, head = await inside.connect("nas.lan:443")
        await inside.status("192.168.1.9:443")
    text = 'nas.lan (192.168.1.5) is on your home network; allow it with [egress] allow_private = ["nas.lan:443"].'
    assert inside.refusals[0] == Refusal("nas.lan", 443, "private_address", text)
    assert text.encode() in head
    assert inside.refusals[1].text.startswith("192.168.1.9 is on your home network; allow it with")


# -- ports and hosts


@pytest.mark.parametrize("authority", ["shop.example:80", "shop.example:22", "shop.example:8443", f"{PUBLIC}:25"])
async def test_other_ports_are_closed(folder: Path, authority: str) -> None:
    async with Internet() as internet, session(folder, internet) as inside:
        assert await inside.status(authority) == 403
        assert reasons(inside) == ["port"]
        plain = await inside.ask(b"GET http://shop.example:443/ HTTP/1.1\r\n\r\n")
        assert plain.startswith(b"HTTP/1.1 403 ")
    assert internet.lookups == internet.dialled == []


async def test_a_tunnel_to_port_80_is_closed_and_says_what_works(folder: Path) -> None:
    """What a page with ws:// asks for; nothing in such a tunnel would tell which site it is for."""
    async with Internet() as internet, session(folder, internet) as inside:
        answer = await inside.ask(b"CONNECT shop.example:80 HTTP/1.1\r\nHost: shop.example:80\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"a WebSocket needs wss://" in answer
    assert internet.dialled == []


@pytest.mark.parametrize(
    "host",
    [
        *(
            "api.anthropic.com",
            "API.Anthropic.com.",
            "api-staging.anthropic.com",
            "a.b.anthropic.com",
            "api.claude.com",
        ),
        *("model.lan", "sub.model.lan", "9.9.9.9"),
    ],
)
async def test_the_models_own_api_is_closed(folder: Path, host: str) -> None:
    policy = EgressPolicy(allow_private=(f"{host}:443",))
    async with (
        Internet() as internet,
        session(folder, internet, policy, model_hosts=("model.lan", "9.9.9.9")) as inside,
    ):
        assert await inside.status(f"{host}:443") == 403
        assert reasons(inside) == ["model_api"]
        for open_host in ("www.anthropic.com", "docs.anthropic.com", "notanthropic.com", "claude.ai"):
            assert await inside.status(f"{open_host}:443") == 200
    assert len(internet.dialled) == 4


async def test_the_browsers_maker_is_refused_without_a_word(folder: Path) -> None:
    async with Internet() as internet, session(folder, internet) as inside:
        for host in ("update.googleapis.com", "clients2.google.com", "optimizationguide-pa.googleapis.com"):
            assert await inside.status(f"{host}:443") == 403
        assert await inside.status("mtalk.google.com:5228") == 403
        assert inside.refusals == []
        assert inside.served.counts.refusals == inside.served.counts.names == 0
        assert await inside.status("accounts.google.com:443") == 200
    assert internet.lookups == ["accounts.google.com"]


async def test_denied_hosts_are_closed_by_name_and_by_address(folder: Path) -> None:
    policy = EgressPolicy(deny_hosts=("evil.example", "*.ads.example", "8.8.8.8"))
    names = {"sneaky.example": [["8.8.8.8"]]}
    async with Internet(names) as internet, session(folder, internet, policy) as inside:
        for host in ("evil.example", "a.evil.example", "x.ads.example", "8.8.8.8", "sneaky.example"):
            assert await inside.status(f"{host}:443") == 403
        assert set(reasons(inside)) == {"denied_host"}
        assert await inside.status("notevil.example:443") == 200
    assert len(internet.dialled) == 1


async def test_allowed_domains_narrow(folder: Path) -> None:
    policy = EgressPolicy(allowed_domains=("shop.example",), allow_private=("nas.lan:8080",))
    async with Internet() as internet, session(folder, internet, policy) as inside:
        for host in ("shop.example", "www.shop.example"):
            assert await inside.status(f"{host}:443") == 200
        for authority in ("evilshop.example:443", "example:443", f"{PUBLIC}:443", "nas.lan:8080"):
            assert await inside.status(authority) == 403
        assert set(reasons(inside)) == {"not_allowed_domain"}
    assert internet.lookups == ["shop.example", "www.shop.example"]


async def test_no_domain_at_all_may_be_allowed(folder: Path) -> None:
    async with Internet() as internet, session(folder, internet, EgressPolicy(allowed_domains=())) as inside:
        assert await inside.status("shop.example:443") == 403


async def test_allow_private_opens_single_pairs(folder: Path) -> None:
    policy = EgressPolicy(allow_private=("nas.lan:8080", "192.168.1.5:443", "[fd00::5]:8123"))
    names = {"nas.lan": [["192.168.1.7"]], "other.lan": [["192.168.1.7"]]}
    async with Internet(names) as internet, session(folder, internet, policy) as inside:
        assert await tunnel(inside, "nas.lan:8080", b"SSH-2.0-any protocol") == b"SSH-2.0-any protocol"
        assert await tunnel(inside, "192.168.1.5:443", nameless := client_hello(None)) == nameless
        assert await tunnel(inside, "[fd00::5]:8123", b"x") == b"x"
        reader, writer = await inside.open()
        writer.write(b"GET http://nas.lan:8080/ HTTP/1.1\r\nHost: nas.lan:8080\r\n\r\n")
        assert (await reader.readline()) == b"GET / HTTP/1.1\r\n"
        writer.close()
        for authority in ("nas.lan:443", "nas.lan:8081", "other.lan:8080", "192.168.1.7:8080", "192.168.1.5:8080"):
            assert await inside.status(authority) == 403
        assert await inside.ask(b"GET http://nas.lan/ HTTP/1.1\r\n\r\n") != b""
    assert internet.dialled == [("192.168.1.7", 8080), ("192.168.1.5", 443), ("fd00::5", 8123), ("192.168.1.7", 8080)]


async def test_at_a_private_pair_the_server_may_speak_first(folder: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 welcome\r\n")
        await reader.read()

    policy = EgressPolicy(allow_private=("nas.lan:25",))
    async with Internet({"nas.lan": [["10.0.0.2"]]}, serve) as internet, session(folder, internet, policy) as inside:
        reader, writer, _ = await inside.connect("nas.lan:25")
        assert await reader.readline() == b"220 welcome\r\n"
        writer.close()


async def test_tls_at_a_private_pair_must_still_ask_for_that_name(folder: Path) -> None:
    policy = EgressPolicy(allow_private=("nas.lan:443",))
    async with Internet({"nas.lan": [["10.0.0.2"]]}) as internet, session(folder, internet, policy) as inside:
        assert await tunnel(inside, "nas.lan:443", client_hello("router.lan")) == ALERT
        assert reasons(inside) == ["name_mismatch"]


# -- the name inside TLS

ALERT = bytes([21, 3, 3, 0, 2, 2, 112])


@pytest.mark.parametrize(
    ("authority", "hello", "reason"),
    [
        ("shop.example:443", client_hello("evil.example"), "name_mismatch"),
        ("shop.example:443", client_hello("www.shop.example"), "name_mismatch"),
        ("shop.example:443", client_hello(None), "no_server_name"),
        (f"{PUBLIC}:443", client_hello("evil.example"), "name_mismatch"),
        ("shop.example:443", b"SSH-2.0-OpenSSH\r\n", "not_tls"),
        ("shop.example:443", b"GET / HTTP/1.1\r\n\r\n", "not_tls"),
    ],
)
async def test_a_tunnel_for_another_site_is_cut_before_a_byte_leaves(
    folder: Path, authority: str, hello: bytes, reason: str
) -> None:
    async with Internet() as internet, session(folder, internet) as inside:
        assert await tunnel(inside, authority, hello) == ALERT
        assert reasons(inside) == [reason]
        assert inside.served.counts.bytes_out == 0


async def test_a_hello_in_many_pieces_is_understood(folder: Path) -> None:
    message, record = HELLO[5:], b"\x16\x03\x01"
    size = -(-len(message) // 60)  # a hello of a newer OpenSSL is five times as long
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    whole = b"".join(record + len(piece).to_bytes(2, "big") + piece for piece in pieces)
    async with Internet() as internet, session(folder, internet) as inside:
        reader, writer, _ = await inside.connect("shop.example:443")
        for at in range(0, len(whole), 7):
            writer.write(whole[at : at + 7])
            await writer.drain()
        writer.write_eof()
        assert await reader.read() == whole
        writer.close()


async def test_a_hello_may_come_with_the_connect(folder: Path) -> None:
    async with Internet() as internet, session(folder, internet) as inside:
        reader, writer = await inside.open()
        writer.write(b"CONNECT shop.example:443 HTTP/1.1\r\n\r\n" + HELLO)
        writer.write_eof()
        assert (await reader.read()).endswith(b"\r\n\r\n" + HELLO)
        writer.close()


# -- limits


async def test_connections_at_once_are_limited(folder: Path) -> None:
    async with Internet() as internet, session(folder, internet, EgressPolicy(max_connections=2)) as inside:
        _, first, head = await inside.connect("shop.example:443")
        _, second, _ = await inside.connect("shop.example:443")
        assert b" 200 " in head
        assert await inside.status("shop.example:443") == 403
        assert reasons(inside) == ["too_many_connections"]
        first.close()
        while await inside.status("shop.example:443") != 200:  # the gateway learns of the close a moment later
            pass
        second.close()


async def test_a_flood_of_silent_connections_is_cut(folder: Path) -> None:
    async with Internet() as internet, session(folder, internet, EgressPolicy(max_connections=2)) as inside:
        silent = [await inside.open() for _ in range(80)]
        for reader, _ in silent[66:]:
            assert await reader.read() == b""
        for _, writer in silent:
            writer.close()


async def test_bytes_are_limited_for_the_whole_session(folder: Path) -> None:
    async with Internet() as internet, session(folder, internet, EgressPolicy(max_bytes=100_000)) as inside:
        reader, writer, _ = await inside.connect("shop.example:443")
        writer.write(HELLO + bytes(300_000))
        with suppress(ConnectionError):
            assert len(await reader.read()) < 300_000
        writer.close()
        assert await inside.status("shop.example:443") == 403
        assert reasons(inside) == ["too_many_bytes", "too_many_bytes"]


async def test_names_are_limited(folder: Path) -> None:
    async with Internet() as internet, session(folder, internet, EgressPolicy(max_names=2)) as inside:
        for host in ("a.example", "b.example", "a.example", PUBLIC):
            assert await inside.status(f"{host}:443") == 200
        assert await inside.status("c2VjcmV0.evil.example:443") == 403
        assert reasons(inside) == ["too_many_names"]
        assert inside.served.counts.names == 2
    assert "c2VjcmV0.evil.example" not in internet.lookups


async def test_a_refusal_is_told_once_and_counted_each_time(folder: Path) -> None:
    async with Internet() as internet, session(folder, internet) as inside:
        for _ in range(3):
            await inside.status("10.0.0.1:443")
        assert len(inside.refusals) == 1
        assert inside.served.counts.refusals == 3
        for number in range(300):
            await inside.status(f"10.0.1.{number % 256}:{443 + number}")
        assert len(inside.refusals) == 200


@pytest.mark.parametrize("request_", [b"GET http://a.example/ HTTP/1.1\r\n" + b"X: y\r\n" * 8000, b"A" * 40_000])
async def test_a_head_without_end_is_refused(folder: Path, request_: bytes) -> None:
    async with Internet() as internet, session(folder, internet) as inside:
        assert (await inside.ask(request_)).startswith(b"HTTP/1.1 431 ")


async def test_a_head_or_hello_that_never_ends_is_given_up(folder: Path) -> None:
    hasty = Timeouts(handshake_s=0.5)
    async with Internet() as internet, session(folder, internet, timeouts=hasty) as inside:
        assert (await inside.ask(b"GET http://a.exa")).startswith(b"HTTP/1.1 408 ")
        reader, writer, _ = await inside.connect("shop.example:443")
        writer.write(HELLO[:50])
        assert await reader.read() == b""
        writer.close()


async def test_an_idle_tunnel_is_closed(folder: Path) -> None:
    async with Internet() as internet, session(folder, internet, timeouts=Timeouts(idle_s=0.5)) as inside:
        reader, writer, _ = await inside.connect("shop.example:443")
        writer.write(HELLO)
        await reader.readexactly(len(HELLO))
        assert await reader.read() == b""
        writer.close()


async def test_a_lookup_that_hangs_or_fails_says_so(folder: Path) -> None:
    async def hangs(_: str) -> list[object]:
        await asyncio.Event().wait()
        return []

    async def fails(_: str) -> list[object]:
        raise OSError("no such name")

    async def nothing(_: str) -> list[object]:
        return []

    for resolve in (hangs, fails, nothing):
        async with (
            Internet() as internet,
            session(folder, internet, resolve=resolve, timeouts=Timeouts(lookup_s=0.05)) as inside,
        ):
            _, _, head = await inside.connect("shop.example:443")
            assert head.startswith(b"HTTP/1.1 502 ")
            assert b"shop.example" in head
            assert inside.refusals == []


async def test_a_place_that_does_not_answer_says_so(folder: Path) -> None:
    internet = Internet()
    async with internet:
        pass  # nobody listens any more
    async with session(folder, internet) as inside:
        _, _, head = await inside.connect("shop.example:443")
        assert head.startswith(b"HTTP/1.1 502 ")
        assert b"does not answer" in head


# -- life


async def test_closing_cuts_everything_and_can_be_done_twice(folder: Path) -> None:
    async with Internet() as internet, session(folder, internet) as inside:
        reader, writer, _ = await inside.connect("shop.example:443")
        await inside.served.close()
        await inside.served.close()
        assert await reader.read() == b""
        assert not inside.path.exists()
        writer.close()


async def test_a_socket_is_served_again_at_its_path_after_a_crash(folder: Path) -> None:
    async with Internet() as internet:
        gateway = EgressGateway(resolve=internet.resolve, connect=internet.connect)
        crashed = await gateway.serve(folder / "egress.sock", EgressPolicy(), lambda _: None)
        async with session(folder, internet) as inside:
            assert await inside.status("shop.example:443") == 200
            await crashed.close()
            assert inside.path.is_socket()
            assert inside.path.stat().st_mode & 0o777 == 0o666
            assert await inside.status("shop.example:443") == 200


async def test_what_is_no_socket_is_never_removed(folder: Path) -> None:
    (folder / "egress.sock").write_text("precious")
    async with Internet() as internet:
        with pytest.raises(Conflict):
            async with session(folder, internet):
                pass
    assert (folder / "egress.sock").read_text() == "precious"


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (EgressPolicy(allow_private=("nas.lan",)), "egress.allow_private"),
        (EgressPolicy(allow_private=("http://nas.lan:80",)), "egress.allow_private"),
        (EgressPolicy(deny_hosts=("a b",)), "egress.deny_hosts"),
        (EgressPolicy(allowed_domains=("https://x.example",)), "allowed_domains"),
    ],
)
async def test_a_policy_that_cannot_be_meant_is_named(folder: Path, policy: EgressPolicy, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        await EgressGateway().serve(folder / "egress.sock", policy, lambda _: None)
    assert caught.value.field == field
