"""The root: opens all parts on one exit stack, runs the loops, and closes everything in reverse.

stop event --> loops cancelled --> sockets closed (containers live on) --> database closed --> lock released
dead loop  --> the same, and a non-zero exit: systemd starts us again, and every run is taken up again
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import make_url

from ccdtasks import __version__
from ccdtasks.adapters.systemd import ServiceManager
from ccdtasks.config import BadConfig, Config
from ccdtasks.core import Core, build_core
from ccdtasks.core.facts import MODEL_AUTH, credential_fingerprint
from ccdtasks.db import Database
from ccdtasks.db.lock import InstanceLock, instance_lock
from ccdtasks.db.migrate import bring_up_to_date
from ccdtasks.engine.assembly import open_parts
from ccdtasks.engine.bookkeeping import Bookkeeping
from ccdtasks.engine.charting import ChartingLoop
from ccdtasks.engine.clockwork import Clockwork, watch_schedules
from ccdtasks.engine.credentials import CredentialWatch
from ccdtasks.engine.delivery import DeliveryLoop
from ccdtasks.engine.dispatcher import Dispatcher
from ccdtasks.engine.parts import Parts, Patience
from ccdtasks.engine.places import PlacesLoop
from ccdtasks.engine.pushing import PushingLoop
from ccdtasks.engine.reaper import Reaper
from ccdtasks.engine.uploading import UploadLoop
from ccdtasks.engine.watchdog import LagWatchdog
from ccdtasks.errors import Invalid, Unavailable
from ccdtasks.events import Bus
from ccdtasks.gateways.resolver import Resolve
from ccdtasks.logs import set_up_log
from ccdtasks.times import Clock, SystemClock
from ccdtasks.web import open_web
from ccdtasks.web.context import Check

if TYPE_CHECKING:
    from ccdtasks.bot import Bot

_LOCK_WAIT_S = 10.0  # a restart may overlap with the end of the life before
_STOP_LIMIT_S = 30.0
_STILL_NEWS = timedelta(hours=1)
_DISCORD_SINCE = "discord_since"

_log = logging.getLogger(__name__)


def database_url(config: Config) -> str:
    """The URL with the driver that we use: `[database] url`, else SQLite below the data folder."""
    if config.database.url is None:
        return f"sqlite+aiosqlite:///{config.paths.data_dir / 'ccdtasks.db'}"
    given = make_url(config.database.url.get_secret_value())
    driver = "sqlite+aiosqlite" if given.get_backend_name() == "sqlite" else "postgresql+asyncpg"
    return given.set(drivername=driver).render_as_string(hide_password=False)


async def bring_database_up_to_date(config: Config, clock: Clock | None = None, *, holds_lock: bool = False) -> None:
    """Makes or migrates the database where that is needed; loads Alembic only then."""
    now = (clock or SystemClock()).now()
    await bring_up_to_date(database_url(config), config.paths.data_dir / "backups", now, holds_lock=holds_lock)


@asynccontextmanager
async def open_core(
    config: Config, clock: Clock | None = None, bus: Bus | None = None, *, holds_lock: bool = False
) -> AsyncIterator[Core]:
    """The core over its migrated database; needs neither Podman nor Discord.

    `holds_lock`: the caller has the instance's lock (`db.lock.instance_lock`), as `serve` does.
    """
    clock = clock or SystemClock()
    await bring_database_up_to_date(config, clock, holds_lock=holds_lock)
    db = Database(database_url(config))
    try:
        core = build_core(db, bus or Bus(), clock, config)
        await core.facts.release_if_changed(MODEL_AUTH, credential_fingerprint(config.claude))
        yield core
    finally:
        await db.close()


async def serve(
    config: Config,
    *,
    stop: asyncio.Event | None = None,
    on_ready: Callable[[], None] | None = None,
    patience: Patience | None = None,
    resolve: Resolve | None = None,
) -> None:
    """Runs the service until `stop` is set, or SIGTERM or SIGINT arrives; sessions go on without it.

    `resolve`: how sessions find the addresses of names; the system's own way when left out.

    Raises BadConfig when the configuration cannot work here, Conflict when another one has the database, and whatever
    a loop died of.
    """
    stop = stop or asyncio.Event()
    set_up_log(config.log)
    _make_data_dir(config)
    async with AsyncExitStack() as stack:
        lock = await stack.enter_async_context(instance_lock(database_url(config), wait_s=_LOCK_WAIT_S))
        async with ServiceManager().starting():
            core = await stack.enter_async_context(open_core(config, holds_lock=True))
        try:
            parts = await stack.enter_async_context(open_parts(core, patience, resolve))
        except Invalid as error:
            raise BadConfig([str(error)]) from error
        await _greet_discord(core)
        dispatcher, bot = Dispatcher(parts), _bot(core, parts)
        await stack.enter_async_context(open_web(core, parts.keeper, _checks(core, parts, dispatcher, bot)))
        with _signals(stop):
            await _run_loops(core, parts, dispatcher, bot, lock=lock, stop=stop, on_ready=on_ready)


async def _run_loops(
    core: Core,
    parts: Parts,
    dispatcher: Dispatcher,
    bot: Bot | None,
    *,
    lock: InstanceLock,
    stop: asyncio.Event,
    on_ready: Callable[[], None] | None,
) -> None:
    manager = ServiceManager()
    loops: dict[str, Coroutine[Any, Any, None]] = {
        "instance-lock": lock.keep(),
        "lag-watchdog": LagWatchdog(core.counters.lag).run(),
        "dispatcher": dispatcher.run(),
        "reaper": Reaper(parts, dispatcher.holds).run(),
        "credential": CredentialWatch(core).run(),
        "uploads": UploadLoop(core, parts.keeper).run(),
        "places": PlacesLoop(core).run(),
        "bookkeeping": Bookkeeping(core, parts.keeper, bot.archive if bot else None).run(),
        "charts": ChartingLoop(core, parts.keeper, parts.painter).run(),
        **({"pushes": PushingLoop(core, parts.pushover).run()} if parts.pushover.is_set_up else {}),
        "clockwork": Clockwork(core).run(),
        "schedule-watch": watch_schedules(core),
        "service-manager": manager.run(),
        **_discord_loops(core, bot, stop),
    }
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(forever(name, loop, stop), name=name) for name, loop in loops.items()]
        await dispatcher.is_adopted.wait()
        gc.freeze()  # modules and their like stay for ever; a full collection over them would stop the loop for 80 ms
        manager.ready()
        _log.info("ccdtasks %s is ready", __version__)
        if on_ready is not None:
            on_ready()
        await stop.wait()
        _log.info("stopping; sessions go on by themselves")
        manager.stopping()
        for task in tasks:
            task.cancel()


async def _greet_discord(core: Core) -> None:
    """The first time with Discord: what happened long before it was set up is not told there any more."""
    if core.config.discord.token is None or await core.facts.get(_DISCORD_SINCE):
        return
    now = core.clock.now()
    skipped = await core.messages.skip_older(now - _STILL_NEWS)
    await core.facts.set(_DISCORD_SINCE, now.isoformat())
    if skipped:
        _log.info("%d messages from before Discord was set up are not sent", skipped)


def _checks(core: Core, parts: Parts, dispatcher: Dispatcher, bot: Bot | None) -> dict[str, Check]:
    """What `/readyz` asks, by the name of the part."""

    async def database() -> None:
        await core.facts.get(_DISCORD_SINCE)

    async def podman() -> None:
        await parts.podman.version()

    async def gateways() -> None:
        if not dispatcher.is_adopted.is_set():
            raise Unavailable("gateways", "Sessions of an earlier life are still being taken up.")

    async def discord() -> None:
        if bot is None or not bot.is_ready() or bot.trouble:
            raise Unavailable("discord", "Discord is not connected.")

    checks: dict[str, Check] = {"database": database, "podman": podman, "store": parts.keeper.store.check}
    return checks | {"gateways": gateways} | ({"discord": discord} if bot else {})


def _bot(core: Core, parts: Parts) -> Bot | None:
    """The front end in Discord; None without a token."""
    if core.config.discord.token is None:
        _log.info("no [discord] token is configured: running without Discord")
        return None
    from ccdtasks.bot import Bot  # noqa: PLC0415  33 MB that only a process with Discord needs

    return Bot(core, core.config, parts.keeper, parts.pushover)


def _discord_loops(core: Core, bot: Bot | None, stop: asyncio.Event) -> dict[str, Coroutine[Any, Any, None]]:
    """The bot and the delivery loop; without a bot the rows of the outbox wait for one."""
    if bot is None:
        return {}
    from ccdtasks.bot import run_forever  # noqa: PLC0415  as the bot itself

    return {"discord": run_forever(bot, stop), "delivery": DeliveryLoop(core, bot.projection).run()}


async def forever(name: str, loop: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """A loop that ends while nobody asked for it takes the process down, whatever way it ended."""
    try:
        await loop
    except Exception:
        _log.exception("the loop %s died", name)
        raise
    if not stop.is_set():
        raise RuntimeError(f"the loop {name} ended by itself")


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`, where signals can be had (the main thread)."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        stop.set()
        _bound_the_end()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _bound_the_end() -> None:
    """Closing waits for threads that wait for others; whatever hangs there, the process is gone in half a minute."""
    timer = threading.Timer(_STOP_LIMIT_S, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _make_data_dir(config: Config) -> None:
    path = config.paths.data_dir
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        hint = "check `[paths] data_dir` and who owns the folder"
        raise Unavailable("disk", f"The data folder {path} cannot be made: {error.strerror}.", hint) from error
