"""The demonstration: an instance of its own in a folder of its own, the shop, a model, and real runs.

The second run finds other prices: it shows what is new since the first, a rule that then holds, and a chart.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import SecretStr

from ccdtasks.adapters.podman import Podman
from ccdtasks.app import open_core, serve
from ccdtasks.config import (
    ClaudeConfig,
    Config,
    EgressConfig,
    LogConfig,
    PathsConfig,
    PodmanConfig,
    ServerConfig,
    StorageConfig,
)
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.outcome.results import stored_result
from ccdtasks.core.runs.runs import RunView
from ccdtasks.core.runs.trends import CHART
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import ArtifactKind, RunStatus
from ccdtasks.db.models import Artifact, TaskRun
from ccdtasks.demo.messages_api import MessagesApi
from ccdtasks.demo.own_podman import podman_socket
from ccdtasks.demo.scripted import TABLE_FILE, reply_to
from ccdtasks.demo.shop import Shop, served
from ccdtasks.errors import Unavailable

_HOST = "shop.demo"
_TASK = "price-watch"
_PROMPT = (
    "Find the cheapest {product} in the shop at {shop}. Search for it there, compare all offers, and check the price "
    "of the cheapest one on its own page. Save all offers as prices.csv, and a screenshot of the offers as offers.png. "
    "Report the lowest price as the value lowest_price, and alert me when it is below {price_threshold=57} dollars."
)
_RULE = "lowest_price < price_threshold"
_CLEAN_S = 30.0
_CHART_S = 20.0
_LOOK_S = 0.2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Demonstration:
    """The first run, and where it happens. `model`: who is asked."""

    core: Core
    run: TaskRun
    model: Literal["scripted", "real"]
    folder: Path
    service: asyncio.Task[None]
    interrupted: asyncio.Event

    async def again(self) -> TaskRun:
        """The same once more, as by the button; the shop's prices have moved meanwhile."""
        return (await self.core.runs.again(SHELL, self.run.id)).run

    async def charted(self, view: RunView) -> RunView:
        """The run with the chart of its values, which is drawn a moment later; without it when that takes too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CHART_S):
                while view.run.chart_wanted:
                    await asyncio.sleep(_LOOK_S)
                    view = await self.core.runs.load(view.run.id)
        return view

    async def while_it_works(self, work: Coroutine[Any, Any, T]) -> T:
        """The outcome of `work`; raises what the service died of, KeyboardInterrupt when a signal came."""
        task, signal_came = asyncio.create_task(work), asyncio.create_task(self.interrupted.wait())
        try:
            await asyncio.wait({task, self.service, signal_came}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if self.service.done():
                self.service.result()
            raise KeyboardInterrupt
        finally:
            task.cancel()
            signal_came.cancel()
            await asyncio.gather(task, signal_came, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The files that show what the run did; None for one that is missing."""

    table: Artifact | None
    screenshot: Artifact | None
    results: Artifact | None
    chart: Artifact | None
    is_complete: bool


def evidence_of(view: RunView) -> Evidence:
    """What a run has to show. Complete: it completed, saw offers, and left a picture and address of its last page."""
    by_name = {artifact.name: artifact for artifact in view.artifacts}
    screenshots = [each for each in view.artifacts if each.kind is ArtifactKind.SCREENSHOT]
    screenshot = by_name.get("final.png") or next(iter(screenshots), None)
    table, results = by_name.get(TABLE_FILE), by_name.get("results.json")
    result = stored_result(view.run.result_data)
    saw_offers = result is not None and bool(result.items) and "lowest_price" in result.values
    has_files = None not in (table, screenshot, results)
    completed = view.run.status is RunStatus.COMPLETED
    is_complete = completed and saw_offers and has_files and bool(view.run.final_url)
    return Evidence(table, screenshot, results, by_name.get(CHART), is_complete)


@asynccontextmanager
async def demonstration(
    folder: Path, podman: PodmanConfig, claude: ClaudeConfig | None, *, keep: bool = False
) -> AsyncIterator[Demonstration]:
    """Opens the shop, starts a service below `folder`, and starts a run. `claude`: a real model, else ours answers.

    The files of the run stay in `folder`; containers are removed, and so is the rest of the instance unless `keep`.
    """
    async with AsyncExitStack() as stack:
        podman_address = await stack.enter_async_context(podman_socket(podman.socket, folder))
        shop_port = await stack.enter_async_context(served(Shop().app()))
        model: Literal["scripted", "real"] = "real" if claude else "scripted"
        if claude is None:
            key = f"sk-ant-demo-{secrets.token_hex(16)}"
            model_port = await stack.enter_async_context(served(MessagesApi(key, reply_to).app()))
            claude = ClaudeConfig(api_key=SecretStr(key), base_url=f"http://127.0.0.1:{model_port}")
        config = Config(
            claude=claude,
            podman=podman.model_copy(update={"socket": podman_address}),
            egress=EgressConfig(allow_private=(f"{_HOST}:{shop_port}",)),
            storage=StorageConfig(path=folder / "files"),
            paths=PathsConfig(data_dir=folder / "d"),
            server=ServerConfig(enabled=False),
            log=LogConfig(level="error"),
        )
        if not keep:
            stack.push_async_callback(asyncio.to_thread, shutil.rmtree, config.paths.data_dir, ignore_errors=True)
        service = await stack.enter_async_context(_served_instance(config))
        interrupted = _on_signals()
        core = await stack.enter_async_context(open_core(config))
        stack.push_async_callback(_clean_up, core)
        run = await _start(core, f"http://{_HOST}:{shop_port}/")
        yield Demonstration(core, run, model, folder, service, interrupted)


async def _start(core: Core, shop: str) -> TaskRun:
    settings = {
        "timeout_s": 300,
        "budget_usd": str(Decimal("1.00")),
        "allowed_domains": [_HOST],
        "notify": _RULE,
        "retries": {"attempts": 1},
    }
    await core.tasks.create(SHELL, TaskDraft(_TASK, _PROMPT, config=settings))
    started = await core.runs.start(SHELL, _TASK, {"product": "headphones", "shop": shop})
    return started.run


@asynccontextmanager
async def _served_instance(config: Config) -> AsyncIterator[asyncio.Task[None]]:
    stop, ready = asyncio.Event(), asyncio.Event()
    service = asyncio.create_task(serve(config, stop=stop, on_ready=ready.set, resolve=_resolve), name="service")
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait({service, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if service.done():
            service.result()
            raise Unavailable("service", "The demonstration was told to end before it began.")
        yield service
    finally:
        waiting.cancel()
        stop.set()
        await asyncio.wait({service})


def _on_signals() -> asyncio.Event:
    """Takes the signals over from the service, which still has to remove the container when they come."""
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupted.set)
    return interrupted


async def _resolve(host: str) -> Sequence[tuple[socket.AddressFamily, str]]:
    """The shop's name leads to this machine; there are no other names."""
    return [(socket.AF_INET, "127.0.0.1")] if host == _HOST else []


async def _clean_up(core: Core) -> None:
    """Waits until the service took the container away by itself, and takes away what is left, whatever happened."""
    podman = Podman((core.config.podman.socket or "").removeprefix("unix://"))
    try:
        async with asyncio.timeout(_CLEAN_S):
            run = (await core.runs.page(SHELL, limit=1)).rows[0].run
            if run.completed_at is None:
                await core.runs.stop(SHELL, str(run.id), force=True)
            await _until_removed(core)
    except TimeoutError:
        for container in await podman.list(await core.facts.instance_id()):
            await podman.remove(container.name)
    finally:
        await podman.close()


async def _until_removed(core: Core) -> None:
    open_sessions = await core.claims.open()
    while open_sessions:
        await asyncio.sleep(_LOOK_S)
        open_sessions = await core.claims.open()
