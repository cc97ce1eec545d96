"""What every part's tests share: databases of both kinds, a clock that is moved by hand, a core."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine, text
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.util import LRUCache

from ccdtasks.app import open_core
from ccdtasks.config import Config, DatabaseConfig, LimitsConfig, PathsConfig
from ccdtasks.core import Core
from ccdtasks.db.migrate import bring_up_to_date
from tests.clock import MoveableClock
from tests.postgres import postgres_binaries, postgres_server

# A busy machine is no defect.
settings.register_profile("ccdtasks", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ccdtasks")

gc.set_threshold(50_000, 20, 20)  # Python's own numbers would spend a fifth of the time on looking for garbage


def pytest_collection_finish() -> None:
    """Modules and tests stay for ever, as in a service: no collection of garbage walks through them again."""
    gc.collect()
    gc.freeze()


def _compile_each_statement_once() -> None:
    """Shares compiled statements between the engines of one kind, since each test opens engines of its own.

    SQLAlchemy keeps them by engine and by dialect object: a third of the time of a test would go into compiling what a
    service compiles once.
    """
    compiled = LRUCache(2000)
    Engine._compiled_cache = property(lambda _engine: compiled, lambda _engine, _own: None)
    DefaultDialect.__hash__ = lambda dialect: hash(type(dialect))
    DefaultDialect.__eq__ = lambda dialect, other: type(dialect) is type(other)


_compile_each_statement_once()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Both kinds in turn; a part that does not care overrides this with one of them."""
    return str(request.param)


@pytest.fixture(scope="session")
def postgres_folder() -> Iterator[Path]:
    """The socket folder of a PostgreSQL server that lives as long as the test session."""
    binaries = postgres_binaries()
    if binaries is None:
        if os.environ.get("CCDTEST_COMPLETE"):
            pytest.fail("PostgreSQL is not installed")
        pytest.skip("PostgreSQL is not installed; tests/setup/packages installs it")
    with postgres_server(binaries) as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres_template(postgres_folder: Path) -> str:
    """A migrated database that each test gets a copy of."""
    _sql(postgres_folder, "CREATE DATABASE ccd_template")
    _run(bring_up_to_date(_postgres_url(postgres_folder, "ccd_template"), Path("/nowhere"), datetime.now(UTC)))
    return "ccd_template"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file that each test gets a copy of."""
    file = tmp_path_factory.mktemp("template") / "ccdtasks.db"
    _run(bring_up_to_date(f"sqlite+aiosqlite:///{file}", file.parent / "backups", datetime.now(UTC)))
    return file


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """The data folder of one instance."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def empty_database_url(database_kind: str, data_dir: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database without any table (on SQLite: a file that does not exist yet)."""
    if database_kind == "sqlite":
        yield f"sqlite+aiosqlite:///{data_dir / 'ccdtasks.db'}"
        return
    with postgres_database(request.getfixturevalue("postgres_folder"), "template1") as url:
        yield url


@pytest.fixture
def database_url(database_kind: str, data_dir: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated database of the test's own."""
    if database_kind == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), data_dir / "ccdtasks.db")
        yield f"sqlite+aiosqlite:///{data_dir / 'ccdtasks.db'}"
        return
    template = request.getfixturevalue("postgres_template")
    with postgres_database(request.getfixturevalue("postgres_folder"), template) as url:
        yield url


@pytest.fixture
def clock() -> MoveableClock:
    """17 January 2026, 15:30 UTC, until it is moved."""
    return MoveableClock()


@pytest.fixture
def config(database_url: str, data_dir: Path) -> Config:
    """The configuration of an instance over the test's database: its own copy, defaults included."""
    config = Config(
        database=DatabaseConfig(url=database_url),
        paths=PathsConfig(data_dir=data_dir),
        limits=LimitsConfig(starts_per_minute=1000),
    )
    return config.model_copy(deep=True)


@pytest.fixture
async def core(config: Config, clock: MoveableClock) -> AsyncIterator[Core]:
    """An open core; at the end nothing of it may be left running."""
    before = asyncio.all_tasks()
    async with open_core(config, clock) as opened:
        yield opened
    assert not asyncio.all_tasks() - before - {asyncio.current_task()}


@contextmanager
def postgres_database(folder: Path, template: str) -> Iterator[str]:
    """A database of its own, copied from another one and dropped at the end."""
    name = f"t{uuid4().hex}"
    _sql(folder, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _postgres_url(folder, name)
    _sql(folder, f"DROP DATABASE {name} WITH (FORCE)")


def _postgres_url(folder: Path, name: str) -> str:
    return f"postgresql+asyncpg://ccd@/{name}?host={folder}"


def _sql(folder: Path, statement: str) -> None:
    async def execute() -> None:
        url = _postgres_url(folder, "postgres")
        engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.execute(text(statement))
        await engine.dispose()

    _run(execute())


def _run(work: Coroutine[Any, Any, Any]) -> None:
    """Runs `work` on a loop of its own, in a thread, since a test's loop may exist already."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()
