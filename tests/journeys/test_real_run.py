"""The whole chain on real parts: the service, a sealed container, Chromium, the CLI; only model and site are ours."""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ccdtasks.core.access import SHELL
from ccdtasks.core.runs.runs import RunView
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.demo.shop import Shop, served
from tests.doubles.messages_api import Line, MessagesApi, Refuse, Reply, Text, Use, say
from tests.doubles.podman import SESSION_IMAGE, podman_service, require_image
from tests.journeys.service import PLANTED_KEY, Instance, end, instance, start, when

pytestmark = [pytest.mark.image, pytest.mark.slow]

BROWSER, OURS = "mcp__playwright__browser_", "mcp__ccdtasks__"


@pytest.fixture(scope="module")
def podman_socket() -> Iterator[Path]:
    require_image()
    with tempfile.TemporaryDirectory(prefix="ccdt-") as folder, podman_service(Path(folder) / "p.sock") as socket:
        yield socket


@dataclass
class World:
    """An instance, the shop at `shop_url`, and the model that it talks to."""

    box: Instance
    shop_url: str
    model: MessagesApi


@asynccontextmanager
async def world(podman_socket: Path, *script: Line) -> AsyncIterator[World]:
    """A world whose model says `script`; `SHOP` in it stands for the address of the shop."""
    async with served(Shop().app()) as shop_port:
        url = f"http://127.0.0.1:{shop_port}/"
        model = MessagesApi(*(_with_shop(line, url) for line in script))
        async with served(model.app()) as model_port:
            tables = {
                "claude": {"base_url": f"http://127.0.0.1:{model_port}"},
                "egress": {"allow_private": [f"127.0.0.1:{shop_port}"]},
                "podman": {"memory_mib": 2048},
            }
            with instance(podman_socket, SESSION_IMAGE, tables) as box:
                yield World(box, url, model)


def _with_shop(line: Line, url: str) -> Any:
    if not isinstance(line, Reply):
        return line
    blocks = tuple(
        Use(block.name, json.loads(json.dumps(block.input).replace("SHOP", url))) if isinstance(block, Use) else block
        for block in line.blocks
    )
    return replace(line, blocks=blocks)


def _browse() -> Reply:
    return say("Looking.", Use(f"{BROWSER}navigate", {"url": "SHOP"}))


def _submit() -> Reply:
    return say(
        Use(
            f"{OURS}submit_result",
            {
                "summary": "Cheapest: **Mug Enamel**",
                "items": [{"product": "Mug Enamel", "price": 11.5}],
                "values": {"lowest": {"number": 11.5, "unit": "USD"}},
                "evidence_url": "SHOP",
            },
        )
    )


async def test_create_start_result(podman_socket: Path) -> None:
    async with world(podman_socket, _browse(), _submit(), say("Done.")) as here, here.box.core() as core:
        with here.box.serve():
            run_id = await start(core, "mugs", "Find the cheapest {what}", what="mug")
            view = await end(core, run_id)
        run = view.run
        assert (run.status, run.error_message) == (RunStatus.COMPLETED, None), here.box.log()
        assert run.result_data is not None
        assert run.result_data["items"] == [{"product": "Mug Enamel", "price": 11.5}]
        assert run.final_url == here.shop_url
        assert (run.pages_loaded or 0) >= 1
        assert (run.http_requests_made or 0) >= 1
        assert run.api_calls_made == 3
        assert run.tokens_used is not None
        assert run.tokens_used.pop("by_model").keys() == {"claude-sonnet-5"}
        assert run.tokens_used == {"input": 3000, "output": 120, "cache_read": 0, "cache_write": 0}
        names = {artifact.name for artifact in view.artifacts}
        assert {"final.png", "results.csv", "results.json"} <= names
        [picture] = [artifact for artifact in view.artifacts if artifact.name == "final.png"]
        data = (here.box.folder / "d/artifacts" / (picture.location or "")).read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(data) > 5000
        for asked in here.model.asked:
            assert asked.headers["x-api-key"] == PLANTED_KEY
        await _secret_stays_home(here.box)


async def _secret_stays_home(box: Instance) -> None:
    """The key is in the configuration and nowhere else: not in the log, the database, the artifacts."""
    for path in box.folder.rglob("*"):
        if path.is_file() and path != box.config_path:
            assert PLANTED_KEY.encode() not in path.read_bytes(), path


def _works(view: RunView) -> bool:
    return view.run.status is RunStatus.RUNNING and (view.run.pages_loaded or 0) > 0


async def test_stopped_in_the_middle_with_what_there_is(podman_socket: Path) -> None:
    hold = asyncio.Event()
    script = (_browse(), Reply((Text("never"),), hold=hold))
    async with world(podman_socket, *script) as here, here.box.core() as core:
        with here.box.serve():
            run_id = await start(core, "mugs", "Find mugs")
            await when(core, run_id, _works)
            await core.runs.stop(SHELL, str(run_id))
            view = await end(core, run_id)
        hold.set()
        assert view.run.status is RunStatus.CANCELLED
        assert "final.png" in {artifact.name for artifact in view.artifacts}
        assert view.run.final_url == here.shop_url


async def test_killed_and_taken_up_again(podman_socket: Path) -> None:
    """kill -9 while the model is being asked: the same container goes on and completes; no event twice."""
    hold = asyncio.Event()
    late = _submit()
    script = (_browse(), Reply(late.blocks, hold=hold), late, say("Done."))
    async with world(podman_socket, *script) as here, here.box.core() as core:
        with here.box.serve() as process:
            run_id = await start(core, "mugs", "Find mugs")
            before = await when(core, run_id, _works)
            async with asyncio.timeout(60):
                await here.model.wait_for(2)
            process.kill()
            await asyncio.to_thread(process.wait)
        hold.set()
        with here.box.serve():
            view = await end(core, run_id)
        assert process.returncode == -signal.SIGKILL
        assert (view.run.status, view.run.error_message) == (RunStatus.COMPLETED, None), here.box.log()
        assert view.session is not None
        assert before.session is not None
        assert view.session.id == before.session.id
        events = [event for event in await core.runs.events(SHELL, run_id, limit=1000) if event.seq > 0]
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert len([event for event in events if event.type == "session_started"]) == 1


async def test_a_wrong_key_ends_the_run_at_once(podman_socket: Path) -> None:
    refusal = Refuse(401, "authentication_error", "invalid x-api-key")
    async with world(podman_socket, refusal) as here, here.box.core() as core:
        with here.box.serve():
            view = await end(core, await start(core, "mugs", "Find mugs"))
        assert (view.run.status, view.run.reason) == (RunStatus.FAILED, Reason.MODEL_AUTH), view.run.error_message
        assert "refused" in (view.run.error_message or "")
        assert "final.png" in {artifact.name for artifact in view.artifacts}
        assert "model_auth" in await core.facts.holds()


async def test_a_budget_ends_the_run_while_it_works(podman_socket: Path) -> None:
    """Two answers cost more than the budget: the third request is refused, and the run says why."""
    dear = Reply(_browse().blocks, input_tokens=60_000)
    async with world(podman_socket, dear, dear, dear, dear) as here, here.box.core() as core:
        with here.box.serve():
            config = {"budget_usd": "0.30", "retries": {"attempts": 1}}
            view = await end(core, await start(core, "mugs", "Find mugs", config))
        assert (view.run.status, view.run.reason) == (RunStatus.FAILED, Reason.BUDGET), view.run.error_message
        assert len(here.model.asked) == 2
        assert view.run.cost_usd is not None
        assert view.run.cost_usd > Decimal("0.30")


async def test_two_at_once_do_not_meet(podman_socket: Path) -> None:
    def answer(body: dict[str, Any]) -> Reply:
        is_done = any(message["role"] == "assistant" for message in body["messages"])
        return say("Done.") if is_done else _with_shop(_submit(), "https://shop.example/")

    async with world(podman_socket, answer) as here, here.box.core() as core:
        with here.box.serve():
            runs = [await start(core, f"mugs-{number}", f"Find mug number {number}") for number in range(2)]
            views = [await end(core, run_id) for run_id in runs]
        keys = {asked.headers.get("X-Claude-Code-Session-Id") for asked in here.model.asked}
        assert len(keys) == 2
        assert all(view.run.status is RunStatus.COMPLETED for view in views), [v.run.error_message for v in views]
