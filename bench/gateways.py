"""What the gateways cost, as ratios from one interleaved run: `python bench/gateways.py [--rounds 6] [--mib 256]`.

Model: time to the first byte of an answer through the gateway's unix socket against a direct connection to the same
stand-in for the API, with a request of the CLI's size. Egress: throughput of one download through the gateway's socket
against tinyproxy (Debian's package) and against a direct connection. Client, server and proxy are processes of their
own, as in life. The machine's load moves the absolute figures; the ratios hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from ccdtasks.gateways.credential import Credential
from ccdtasks.gateways.egress import EgressGateway, EgressPolicy
from ccdtasks.gateways.model import ModelGateway, ModelGrant
from ccdtasks.gateways.prices import PriceTable

DUMMY = "sk-ant-api03-dummy"
BODY = json.dumps(
    {"model": "claude-sonnet-5", "stream": True, "messages": [{"role": "user", "content": "x" * 65_000}]}
).encode()
START = b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":9}}}\n\n'
PIECE = bytes(256 * 1024)


# -- the other processes


async def serve_model(port: int) -> None:
    """Answers each request on a connection with the first event of a stream and its end, from ready-made bytes."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer += f"{len(START):x}\r\n".encode() + START + b"\r\n0\r\n\r\n"

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.partition("content-length: ")[2].split("\r\n")[0])
                await reader.readexactly(length)
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", port)
    await server.serve_forever()


def serve_bytes(port: int, size: int) -> None:
    """Sends `size` bytes to whoever says anything."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                for _ in range(size // len(PIECE)):
                    client.sendall(PIECE)


async def serve_gateways(folder: Path, model_port: int, bytes_port: int) -> None:
    policy = EgressPolicy(allow_private=(f"127.0.0.1:{bytes_port}",))
    await EgressGateway().serve(folder / "egress.sock", policy, lambda refusal: print(refusal, file=sys.stderr))
    gateway = ModelGateway(Credential("api_key", "real"), f"http://127.0.0.1:{model_port}", PriceTable())
    await gateway.serve(folder / "model.sock", ModelGrant(UUID(int=1), DUMMY), lambda _: None)
    await asyncio.Event().wait()


@contextmanager
def process(*arguments: str) -> Iterator[None]:
    """A process that ends with the block."""
    child = subprocess.Popen(arguments)
    try:
        yield
    finally:
        child.terminate()
        child.wait()


def role(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, __file__, "--role", *arguments)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


# -- the client


def opened(address: Path | int) -> socket.socket:
    """A connection, as soon as somebody listens there."""
    while True:
        sock = socket.socket(socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET)
        try:
            sock.connect(str(address) if isinstance(address, Path) else ("127.0.0.1", address))
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            time.sleep(0.05)
        else:
            return sock


def first_bytes_us(address: Path | int, count: int) -> list[float]:
    """Microseconds from sending a request to the first byte of its answer, on one connection."""
    head = (
        "POST /v1/messages?beta=true HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"x-api-key: {DUMMY}\r\nanthropic-version: 2023-06-01\r\nContent-Length: {len(BODY)}\r\n\r\n"
    )
    times = []
    with opened(address) as sock:
        for _ in range(count):
            begun = time.perf_counter()
            sock.sendall(head.encode() + BODY)
            got = sock.recv(65536)
            times.append((time.perf_counter() - begun) * 1e6)
            while not got.endswith(b"0\r\n\r\n"):
                got += sock.recv(65536)
            assert b" 200 " in got, got
    return times


def download_mb_s(address: Path | int, bytes_port: int, size: int, *, proxy: bool) -> float:
    """Megabytes a second of one download."""
    buffer = bytearray(len(PIECE))
    with opened(address) as sock:
        if proxy:
            sock.sendall(f"CONNECT 127.0.0.1:{bytes_port} HTTP/1.1\r\n\r\n".encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += sock.recv(1)
            assert b" 200 " in head, head
        begun = time.perf_counter()
        sock.sendall(b"go")
        left = size
        while left:
            left -= (got := sock.recv_into(buffer))
            assert got
        return size / (time.perf_counter() - begun) / 1e6


def interleaved(rounds: int, contenders: dict[str, Callable[[], list[float]]]) -> dict[str, float]:
    """The median of each contender, taken in turns so that the machine's moods meet all."""
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for contender in contenders.values():
        contender()  # warms up
    for _ in range(rounds):
        for name, contender in contenders.items():
            figures[name] += contender()
    return {name: statistics.median(values) for name, values in figures.items()}


def measure(rounds: int, size: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="ccd-"))
    model_port, bytes_port, tiny_port = free_port(), free_port(), free_port()
    config = folder / "tinyproxy.conf"
    config.write_text(f"Port {tiny_port}\nListen 127.0.0.1\nAllow 127.0.0.1\nLogLevel Critical\nTimeout 60\n")
    tinyproxy = shutil.which("tinyproxy") or sys.exit("tinyproxy is wanted: apt-get install tinyproxy-bin")
    with (
        process(*role("model", str(model_port))),
        process(*role("bytes", str(bytes_port), str(size))),
        process(*role("gateways", str(folder), str(model_port), str(bytes_port))),
        process(tinyproxy, "-d", "-c", str(config)),
    ):
        first = interleaved(
            rounds,
            {
                "direct": lambda: first_bytes_us(model_port, 50),
                "gateway": lambda: first_bytes_us(folder / "model.sock", 50),
            },
        )
        speed = interleaved(
            rounds,
            {
                "direct": lambda: [download_mb_s(bytes_port, bytes_port, size, proxy=False)],
                "tinyproxy": lambda: [download_mb_s(tiny_port, bytes_port, size, proxy=True)],
                "gateway": lambda: [download_mb_s(folder / "egress.sock", bytes_port, size, proxy=True)],
            },
        )
    shutil.rmtree(folder)
    print(f"model gateway, first byte of an answer to {len(BODY) / 1000:.0f} KB (median of {rounds} x 50)")
    print(f"  direct {first['direct']:.0f} us, through {first['gateway']:.0f} us: "
          f"{first['gateway'] - first['direct']:.0f} us added")  # fmt: skip
    print(f"egress gateway, one download of {size >> 20} MiB (median of {rounds})")
    for name, value in speed.items():
        print(f"  {name:10} {value:6.0f} MB/s")
    print(f"  gateway is {speed['gateway'] / speed['tinyproxy']:.2f} times tinyproxy (goal: 2), "
          f"{speed['gateway'] / speed['direct']:.2f} of direct")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--role", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    match arguments.role:
        case None:
            measure(arguments.rounds, arguments.mib << 20)
        case ["model", port]:
            asyncio.run(serve_model(int(port)))
        case ["bytes", port, size]:
            serve_bytes(int(port), int(size))
        case ["gateways", folder, model_port, bytes_port]:
            asyncio.run(serve_gateways(Path(folder), int(model_port), int(bytes_port)))


if __name__ == "__main__":
    main()
