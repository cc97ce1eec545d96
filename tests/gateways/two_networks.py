"""Run inside a new network namespace: a home, a tiny internet, and the egress gateway with no stand-ins.

This machine is in a home whose devices have public addresses: 198.41.0.2/24 and 2a02:810d:4:5600::2/64. Another
machine, a namespace of its own, is at once a device of that home and, behind a router, the internet. Writes one JSON
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

OWN, OWN_V6 = "198.41.0.2", "2a02:810d:4:5600::2"
SITE, SITE_V6 = "93.184.216.34", "2606:2800:220:1::34"
PRINTER, ROUTER_V6 = "198.41.0.7", "2a02:810d:4:5600::1"
GUESTS_V6 = "2a02:810d:4:5611::9"  # another network of the same home, behind its router
LISTENER = """
import socket, threading
print(flush=True)
input()  # the network is ready
def serve(listener):
    while True:
        client, _ = listener.accept()
        client.recv(65536)
        client.sendall(b"from the other machine")
        client.close()
both = socket.create_server(("::", 443), family=socket.AF_INET6, dualstack_ipv6=True)
threading.Thread(target=serve, args=(both,), daemon=True).start()
print(flush=True)
input()  # the cable lasts as long as this process
"""


def ip(*arguments: str, inside: subprocess.Popen[bytes] | None = None) -> None:
    enter = ["nsenter", f"--net=/proc/{inside.pid}/ns/net"] if inside else []
    subprocess.run([*enter, "ip", *arguments], check=True)


def connect_networks(other: subprocess.Popen[bytes]) -> None:
    """A cable between this namespace and that of `other`, who has all addresses but our own."""
    ip("link", "set", "lo", "up")
    ip("link", "add", "here", "type", "veth", "peer", "name", "there")
    ip("link", "set", "there", "netns", str(other.pid))
    for address in (f"{PRINTER}/24", f"{ROUTER_V6}/64"):
        ip("addr", "add", address, "dev", "there", "nodad", inside=other)
    ip("link", "set", "lo", "up", inside=other)
    ip("link", "set", "there", "up", inside=other)
    for address in (f"{SITE}/32", f"{SITE_V6}/128", f"{GUESTS_V6}/128"):
        ip("addr", "add", address, "dev", "lo", inside=other)
    for address in (f"{OWN}/24", f"{OWN_V6}/64"):
        ip("addr", "add", address, "dev", "here", "nodad")
    ip("link", "set", "here", "up")
    ip("route", "add", "default", "via", PRINTER)
    ip("-6", "route", "add", "default", "via", ROUTER_V6)


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
    policy = EgressPolicy(allow_private=(f"{PRINTER}:443",)) if "--opened" in sys.argv else EgressPolicy()
    served = await EgressGateway().serve(path, policy, lambda _: None)
    v4 = (SITE, OWN, PRINTER, "127.0.0.1", f"[::ffff:{OWN}]", f"[::ffff:{PRINTER}]")
    v6 = (f"[{host}]" for host in (SITE_V6, OWN_V6, ROUTER_V6, GUESTS_V6))
    answers = {host: await ask(path, f"{host}:443") for host in (*v4, *v6)}
    await served.close()
    home.close()
    return answers


def main() -> None:
    command = ["unshare", "--net", sys.executable, "-c", LISTENER]
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
