"""The service as systemd sees it: ready, alive, stopping, and how it ends."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from ccdtasks.app import forever, open_core, serve
from ccdtasks.config import BadConfig, Config, DiscordConfig, LogConfig, PathsConfig, PodmanConfig, ServerConfig
from ccdtasks.core.access import SHELL
from ccdtasks.engine.assembly import open_pushover
from tests.clock import MoveableClock
from tests.doubles.pushover_server import KEY, PushoverServer


@pytest.fixture
def short_dir() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ccdt-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def settings(short_dir: Path) -> Config:
    """Without Podman, without Discord, without a key: the service starts all the same."""
    return Config(
        paths=PathsConfig(data_dir=short_dir / "d"),
        podman=PodmanConfig(socket=f"unix://{short_dir}/none.sock"),
        server=ServerConfig(port=0),
        log=LogConfig(level="error"),
    )


@contextmanager
def _systemd(folder: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(folder / "notify"))
        listener.settimeout(30)
        yield listener


@contextmanager
def _service(folder: Path, config: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    path = folder / "config.toml"
    path.write_text(config)
    command = [sys.executable, "-m", "ccdtasks.cli", "--config", str(path), "serve"]
    env = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify"), **environment}
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, env=env) as process:
        try:
            yield process
        finally:
            process.kill()


def _config(folder: Path) -> str:
    return f'[paths]\ndata_dir = "{folder}/d"\n[podman]\nsocket = "unix://{folder}/none.sock"\n[server]\nport = 0\n'


def test_systemd_hears_ready_alive_and_stopping(short_dir: Path) -> None:
    with _systemd(short_dir) as systemd, _service(short_dir, _config(short_dir), WATCHDOG_USEC="200000") as process:
        heard = [systemd.recv(100)]
        while heard.count(b"WATCHDOG=1") < 3 or b"READY=1" not in heard:
            heard.append(systemd.recv(100))
        assert heard[0] == b"EXTEND_TIMEOUT_USEC=60000000", "a large database takes its time before it is ready"
        process.send_signal(signal.SIGTERM)
        while heard[-1] != b"STOPPING=1":
            heard.append(systemd.recv(100))
        ended = process.wait(30)
    said = (short_dir / "log").read_text()
    assert ended == 0, said
    assert "ccdtasks.app: " in said
    assert "apscheduler" not in said, "the journal fills with what means nothing to its reader"


def test_a_data_folder_too_deep_for_sockets_is_a_bad_configuration(short_dir: Path) -> None:
    deep = short_dir / ("x" * 100)
    with _service(short_dir, _config(deep)) as process:
        assert process.wait(30) == 78
    said = (short_dir / "log").read_text()
    assert "data_dir" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_two_services_do_not_share_a_database(short_dir: Path) -> None:
    with _systemd(short_dir) as systemd, _service(short_dir, _config(short_dir)):
        while systemd.recv(100) != b"READY=1":
            pass
        (short_dir / "second").mkdir()
        with _service(short_dir / "second", _config(short_dir)) as second:
            assert second.wait(60) not in (0, 78)
    assert "Another ccdtasks" in (short_dir / "second/log").read_text()


def test_memory_hogs_are_loaded_only_when_used(short_dir: Path, settings: Config) -> None:
    """A module that is imported for nothing costs tens of megabytes for ever."""
    with _systemd(short_dir) as systemd, _service(short_dir, _config(short_dir)) as process:
        while systemd.recv(100) != b"READY=1":
            pass
        mapped = Path(f"/proc/{process.pid}/maps").read_text()
    assert not any(name in mapped for name in ("matplotlib", "_cffi_backend"))
    probe = (
        "import sys, ccdtasks.app; print([m for m in ('boto3', 'matplotlib', 'discord', 'podman') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_a_stop_event_ends_the_service_and_frees_the_database(settings: Config) -> None:
    before = asyncio.all_tasks()
    for _ in range(2):
        stop = asyncio.Event()
        async with asyncio.timeout(60):
            await serve(settings, stop=stop, on_ready=stop.set)
    assert not asyncio.all_tasks() - before - {asyncio.current_task()}


def _take_away_a_table(file: Path) -> None:
    """Beside the event loop, on which the service may be in the middle of a write that ours has to wait for."""
    with closing(sqlite3.connect(file, timeout=30)) as database, database:
        database.execute("BEGIN IMMEDIATE")
        database.execute("ALTER TABLE sessions RENAME TO elsewhere")


async def test_a_dead_loop_takes_the_service_down(settings: Config) -> None:
    """Somebody's hand in the database: a table that a loop looks into is gone."""
    ready = asyncio.Event()
    async with asyncio.timeout(60):
        service = asyncio.create_task(serve(settings, on_ready=ready.set))
        await ready.wait()
        await asyncio.to_thread(_take_away_a_table, settings.paths.data_dir / "ccdtasks.db")
        with pytest.raises(ExceptionGroup) as caught:
            await service
    assert caught.group_contains(OperationalError, match="no such table")


async def test_a_loop_that_ends_by_itself_is_dead_too() -> None:
    async def ends() -> None:
        return

    with pytest.raises(RuntimeError, match="the loop reaper ended by itself"):
        await forever("reaper", ends(), asyncio.Event())


async def test_discord_being_away_is_no_reason_to_end(settings: Config) -> None:
    discord = DiscordConfig(
        token="MTIz.x.y", guild_id=1, api_url="http://127.0.0.1:9/api/v10", gateway_url="ws://127.0.0.1:9/"
    )
    stop = asyncio.Event()
    async with asyncio.timeout(60):
        service = asyncio.create_task(serve(settings.model_copy(update={"discord": discord}), stop=stop))
        async with open_core(settings) as core:
            while await core.facts.get("instance_id") is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        done, _ = await asyncio.wait({service}, timeout=1)
        assert not done
        stop.set()
        await service


async def test_a_push_that_another_process_wrote_reaches_the_phone(settings: Config) -> None:
    async with PushoverServer(MoveableClock()) as pushover:
        pushover.add_user()
        config = settings.model_copy(update={"pushover": Config.model_validate({"pushover": pushover.config}).pushover})
        stop, ready = asyncio.Event(), asyncio.Event()
        async with asyncio.timeout(60):
            service = asyncio.create_task(serve(config, stop=stop, on_ready=ready.set))
            await ready.wait()
            async with open_core(config) as core:
                client = open_pushover(config)
                await core.settings.set_key(SHELL, KEY, client.validate)
                await client.close()
                push = await core.pushes.test(SHELL, within_s=30)
            stop.set()
            await service
    assert push.success
    assert [message.title for message in pushover.messages] == ["✓ ccdtasks: pushes work"]


async def test_a_path_too_long_is_said_in_one_sentence(settings: Config, short_dir: Path) -> None:
    deep = settings.model_copy(update={"paths": PathsConfig(data_dir=short_dir / ("x" * 100))})
    with pytest.raises(BadConfig, match="too long"):
        await serve(deep)


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
async def test_without_systemd_the_service_runs_the_same(
    settings: Config, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    stop = asyncio.Event()
    async with asyncio.timeout(60):
        await serve(settings, stop=stop, on_ready=stop.set)
    assert stop.is_set(), "it ended before it was ready"
