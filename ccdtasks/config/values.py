"""What a single value must look like. A `ValueError` says what it must be, never what it was: it may be a secret."""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import SecretStr

_HOST = r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])"
_HOST_PORT = re.compile(rf"{_HOST}:([0-9]{{1,5}})", re.ASCII)
_DENIED = re.compile(rf"(?:\*\.)?{_HOST}", re.ASCII)
_DATABASE_SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg", "sqlite", "sqlite+aiosqlite")


def listed(value: Any) -> Any:
    """Text with commas as a list, so that an environment variable can hold one; anything else as it is."""
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.strip().strip("[]").split(",") if part.strip()]


def table(value: Any) -> Any:
    """JSON text as a table, so that an environment variable can hold one; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("must be a table, in an environment variable written as JSON") from None


def secret(value: SecretStr) -> SecretStr:
    """A secret on one line, without the line's end that an editor or `echo` added."""
    text = value.get_secret_value().strip()
    if not text or any(character.isspace() for character in text):
        raise ValueError("must be one word without spaces; leave the key out if there is none")
    return SecretStr(text)


def http_url(value: str) -> str:
    """An http or https address without user name or password."""
    return _url(value, ("http", "https"), "must begin with http:// or https:// and name a host")


def socket_url(value: str) -> str:
    """A ws or wss address."""
    return _url(value, ("ws", "wss"), "must begin with ws:// or wss:// and name a host")


def _url(value: str, schemes: tuple[str, ...], otherwise: str) -> str:
    try:
        parts = urlsplit(value)
        valid = parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(otherwise)
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or password")
    return value


def database_url(value: SecretStr) -> SecretStr:
    """A URL of a database that we can use."""
    scheme, mark, rest = value.get_secret_value().partition("://")
    if not mark or not rest or scheme not in _DATABASE_SCHEMES:
        raise ValueError("must look like postgresql://user:password@host/name, or sqlite:////folder/file.db")
    return value


def folder(value: Path) -> Path:
    """An absolute folder; `~` is the home of the user who runs the service."""
    value = value.expanduser()
    if not value.is_absolute():
        raise ValueError("must be an absolute path, beginning with /")
    return value


def unix_socket(value: str) -> str:
    """The address of Podman's socket: `unix:///run/podman/podman.sock`, or just the path."""
    if not value.removeprefix("unix://").startswith("/"):
        raise ValueError("must be the path of a socket, such as /run/podman/podman.sock")
    return value


def networks(values: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses and networks such as `10.0.0.0/8`."""
    for value in values:
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError:
            raise ValueError("must hold addresses or networks, such as 127.0.0.1 or 10.0.0.0/8") from None
    return values


def host_ports(values: tuple[str, ...]) -> tuple[str, ...]:
    """Single places such as `nas.lan:8080` or `[fd00::1]:80`; a host without a port would open all of it."""
    for value in values:
        match = _HOST_PORT.fullmatch(value)
        if match is None or not 0 < int(match[1]) < 65536:
            raise ValueError("must hold host:port pairs, such as nas.lan:8080; no http:// and no path")
    return values


def hosts(values: tuple[str, ...]) -> tuple[str, ...]:
    """Host names (with all names below each) and addresses."""
    for value in values:
        if not _DENIED.fullmatch(value) and not _is_address(value):
            raise ValueError("must hold host names, such as ads.example.com; no http://, port or path")
    return values


def timezone(value: str) -> str:
    """A name of the IANA list."""
    try:
        return ZoneInfo(value).key
    except (KeyError, OSError, ValueError):
        raise ValueError("must be a timezone such as Europe/Berlin or America/New_York") from None


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True
