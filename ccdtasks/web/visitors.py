"""Where a request comes from. Headers about it are believed from trusted proxies alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from aiohttp import web

from ccdtasks.config import ServerConfig
from ccdtasks.errors import Denied
from ccdtasks.web.context import CORE

Address = IPv4Address | IPv6Address

VISITOR = web.RequestKey("visitor", str)

_OF_ONE_HOUSEHOLD = 64  # RFC 6177: a site has at least a /64, so single addresses in it mean nothing


def address_of(request: web.Request) -> Address | None:
    """The visitor's address: the last one in `X-Forwarded-For` that is not a trusted proxy, else the peer's own.

    None when it comes by another way than the internet protocol.
    """
    address = _address(request.remote or "")
    config = request.app[CORE].config.server
    hops = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
    while address is not None and is_trusted(address, config) and hops:
        before = _address(hops.pop().strip())
        if before is None:
            return address
        address = before
    return address


@web.middleware
async def note_visitor(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Keeps the visitor's address for the log."""
    request[VISITOR] = str(address_of(request))
    return await handler(request)


def household_of(request: web.Request) -> str:
    """The address for limits: an IPv6 network counts as one visitor."""
    address = address_of(request)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, _OF_ONE_HOUSEHOLD), strict=False))
    return str(address)


def is_trusted(address: Address, config: ServerConfig) -> bool:
    """Whether `[server] trusted_proxies` names this address."""
    return any(address in ip_network(network, strict=False) for network in config.trusted_proxies)


def is_https(request: web.Request) -> bool:
    """Whether the visitor's own connection is encrypted: by what a trusted proxy says, else by `public_url`."""
    config = request.app[CORE].config.server
    peer = _address(request.remote or "")
    said = request.headers.get("X-Forwarded-Proto")
    if said and peer is not None and is_trusted(peer, config):
        return said.strip().lower() == "https"
    public = urlsplit(config.public_url or "")
    return public.scheme == "https" and request.host.lower() == public.netloc.lower()


def require_own_page(request: web.Request) -> None:
    """Raises Denied when another site's page made the browser send this form."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        is_own = site in ("same-origin", "none")
    elif origin is not None:
        public = urlsplit(request.app[CORE].config.server.public_url or "").netloc
        is_own = urlsplit(origin).netloc.lower() in {request.host.lower(), public.lower()} - {""}
    else:
        is_own = True  # no browser sends a form without any of the two
    if not is_own:
        raise Denied("Another site sent this form.", "open the page here, and try again")


def _address(text: str) -> Address | None:
    """The address in `text`, with or without a port; one that is IPv4 inside of IPv6 as IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
