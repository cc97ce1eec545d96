"""Checks of the way out: the pages that people open, the key of their links, the store of files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_address
from urllib.parse import urlsplit

import aiohttp

from ccdtasks.amounts import counted
from ccdtasks.config import ServerConfig
from ccdtasks.core import Core
from ccdtasks.doctor.finding import Finding, fail, failed, ok, warn
from ccdtasks.engine.assembly import open_store
from ccdtasks.errors import CcdError
from ccdtasks.times import size_text

_ANSWER_LIMIT_S = 3.0
_STORE_LIMIT_S = 60.0
_COUNTED = 1000


async def outside_findings(core: Core) -> AsyncIterator[Finding]:
    """The key file, the web part and its address, the store and what waits for it."""
    try:
        core.vault.check()
    except CcdError as error:
        yield failed("key", error)
    else:
        yield ok("key", f"Links are signed with {core.config.paths.data_dir}/secret.key: it belongs in your backups.")
    yield await web(core.config.server)
    yield await _store(core)


async def web(server: ServerConfig) -> Finding:
    """Whether the web part answers where it should, and where people reach it."""
    if not server.enabled:
        return ok("web", "[server] is switched off: no pages, no API, no links.")
    here = f"http://{f'[{server.host}]' if ':' in server.host else server.host}:{server.port}"
    if not server.public_url:
        return warn("web", f"{here} {await _life(here)}; Discord has no links.", "set [server] public_url: docs/api.md")
    text = f"{server.public_url} leads to {here}, which {await _life(here)}."
    if urlsplit(server.public_url).scheme == "http" and not _is_here(server.host):
        text += " Without HTTPS others in the network can read along."
        return warn("web", text, "put a proxy in front: docs/api.md")
    return ok("web", text)


async def _life(here: str) -> str:
    """`answers`, or why not. The doctor may well come before the service runs."""
    limit = aiohttp.ClientTimeout(total=_ANSWER_LIMIT_S)
    try:
        async with aiohttp.ClientSession(timeout=limit) as session, session.get(f"{here}/healthz") as answer:
            is_ours = answer.status == 200 and answer.headers.get("Server") == "ccdtasks"
    except (aiohttp.ClientError, TimeoutError, OSError):
        return "answers when the service runs"
    return "answers" if is_ours else "is answered by another program: choose another [server] port"


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _waits(count: int, size_bytes: int) -> str:
    files = f"{counted(count, 'file')} {'waits' if count == 1 else 'wait'} for it, {size_text(size_bytes)}."
    return f" At least {files}" if count == _COUNTED else f" {files}"


async def _store(core: Core) -> Finding:
    config, store = core.config, open_store(core.config)
    where = f"bucket {config.storage.bucket}" if config.storage.kind == "s3" else "local folder"
    waiting = await core.artifacts.unstored(limit=_COUNTED)
    waits = _waits(len(waiting), sum(artifact.size_bytes for artifact in waiting)) if waiting else ""
    try:
        async with asyncio.timeout(_STORE_LIMIT_S):
            await store.check()
    except TimeoutError:
        return warn("store", f"The {where} does not answer.{waits}", "files wait in the spool until it does")
    except CcdError as error:
        return fail("store", f"{error.message}{waits}", error.hint)
    finally:
        await store.close()
    return ok("store", f"The {where} takes files.{waits}")
