"""Brings a database to the schema of this program: checked at each start, changed only after a snapshot."""

from __future__ import annotations

import os
import re
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, inspect, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from ccdtasks.db import explained
from ccdtasks.db.lock import instance_lock
from ccdtasks.errors import CcdError, Conflict, Unavailable

if TYPE_CHECKING:
    from alembic.config import Config as AlembicConfig


@dataclass(frozen=True, slots=True)
class Chain:
    """The revisions in order, the present one last, and where Alembic finds their scripts."""

    revisions: tuple[str, ...]
    location: str

    @property
    def present(self) -> str:
        return self.revisions[-1]


OURS = Chain(("0001", "0002"), "ccdtasks:db/migrations")
"""Listed here too, so that a start with an up-to-date database loads no Alembic (33 MB, 0.5 s)."""

_KEPT = 5
_SNAPSHOT = re.compile(r"ccdtasks-[0-9a-z]+-\d{8}-\d{6}\.db(\.part(-journal)?)?")
_COUNTED = {
    "tasks": "tasks",
    "schedules": "tasks WHERE schedule_cron IS NOT NULL",
    "task_runs": "task_runs",
    "task_templates": "task_templates",
    "task_dependencies": "task_dependencies",
    "user_settings": "user_settings",
}
"""What no migration may lose, by the name under which its loss is told."""


async def bring_up_to_date(
    url: str, backups: Path, now: datetime, *, holds_lock: bool = False, wait_s: float = 30.0, chain: Chain = OURS
) -> Path | None:
    """Migrates the database when it is older than the program; returns the snapshot that was made, if any.

    `holds_lock`: the caller has the instance's lock already; else it is waited for. Refuses a newer, foreign, damaged
    or read-only database.
    """
    _require_folder(url)
    engine = create_async_engine(url, poolclass=NullPool, hide_parameters=True)
    try:
        if not _is_unmade(url) and await _revision(engine, chain) == chain.present:
            return None
        async with AsyncExitStack() as stack:
            if not holds_lock:
                await stack.enter_async_context(instance_lock(url, wait_s=wait_s))
            return await _migrate(engine, url, backups, now, chain)
    except (SQLAlchemyError, OSError) as error:
        known = explained(error)
        if known is None:
            raise
        raise known from error
    finally:
        await engine.dispose()


async def _migrate(engine: AsyncEngine, url: str, backups: Path, now: datetime, chain: Chain) -> Path | None:
    _refuse_empty_file(url, backups)
    revision = await _revision(engine, chain)  # once more: another process may have done it while we waited
    if revision == chain.present:
        return None
    snapshot = None
    if revision is not None:
        snapshot = await _snapshot(engine, backups, f"{revision}-{now:%Y%m%d-%H%M%S}")
    async with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            await _begin_immediate(connection)
        before = await _counts(connection)
        await connection.run_sync(_upgrade, chain)
        after = await _counts(connection)
        lost = [name for name, number in before.items() if after.get(name, 0) < number]
        if lost:
            raise Conflict(
                f"The migration would have lost rows of {', '.join(lost)}; nothing was changed.", "please report this"
            )
        await connection.commit()
    _close_to_others(url)
    return snapshot


async def _revision(engine: AsyncEngine, chain: Chain) -> str | None:
    """The revision of the database; None for one without any table. Raises Conflict for one that is not ours."""
    async with engine.connect() as connection:
        tables = set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))
        if not tables:
            return None
        if "alembic_version" not in tables:
            raise Conflict("This database belongs to another program.", "name another one in `[database] url`")
        found = str(await connection.scalar(text("SELECT version_num FROM alembic_version")))
    if found not in chain.revisions:
        raise Conflict(
            "The database was made by a newer ccdtasks.", "install that version again, or restore a snapshot"
        )
    return found


def alembic_config(connection: Connection | None = None, chain: Chain = OURS) -> AlembicConfig:
    """Alembic's settings for the migrations inside this package; works from a wheel and from shiv."""
    from alembic.config import Config as AlembicConfig  # noqa: PLC0415 - loaded only when there is something to migrate

    config = AlembicConfig()
    config.set_main_option("script_location", chain.location)
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection, chain: Chain) -> None:
    from alembic import command  # noqa: PLC0415

    command.upgrade(alembic_config(connection, chain), chain.present)


async def _begin_immediate(connection: AsyncConnection) -> None:
    """One transaction around all of it. Foreign keys stay off: a rebuilt table must not take its children along."""
    raw: Any = await connection.get_raw_connection()
    raw.driver_connection.isolation_level = None
    await connection.exec_driver_sql("PRAGMA busy_timeout=15000")
    await connection.exec_driver_sql("BEGIN IMMEDIATE")


async def _counts(connection: AsyncConnection) -> dict[str, int]:
    tables = set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))
    return {
        name: int(await connection.scalar(text(f"SELECT count(*) FROM {rows}")) or 0)  # noqa: S608 - our own names
        for name, rows in _COUNTED.items()
        if rows.split()[0] in tables
    }


async def _snapshot(engine: AsyncEngine, backups: Path, label: str) -> Path | None:
    """A whole copy of a SQLite database; the newest five stay. Postgres has its own means (docs/core.md)."""
    if engine.dialect.name != "sqlite":
        return None
    target = backups / f"ccdtasks-{label}.db"
    async with engine.connect() as connection:
        await connection.run_sync(lambda sync: _vacuum_into(sync, target))
    tidy_snapshots(backups)
    return target


def tidy_snapshots(backups: Path) -> list[Path]:
    """Removes snapshots of ours beyond the newest five, and halves of one that a crash left; returns those removed.

    Only for whoever holds the instance's lock: somebody else may be making one.
    """
    found = [path for path in backups.glob("*") if _SNAPSHOT.fullmatch(path.name)]
    whole = sorted((path for path in found if path.suffix == ".db"), key=lambda path: path.stat().st_mtime)
    gone = [*whole[:-_KEPT], *(path for path in found if path.suffix != ".db")]
    for path in gone:
        path.unlink(missing_ok=True)
    return gone


def _vacuum_into(connection: Connection, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    half = target.with_name(f"{target.name}.part")
    half.unlink(missing_ok=True)
    connection.connection.dbapi_connection.isolation_level = None  # type: ignore[union-attr]
    connection.exec_driver_sql("VACUUM INTO ?", (str(half),))
    half.chmod(0o600)
    half.rename(target)


def _require_folder(url: str) -> None:
    file = _file(url)
    if file is None:
        return
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(file.parent, error.strerror or "refused") from None
    for path in (file.parent, file):
        if path.exists() and not os.access(path, os.W_OK):
            raise _not_writable(path, "permission denied")


def _close_to_others(url: str) -> None:
    """What runs found is nobody else's business, also where the folder was there before and is open to all."""
    file = _file(url)
    if file is not None:
        file.chmod(0o600)  # SQLite gives its journals the same


def _not_writable(path: Path, why: str) -> CcdError:
    return Unavailable("database", f"{path} cannot be written: {why}.", "check `[paths] data_dir` and who owns it")


def _file(url: str) -> Path | None:
    parsed = make_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def _is_unmade(url: str) -> bool:
    """Whether there is no SQLite file yet; looking into it would make one."""
    file = _file(url)
    return file is not None and (not file.exists() or file.stat().st_size == 0)


def _refuse_empty_file(url: str, backups: Path) -> None:
    """An empty file is what a full disk or a broken restore leaves; a new database over it would hide the loss."""
    file = _file(url)
    if file is not None and file.exists() and file.stat().st_size == 0:
        hint = f"restore a snapshot from {backups}, or delete the file to start anew"
        raise Unavailable("database", f"The database {file} is an empty file.", hint)
