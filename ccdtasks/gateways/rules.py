"""What a session may reach by name: the rules that need no address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ccdtasks.errors import Invalid
from ccdtasks.gateways.addresses import Address
from ccdtasks.gateways.authority import Target, parse_authority, parse_host

# What Chromium calls by itself for its maker: updates, clock, safe browsing, experiments, push. Nobody asked for these,
# so they are refused without a word.
_CHROMIUM_SERVICES = (
    "android.clients.google.com",
    "chromekanonymity-pa.googleapis.com",
    "chromesyncpasswords-pa.googleapis.com",
    "clients1.google.com",
    "clients2.google.com",
    "clients3.google.com",
    "clients4.google.com",
    "clientservices.googleapis.com",
    "content-autofill.googleapis.com",
    "edgedl.me.gvt1.com",
    "gvt2.com",
    "mtalk.google.com",
    "optimizationguide-pa.googleapis.com",
    "passwordsleakcheck-pa.googleapis.com",
    "redirector.gvt1.com",
    "safebrowsing.google.com",
    "safebrowsing.googleapis.com",
    "safebrowsingohttpgateway.googleapis.com",
    "sb-ssl.google.com",
    "update.googleapis.com",
)

_PLAIN_PORT = 80

# With a key of their own, a page's author could have the agent upload files there: an API host that everybody
# trusts is a way out. The maker's web pages stay open.
_MODEL_DOMAINS = ("anthropic.com", "api.claude.com")
_MODEL_WEB_PAGES = {"anthropic.com"} | {
    f"{name}.anthropic.com" for name in ("www", "docs", "support", "status", "trust", "red", "alignment")
}


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What one session may reach. A name in `deny_hosts` and `allowed_domains` includes its subdomains.

    `allow_private`: single `host:port` pairs that may lie on the home network. `allowed_domains`: None = the whole
    internet. `max_connections`: open at once; `max_bytes`: both ways together; `max_names`: distinct names looked up,
    all for the whole session, None = without limit.
    """

    allow_private: tuple[str, ...] = ()
    deny_hosts: tuple[str, ...] = ()
    allowed_domains: tuple[str, ...] | None = None
    max_connections: int = 256
    max_bytes: int | None = None
    max_names: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something the session wanted to reach and may not. `reason`: a short stable code; `text`: for the user."""

    host: str
    port: int
    reason: str
    text: str
    quiet: bool = False


class Refused(Exception):
    """A rule says no."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal


class Rules:
    """A policy, read once. Raises Invalid for an entry that cannot be meant."""

    def __init__(self, policy: EgressPolicy, model_hosts: Sequence[str] = ()) -> None:
        self._private = {_pair(entry) for entry in policy.allow_private}
        self._denied = _names("egress.deny_hosts", policy.deny_hosts)
        self._allowed = None if policy.allowed_domains is None else _names("allowed_domains", policy.allowed_domains)
        self._model_hosts = _names("claude.base_url", model_hosts)
        self._denied_addresses = {
            target.literal for target in map(parse_host, policy.deny_hosts) if target and target.literal is not None
        }

    def opens_private(self, target: Target) -> bool:
        """True if the owner opened this very host and port, wherever it lies."""
        return (target.host, target.port) in self._private

    def denies_address(self, address: Address) -> bool:
        """True if the owner listed the address itself in `deny_hosts`."""
        return address in self._denied_addresses

    def refuse(self, target: Target, usual_port: int) -> Refusal | None:
        """Why `target` may not be reached, judged by name and port; None if its addresses are to be looked at."""
        host, port = target.host, target.port
        if _covers(_CHROMIUM_SERVICES, host):
            return Refusal(host, port, "browser_service", f"{host} serves the browser's maker, not you.", quiet=True)
        if _covers(self._model_hosts, host) or (_covers(_MODEL_DOMAINS, host) and host not in _MODEL_WEB_PAGES):
            return Refusal(host, port, "model_api", f"{host} is the model's API; a session reaches it in its own way.")
        if _covers(self._denied, host):
            return Refusal(host, port, "denied_host", f"{host} is denied by [egress] deny_hosts.")
        if self._allowed is not None and not _covers(self._allowed, host):
            return Refusal(host, port, "not_allowed_domain", f"{host} is not among the task's allowed_domains.")
        if port != usual_port and not self.opens_private(target):
            closed = "only ports 443 (https) and 80 (http) are open"
            if port == _PLAIN_PORT:  # and not asked for as a plain request
                closed = "nothing but http is open on port 80, so a WebSocket needs wss://"
            hint = f'allow it with [egress] allow_private = ["{target}"].'
            return Refusal(host, port, "port", f"{target}: {closed}; {hint}")
        return None


def _covers(names: Sequence[str] | frozenset[str], host: str) -> bool:
    """True if `host` is one of `names` or lies below one."""
    at = 0
    while True:
        if host[at:] in names:
            return True
        at = host.find(".", at) + 1
        if at == 0:
            return False


def _names(field: str, entries: Sequence[str]) -> frozenset[str]:
    names = set()
    for entry in entries:
        target = parse_host(entry.strip().removeprefix("*."))
        if target is None:
            raise Invalid(field, f"“{entry}” is not a host name or address.", "Write it like shop.example.com.")
        names.add(target.host)
    return frozenset(names)


def _pair(entry: str) -> tuple[str, int]:
    target = parse_authority(entry.strip())
    if target is None:
        raise Invalid("egress.allow_private", f"“{entry}” is not a host:port.", "Write it like nas.lan:8080.")
    return target.host, target.port
