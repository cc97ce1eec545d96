"""A web part of the test's own over a real core, spoken to through real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from ccdtasks.adapters.storage import LocalStore
from ccdtasks.config import Config, ServerConfig
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL, Actor
from ccdtasks.engine.keeping import ArtifactStore, Keeper
from ccdtasks.web import open_web
from ccdtasks.web.context import Check

ALICE = Actor("100000000000000001", "discord")
BOB = Actor("100000000000000002", "discord")


@pytest.fixture
def database_kind() -> str:
    """Pages do not care which database it is."""
    return "sqlite"


@pytest.fixture
def server() -> ServerConfig:
    """A module's own `[server]` table."""
    return ServerConfig(port=0)


@pytest.fixture
def config(config: Config, server: ServerConfig) -> Config:
    return config.model_copy(update={"server": server})


@pytest.fixture
def store(data_dir: Path) -> ArtifactStore:
    return LocalStore(data_dir / "artifacts")


@pytest.fixture
async def keeper(core: Core, store: ArtifactStore, data_dir: Path) -> AsyncIterator[Keeper]:
    with ThreadPoolExecutor(2) as threads:
        spool = None if isinstance(store, LocalStore) else LocalStore(data_dir / "spool")
        yield Keeper(core, store, spool, threads)
        await store.close()
        if spool is not None:
            await spool.close()


@dataclass(frozen=True)
class Site:
    """The web part as a visitor sees it; `browser` keeps cookies."""

    url: str
    core: Core
    keeper: Keeper
    browser: aiohttp.ClientSession

    async def token(self, actor: Actor = ALICE, *, is_admin: bool = False) -> str:
        made = await self.core.tokens.create(SHELL, "test", user_id=actor.user_id, is_admin=is_admin)
        return made.secret

    async def api(self, actor: Actor = ALICE, *, is_admin: bool = False) -> dict[str, str]:
        """The headers of a program that acts for somebody."""
        return {"Authorization": f"Bearer {await self.token(actor, is_admin=is_admin)}"}

    async def log_in(self, actor: Actor = ALICE, *, is_admin: bool = False) -> None:
        form = {"token": await self.token(actor, is_admin=is_admin)}
        async with self.browser.post(f"{self.url}/login", data=form, allow_redirects=False) as answer:
            assert answer.status == 303


Serve = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def serve(core: Core, keeper: Keeper) -> Serve:
    """The web part with the given checks of parts."""

    @asynccontextmanager
    async def serve(**checks: Check) -> AsyncIterator[Site]:
        async with open_web(core, keeper, checks) as port, visitor() as browser:
            yield Site(f"http://127.0.0.1:{port}", core, keeper, browser)

    return serve


@pytest.fixture
async def site(serve: Serve) -> AsyncIterator[Site]:
    async with serve() as opened:
        yield opened


def visitor() -> aiohttp.ClientSession:
    """A browser without a screen: it keeps cookies, also those of an address without a name."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), auto_decompress=True)
