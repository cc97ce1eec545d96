"""A day at the shell: a service, a task, a run that is followed, a log, a stop. All of it real but shop and model."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ccdtasks.demo.conversation import Conversation
from ccdtasks.demo.messages_api import MessagesApi, Reply, ToolCall
from ccdtasks.demo.scripted import reply_to
from ccdtasks.demo.shop import Shop, served
from tests.cli.conftest import PROGRAM, Done, Place, in_thread, new_place, place
from tests.doubles.podman import SESSION_IMAGE, podman_service, require_image

pytestmark = pytest.mark.image
__all__ = ["new_place", "place"]

PROMPT = "Find the cheapest {product} in the shop at {shop}; alert me below {price_threshold=70}."
ESCAPE = "\x1b"


@dataclass(frozen=True)
class Box:
    """A machine with a service on it, and the shop that it may reach."""

    place: Place
    shop: str
    service: subprocess.Popen[str]

    async def ccdtasks(self, *words: str) -> Done:
        return await in_thread(self.place.run, *words)


@pytest.fixture
async def box(place: Place) -> AsyncIterator[Box]:
    require_image()

    def reply(conversation: Conversation) -> Reply:
        # A task that asks for patience gets a model that never ends: what a stop has to deal with.
        if "wait for ever" in conversation.first:
            return Reply("I wait.", (ToolCall("Bash", {"command": "sleep 100", "timeout": 110_000}),))
        return reply_to(conversation)

    with podman_service(place.root / "p.sock") as socket:
        async with served(Shop().app()) as shop, served(MessagesApi("sk-ant-PLANTED", reply).app()) as model:
            place.config.write_text(
                f'[paths]\ndata_dir = "{place.data_dir}"\n[podman]\nsocket = "{socket}"\nimage = "{SESSION_IMAGE}"\n'
                "[server]\nport = 0\n"
                f'[claude]\napi_key = "sk-ant-PLANTED"\nbase_url = "http://localhost:{model}"\n'
                f'[egress]\nallow_private = ["127.0.0.1:{shop}"]\n'
            )
            with _service(place) as service:
                yield Box(place, f"http://127.0.0.1:{shop}/", service)


@contextmanager
def _service(place: Place) -> Iterator[subprocess.Popen[str]]:
    log = place.root / "serve.log"
    with (
        log.open("w") as out,
        subprocess.Popen([PROGRAM, "serve"], stderr=out, text=True, env=place.environ) as service,
    ):
        try:
            yield service
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(40)
    assert service.returncode == 0, log.read_text()
    assert "PLANTED" not in log.read_text()


async def test_a_run_is_followed_to_its_result(box: Box) -> None:
    await _until_served(box)
    made = await box.ccdtasks("task", "create", "price-watch", PROMPT)
    assert made.code == 0
    done = await box.ccdtasks("run", "price-watch", "product=kettle", f"shop={box.shop}", "--wait")
    assert done.code == 0, done.err
    assert ESCAPE not in done.out + done.err
    for said in ("✓ completed · price-watch", "Kettle Classic", "lowest_price", "prices.csv"):
        assert said in done.out
    for step in ("price-watch: starting the desktop", "Claude begins", "Searching for kettle", "Comparing 2 offers"):
        assert done.err.count(step) == 1, done.err
    (row,) = (await box.ccdtasks("runs", "--json")).json()
    assert (row["status"], row["pages_loaded"]) == ("completed", 3)
    shown = (await box.ccdtasks("logs", row["id"][:8], "--result", "--json")).json()
    table = next(file for file in shown["files"] if file["name"] == "prices.csv")
    assert "Kettle Classic" in Path(table["path"]).read_text()
    assert shown["result"]["values"]["lowest_price"]["number"] > 0


async def test_the_log_can_be_followed_while_the_run_goes_and_a_stop_ends_both(box: Box) -> None:
    await _until_served(box)
    await box.ccdtasks("task", "create", "patient", "Please wait for ever.")
    run = (await box.ccdtasks("run", "patient", "--json")).json()["id"]
    follower = await asyncio.create_subprocess_exec(
        *(PROGRAM, "logs", run, "--follow", "--json"), stdout=subprocess.PIPE, env=box.place.environ
    )
    assert follower.stdout is not None
    events = []
    async with asyncio.timeout(90):
        async for line in follower.stdout:
            events.append(json.loads(line))
            if events[-1]["type"] == "step_started":
                stopped = await box.ccdtasks("stop", "patient")
                assert stopped.code == 0
                assert "is asked to stop" in stopped.out
                break
        rest = await follower.stdout.read()
    assert await follower.wait() == 0
    events += [json.loads(line) for line in rest.splitlines()]
    kinds = [event["type"] for event in events]
    assert kinds.index("session_started") < kinds.index("agent_started") < kinds.index("step_started")
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    (row,) = (await box.ccdtasks("runs", "patient", "--json")).json()
    assert row["status"] == "cancelled"
    printed = (await box.ccdtasks("logs", run)).out.splitlines()
    assert len(printed) == len(events)


async def test_whoever_waits_learns_that_the_service_is_gone(box: Box) -> None:
    await _until_served(box)
    await box.ccdtasks("task", "create", "patient", "Please wait for ever.")
    waiting = await asyncio.create_subprocess_exec(
        *(PROGRAM, "run", "patient", "--wait"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=box.place.environ
    )
    assert waiting.stderr is not None
    async with asyncio.timeout(90):
        async for line in waiting.stderr:
            if b"running" in line or b"sleep" in line.lower():
                break
        os.kill(box.service.pid, signal.SIGTERM)
        err = (await waiting.stderr.read()).decode()
    assert await waiting.wait() == 8
    assert "No ccdtasks service is running" in err
    with _service(box.place) as again:
        await _until_served(Box(box.place, box.shop, again))
        assert (await box.ccdtasks("stop", "patient", "--force")).code == 0
        follower = await box.ccdtasks("logs", (await box.ccdtasks("runs", "--json")).json()[0]["id"], "--follow")
        assert follower.code == 0, "the log never ended"
        assert (await box.ccdtasks("runs", "--json")).json()[0]["status"] == "cancelled"


async def test_a_second_service_on_the_same_database_is_refused(box: Box) -> None:
    await _until_served(box)
    second = await box.ccdtasks("serve")
    assert second.code == 6
    assert "Another ccdtasks uses this database already" in second.err


async def _until_served(box: Box) -> None:
    log = box.place.root / "serve.log"
    async with asyncio.timeout(60):
        while "is ready" not in log.read_text():
            assert box.service.poll() is None, log.read_text()
            await asyncio.sleep(0.05)
