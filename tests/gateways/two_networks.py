"""Run inside a new network namespace: a tiny internet of two machines, and the egress gateway on one with no stand-ins.

This machine has the public address 93.184.216.33, the other one, a namespace of its own, 93.184.216.34. Writes one JSON
object: for each authority, the status of a CONNECT and what came back through the tunnel.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

from ccdtasks.gateways.egress import EgressGateway, EgressPolicy
from tests.gateways.internet import client_hello

OWN, OTHER = "93.184.216.33", "93.184.216.34"
SERVER = f"""
import socket
print(flush=True)
input()  # the network is ready
with socket.create_server(("{OTHER}", 443)) as listener:
    print(flush=True)
    client, _ = listener.accept()
    client.recv(65536)
    client.sendall(b"from the other machine")
    client.close()
    input()  # the cable lasts as long as this process
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def connect_networks(other: subprocess.Popen[bytes]) -> None:
    """A cable between this namespace and that of `other`."""
    inside = ["nsenter", f"--net=/proc/{other.pid}/ns/net", "ip"]
    ip("link", "set", "lo", "up")
    ip("link", "add", "here", "type", "veth", "peer", "name", "there")
    ip("link", "set", "there", "netns", str(other.pid))
    ip("addr", "add", f"{OWN}/30", "dev", "here")
    ip("link", "set", "here", "up")
    subprocess.run([*inside, "addr", "add", f"{OTHER}/30", "dev", "there"], check=True)
    subprocess.run([*inside, "link", "set", "there", "up"], check=True)


async def ask(path: Path, authority: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(f"CONNECT {authority} HTTP/1.1\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " in head:
        writer.write(client_hello(None))
    answer = b""
    with contextlib.suppress(ConnectionError):
        answer = await reader.read()
    writer.close()
    return int(head.split()[1]), answer.decode(errors="replace")


async def probe(folder: Path) -> dict[str, tuple[int, str]]:
    path = folder / "egress.sock"
    home = await asyncio.start_server(lambda _, writer: writer.close(), "0.0.0.0", 443)
    served = await EgressGateway().serve(path, EgressPolicy(), lambda _: None)
    answers = {host: await ask(path, f"{host}:443") for host in (OWN, OTHER, "127.0.0.1", f"[::ffff:{OWN}]")}
    await served.close()
    home.close()
    return answers


def main() -> None:
    command = ["unshare", "--net", sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdin is not None
            assert other.stdout is not None
            other.stdout.readline()
            connect_networks(other)
            other.stdin.write(b"\n")
            other.stdin.flush()
            other.stdout.readline()
            sys.stdout.write(json.dumps(asyncio.run(probe(Path(sys.argv[1])))))
        finally:
            other.kill()


if __name__ == "__main__":
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    main()
