"""The root: opens all parts on one exit stack and closes them in reverse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import make_url

from ccdtasks.config import Config
from ccdtasks.core import Core, build_core
from ccdtasks.core.facts import MODEL_AUTH, credential_fingerprint
from ccdtasks.db import Database
from ccdtasks.db.migrate import bring_up_to_date
from ccdtasks.events import Bus
from ccdtasks.times import Clock, SystemClock


def database_url(config: Config) -> str:
    """The URL with the driver that we use: `[database] url`, else SQLite below the data folder."""
    if config.database.url is None:
        return f"sqlite+aiosqlite:///{config.paths.data_dir / 'ccdtasks.db'}"
    given = make_url(config.database.url.get_secret_value())
    driver = "sqlite+aiosqlite" if given.get_backend_name() == "sqlite" else "postgresql+asyncpg"
    return given.set(drivername=driver).render_as_string(hide_password=False)


@asynccontextmanager
async def open_core(
    config: Config, clock: Clock | None = None, bus: Bus | None = None, *, holds_lock: bool = False
) -> AsyncIterator[Core]:
    """The core over its migrated database; needs neither Podman nor Discord.

    `holds_lock`: the caller has the instance's lock (`db.lock.instance_lock`), as `serve` does.
    """
    clock, url = clock or SystemClock(), database_url(config)
    await bring_up_to_date(url, config.paths.data_dir / "backups", clock.now(), holds_lock=holds_lock)
    db = Database(url)
    try:
        core = build_core(db, bus or Bus(), clock, config)
        await core.facts.release_if_changed(MODEL_AUTH, credential_fingerprint(config.claude))
        yield core
    finally:
        await db.close()
