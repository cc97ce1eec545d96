"""What a start does to a database: nothing when it is current, a snapshot and a migration when it is older."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import ccdtasks.db.migrations
from ccdtasks.db import Database
from ccdtasks.db.migrate import OURS, Chain, alembic_config, bring_up_to_date
from ccdtasks.db.models import Base, Task, TaskDependency
from ccdtasks.errors import Conflict, Unavailable

NOW = datetime(2026, 1, 17, 15, 30, tzinfo=UTC)


def _schema(connection: Connection) -> dict[str, Any]:
    """Everything the dialect knows about the tables, in a form that can be compared."""
    inspector = inspect(connection)
    tables = {}
    for name in inspector.get_table_names():
        if name == "alembic_version":
            continue
        tables[name] = {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"], str(column["default"]))
                for column in inspector.get_columns(name)
            },
            "key": inspector.get_pk_constraint(name)["constrained_columns"],
            "unique": {(each["name"], *each["column_names"]) for each in inspector.get_unique_constraints(name)},
            "foreign": {
                (*each["constrained_columns"], each["referred_table"], *each["referred_columns"])
                for each in inspector.get_foreign_keys(name)
            },
        }
    indexes = (
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        if connection.dialect.name == "sqlite"
        else "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
    )
    return {"tables": tables, "indexes": dict(connection.execute(text(indexes)).all())}


async def _read_schema(url: str) -> dict[str, Any]:
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        schema = await connection.run_sync(_schema)
    await engine.dispose()
    return schema


async def test_the_migrations_make_what_the_models_say(
    database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    by_models = f"sqlite+aiosqlite:///{tmp_path / 'models.db'}" if "sqlite" in database_url else empty_database_url
    engine = create_async_engine(by_models, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()
    migrated, modelled = await _read_schema(database_url), await _read_schema(by_models)
    assert migrated["tables"].keys() == modelled["tables"].keys()
    for name, table in modelled["tables"].items():
        assert migrated["tables"][name] == table, name
    assert migrated["indexes"] == modelled["indexes"]


def test_the_known_revisions_are_those_of_the_scripts() -> None:
    scripts = ScriptDirectory.from_config(alembic_config())
    chain = [script.revision for script in scripts.walk_revisions()][::-1]
    assert tuple(chain) == OURS.revisions


async def test_a_first_start_makes_the_database_and_no_snapshot(empty_database_url: str, tmp_path: Path) -> None:
    assert await bring_up_to_date(empty_database_url, tmp_path / "backups", NOW) is None
    assert not (tmp_path / "backups").exists()
    for file in (tmp_path / "data").glob("ccdtasks.db*"):
        assert file.stat().st_mode & 0o077 == 0, f"others can read {file}"
    assert "tasks" in (await _read_schema(empty_database_url))["tables"]


async def test_two_first_starts_at_once_make_one_database(empty_database_url: str, tmp_path: Path) -> None:
    await asyncio.gather(*(bring_up_to_date(empty_database_url, tmp_path, NOW) for _ in range(3)))
    assert "tasks" in (await _read_schema(empty_database_url))["tables"]


def test_a_start_with_a_current_database_loads_no_alembic(sqlite_template: Path, tmp_path: Path) -> None:
    shutil.copy(sqlite_template, tmp_path / "ccdtasks.db")
    program = (
        "import asyncio, sys, pathlib\n"
        "from ccdtasks.app import open_core\n"
        "from ccdtasks.config import Config, PathsConfig\n"
        "async def start():\n"
        "    async with open_core(Config(paths=PathsConfig(data_dir=pathlib.Path(sys.argv[1])))): pass\n"
        "asyncio.run(start())\n"
        "sys.exit('alembic' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, tmp_path], cwd=Path.cwd(), check=False).returncode == 0


def _next_chain(folder: Path, upgrade: str) -> Chain:
    """Our own revision and one more, as the next version of the program would have it."""
    shutil.copytree(Path(ccdtasks.db.migrations.__file__).parent, folder)
    (folder / "versions" / "9999_next.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision = '9999'\ndown_revision = '{OURS.present}'\n\n\ndef upgrade():\n    {upgrade}\n"
    )
    return Chain((*OURS.revisions, "9999"), str(folder))


async def _fill(url: str) -> None:
    """Two tasks with schedules, and a row that refers to both."""
    db = Database(url)
    async with db.write() as session:
        tasks = [
            Task(
                task_name=name,
                task_type="report",
                template_prompt="x",
                owner_user_id="1",
                created_by="1",
                schedule_cron="0 7 * * *",
            )
            for name in ("first", "second")
        ]
        session.add_all(tasks)
        await session.flush()
        session.add(TaskDependency(task_id=tasks[0].id, depends_on_task_id=tasks[1].id))
    await db.close()


async def _numbers(url: str) -> tuple[int, int, int]:
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        found = [
            int(await connection.scalar(text(query)) or 0)
            for query in (
                "SELECT count(*) FROM tasks",
                "SELECT count(*) FROM tasks WHERE schedule_cron IS NOT NULL",
                "SELECT count(*) FROM task_dependencies",
            )
        ]
    await engine.dispose()
    return found[0], found[1], found[2]


REBUILD = (
    "with op.batch_alter_table('tasks', recreate='auto') as batch:\n"
    "        batch.add_column(sa.Column('mood', sa.String(20)))\n"
    "        batch.alter_column('description', type_=sa.String(500))"
)


async def test_an_upgrade_keeps_every_row_and_a_snapshot_of_before(database_url: str, tmp_path: Path) -> None:
    """The rebuild of a parent table must not take its children along."""
    await _fill(database_url)
    before = await _numbers(database_url)
    chain = _next_chain(tmp_path / "scripts", REBUILD)
    snapshot = await bring_up_to_date(database_url, tmp_path / "backups", NOW, chain=chain)
    assert await _numbers(database_url) == before == (2, 2, 1)
    assert "mood" in (await _read_schema(database_url))["tables"]["tasks"]["columns"]
    if "sqlite" in database_url:
        assert snapshot is not None
        assert snapshot.name == f"ccdtasks-{OURS.present}-20260117-153000.db"
        assert snapshot.stat().st_mode & 0o077 == 0
        assert await _numbers(f"sqlite+aiosqlite:///{snapshot}") == before
        assert "mood" not in (await _read_schema(f"sqlite+aiosqlite:///{snapshot}"))["tables"]["tasks"]["columns"]


@pytest.mark.parametrize("revisions", [OURS.revisions[: end + 1] for end in range(len(OURS.revisions) - 1)])
async def test_every_released_schema_becomes_ours(
    revisions: tuple[str, ...], empty_database_url: str, database_url: str, tmp_path: Path
) -> None:
    if "sqlite" in empty_database_url:
        empty_database_url = f"sqlite+aiosqlite:///{tmp_path / 'old.db'}"
    await bring_up_to_date(empty_database_url, tmp_path / "b", NOW, chain=Chain(revisions, OURS.location))
    await _fill(empty_database_url)
    await bring_up_to_date(empty_database_url, tmp_path / "b", NOW)
    assert await _numbers(empty_database_url) == (2, 2, 1)
    assert await _read_schema(empty_database_url) == await _read_schema(database_url)


async def test_a_migration_that_fails_changes_nothing(database_url: str, tmp_path: Path) -> None:
    await _fill(database_url)
    before = await _read_schema(database_url)
    chain = _next_chain(tmp_path / "scripts", REBUILD + "\n    raise RuntimeError('power cut')")
    with pytest.raises(RuntimeError):
        await bring_up_to_date(database_url, tmp_path / "backups", NOW, chain=chain)
    assert await _read_schema(database_url) == before
    assert await _numbers(database_url) == (2, 2, 1)


@pytest.mark.parametrize(
    ("loses", "named"),
    [("DELETE FROM task_dependencies", "task_dependencies"), ("UPDATE tasks SET schedule_cron = NULL", "schedules")],
)
async def test_a_migration_that_loses_rows_is_refused(
    database_url: str, tmp_path: Path, loses: str, named: str
) -> None:
    await _fill(database_url)
    chain = _next_chain(tmp_path / "scripts", f"op.execute('{loses}')")
    with pytest.raises(Conflict, match=f"would have lost rows of {named}"):
        await bring_up_to_date(database_url, tmp_path / "backups", NOW, chain=chain)
    assert await _numbers(database_url) == (2, 2, 1)


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_only_the_newest_snapshots_stay(database_url: str, tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    for number in range(8):
        (backups / f"ccdtasks-0000-2025010{number}-000000.db").touch()
        os.utime(backups / f"ccdtasks-0000-2025010{number}-000000.db", (number, number))
    others = ["ccdtasks-before-the-holidays.db", "ccdtasks-0001-20240101-000000.db.bak", "mine.txt"]
    for name in (*others, "ccdtasks-0001-20240101-000000.db.part"):  # the last: what a crash left half made
        (backups / name).touch()
    await bring_up_to_date(database_url, backups, NOW, chain=_next_chain(tmp_path / "scripts", "pass"))
    assert sorted(path.name for path in backups.iterdir()) == [
        "ccdtasks-0000-20250104-000000.db",
        "ccdtasks-0000-20250105-000000.db",
        "ccdtasks-0000-20250106-000000.db",
        "ccdtasks-0000-20250107-000000.db",
        "ccdtasks-0001-20240101-000000.db.bak",
        f"ccdtasks-{OURS.present}-20260117-153000.db",
        "ccdtasks-before-the-holidays.db",
        "mine.txt",
    ]


async def test_a_database_of_a_newer_program_is_refused(database_url: str, tmp_path: Path) -> None:
    await bring_up_to_date(database_url, tmp_path / "backups", NOW, chain=_next_chain(tmp_path / "scripts", "pass"))
    with pytest.raises(Conflict, match=r"^The database was made by a newer ccdtasks"):
        await bring_up_to_date(database_url, tmp_path / "backups", NOW)


async def test_a_database_of_another_program_is_refused(empty_database_url: str, tmp_path: Path) -> None:
    engine = create_async_engine(empty_database_url, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE cookbook (title TEXT)"))
    await engine.dispose()
    with pytest.raises(Conflict, match="belongs to another program"):
        await bring_up_to_date(empty_database_url, tmp_path, NOW)
    assert list((await _read_schema(empty_database_url))["tables"]) == ["cookbook"]


@pytest.mark.parametrize(("content", "words"), [(b"", "is an empty file"), (b"no database at all " * 999, "damaged")])
async def test_a_broken_file_is_refused_and_left_alone(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "ccdtasks.db"
    file.write_bytes(content)
    with pytest.raises(Unavailable, match=words) as caught:
        await bring_up_to_date(f"sqlite+aiosqlite:///{file}", tmp_path / "backups", NOW)
    assert "snapshot" in caught.value.hint
    assert file.read_bytes() == content


READ_ONLY = """
import asyncio, datetime, os, pathlib, sys
from ccdtasks.db.migrate import bring_up_to_date
from ccdtasks.errors import Unavailable

def start(folder):
    url = f"sqlite+aiosqlite:///{folder}/ccdtasks.db"
    asyncio.run(bring_up_to_date(url, pathlib.Path("/nowhere"), datetime.datetime.now(datetime.UTC)))

start(sys.argv[1])  # everything is loaded now
if os.geteuid() == 0:  # root may write everywhere
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    start(sys.argv[2])
except Unavailable as error:
    sys.exit(str(error))
"""


def test_a_folder_that_cannot_be_written_is_said_plainly(sqlite_template: Path, tmp_path: Path) -> None:
    good, closed = tmp_path / "good", tmp_path / "closed"
    for folder in (good, closed):
        folder.mkdir()
        shutil.copy(sqlite_template, folder / "ccdtasks.db")
    for parent in (tmp_path, *tmp_path.parents[:-2]):
        parent.chmod(parent.stat().st_mode | 0o055)
    closed.chmod(0o555)
    command = [sys.executable, "-c", READ_ONLY, good, closed]
    done = subprocess.run(command, cwd=Path.cwd(), capture_output=True, check=False, text=True)
    closed.chmod(0o755)
    assert done.stderr == (
        f"{closed} cannot be written: permission denied. (check `[paths] data_dir` and who owns it)\n"
    )


async def test_a_server_that_is_away_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        await bring_up_to_date(f"postgresql+asyncpg://ccd@/x?host={tmp_path}", tmp_path, NOW)


@pytest.mark.postgres
async def test_a_database_that_does_not_exist_is_said_plainly(postgres_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="does not exist"):
        await bring_up_to_date(f"postgresql+asyncpg://ccd@/nosuch?host={postgres_folder}", tmp_path, NOW)


def test_sqlite_is_new_enough() -> None:
    assert sqlite3.sqlite_version_info >= (3, 35)
