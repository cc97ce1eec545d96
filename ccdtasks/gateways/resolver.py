"""Looks names up and connects, so that the address that was judged is the address that is dialled."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, ip_address

import aiohappyeyeballs

from ccdtasks.gateways.addresses import Address, is_own, why_not_public
from ccdtasks.gateways.authority import Target
from ccdtasks.gateways.neighbours import Network, home_networks, is_neighbour
from ccdtasks.gateways.rules import Refusal, Rules

Resolve = Callable[[str], Awaitable[Sequence[tuple[socket.AddressFamily, str]]]]
Dial = Callable[[Sequence[Address], int], Awaitable[socket.socket]]

_LOOKUPS_AT_ONCE = 8
_NEXT_ADDRESS_AFTER_S = 0.25  # RFC 8305: the next address is tried while the first still hangs


class Unreachable(Exception):
    """The place may be reached but does not answer; the text says so to the user."""


class SystemResolver:
    """The system's own name lookup, in a few threads of one session: its slow names hold up nobody else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKUPS_AT_ONCE, thread_name_prefix="egress-dns")

    async def __call__(self, host: str) -> Sequence[tuple[socket.AddressFamily, str]]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _look_up, host)

    def close(self) -> None:
        """Waits for nobody: a lookup that hangs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str) -> list[tuple[socket.AddressFamily, str]]:
    # Bytes, because a str goes through Python's IDNA codec, which maps circled digits and the like to ASCII.
    answers = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
    return [(family, str(address[0])) for family, _, _, _, address in answers]


async def addresses_of(target: Target, resolve: Resolve, timeout_s: float) -> list[Address]:
    """Every address of the target, asked for once. Raises Unreachable."""
    if target.literal is not None:
        return [target.literal]
    try:
        async with asyncio.timeout(timeout_s):
            answers = await resolve(target.host)
    except TimeoutError:
        raise Unreachable(f"The name {target.host} was not found in {timeout_s:.0f} s.") from None
    except OSError:
        raise Unreachable(f"The name {target.host} was not found.") from None
    if not answers:
        raise Unreachable(f"The name {target.host} has no address.")
    return [ip_address(text) for _, text in answers]


def refuse_addresses(target: Target, addresses: Sequence[Address], rules: Rules) -> Refusal | None:
    """Why these addresses may not be dialled. One that is not public spoils them all: a mixed answer is a trick."""
    if rules.opens_private(target):
        return None
    networks = home_networks()
    for address in addresses:
        what = why_not_public(address) or _why_near(address, networks)
        if what is None and rules.denies_address(address):
            text = f"{target.host} ({address}) is denied by [egress] deny_hosts."
            return Refusal(target.host, target.port, "denied_host", text)
        if what is not None:
            place = target.host if target.literal is not None else f"{target.host} ({address})"
            verb = "is" if what.startswith("not") or what == "this computer" else "is on"
            text = f'{place} {verb} {what}; allow it with [egress] allow_private = ["{target}"].'
            return Refusal(target.host, target.port, "private_address", text)
    return None


def _why_near(address: Address, networks: Sequence[Network]) -> str | None:
    """What a public address is that must not be reached all the same."""
    if is_own(address):
        return "this computer"
    return "your home network" if is_neighbour(address, networks) else None


async def dial(addresses: Sequence[Address], port: int) -> socket.socket:
    """A socket connected to the first of these very addresses that answers. Raises OSError."""
    infos = [_info(address, port) for address in addresses]
    return await aiohappyeyeballs.start_connection(infos, happy_eyeballs_delay=_NEXT_ADDRESS_AFTER_S, interleave=1)


def _info(address: Address, port: int) -> aiohappyeyeballs.AddrInfoType:
    match address:
        case IPv4Address():
            return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(address), port)
        case IPv6Address():
            return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(address), port, 0, 0)
