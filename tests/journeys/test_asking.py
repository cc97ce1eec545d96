"""A run that asks: one question answered by a button in Discord, the next from the shell while the service is down."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ccdtasks.core.access import SHELL
from ccdtasks.db.enums import RunStatus
from ccdtasks.demo.shop import Shop, served
from tests.doubles.discord_server import DiscordServer
from tests.doubles.messages_api import MessagesApi, Reply, Use, say
from tests.doubles.podman import SESSION_IMAGE, podman_service, require_image
from tests.journeys.service import Instance, end, instance

pytestmark = [pytest.mark.image, pytest.mark.slow]

BROWSER, OURS = "mcp__playwright__browser_", "mcp__ccdtasks__"


@pytest.fixture(scope="module")
def podman_socket() -> Iterator[Path]:
    require_image()
    with tempfile.TemporaryDirectory(prefix="ccdt-") as folder, podman_service(Path(folder) / "p.sock") as socket:
        yield socket


def _ask(question: str, *choices: str) -> Reply:
    return say(Use(f"{OURS}ask_user", {"question": question, "choices": list(choices)}))


def _report(body: dict[str, Any], url: str) -> Reply:
    """What the model makes of the answers that it was given."""
    answers = re.findall(r"The person answers: (\w+)", json.dumps(body["messages"]))
    return say(Use(f"{OURS}submit_result", {"summary": f"Chosen: {' and '.join(answers)}", "evidence_url": url}))


async def _answer(box: Instance, *words: str) -> dict[str, Any]:
    """`ccdtasks answer`, as a process of its own."""
    command = [sys.executable, "-m", "ccdtasks.cli", "--config", str(box.config_path), "answer", *words, "--json"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


async def test_a_run_asks_in_discord_and_in_the_shell_while_the_service_is_down(podman_socket: Path) -> None:
    async with served(Shop().app()) as port, DiscordServer(answer_within_s=30) as discord:
        url = f"http://127.0.0.1:{port}/"
        model = MessagesApi(
            say("Looking.", Use(f"{BROWSER}navigate", {"url": url})),
            _ask("Which colour?", "red", "blue"),
            _ask("Which size?"),
            lambda body: _report(body, url),
            say("Done."),
        )
        async with served(model.app()) as model_port:
            tables = {
                "discord": discord.config,
                "claude": {"base_url": f"http://127.0.0.1:{model_port}"},
                "egress": {"allow_private": [f"127.0.0.1:{port}"]},
                "podman": {"memory_mib": 2048},
            }
            with instance(podman_socket, SESSION_IMAGE, tables) as box:
                await _live(box, discord)


async def _live(box: Instance, discord: DiscordServer) -> None:
    alice, bob = discord.person("alice"), discord.person("bob")
    with box.serve() as process:
        await discord.connected()
        await discord.slash(alice, "task-create", name="mugs", prompt="Find a mug")
        await discord.slash(alice, "task-start", task="mugs")
        colour = await discord.until(lambda: discord.message(discord.thread("mugs"), "Which colour?"), 120)
        assert [each["id"] for each in colour["mentions"]] == [alice.id]
        assert "Only" in (await discord.click(bob, colour, "red")).text
        assert "It hears **blue**" in (await discord.click(alice, colour, "blue")).text
        size = await discord.until(lambda: discord.message(discord.thread("mugs"), "Which size?"), 120)
        chosen = f"{alice.mention} answered: **blue**"
        settled = await discord.until(lambda: discord.message(discord.thread("mugs"), chosen), 60)
        assert (settled["id"], settled["components"]) == (colour["id"], [])
        process.kill()
        await asyncio.to_thread(process.wait)
    async with box.core() as core:
        (asked,) = await core.interventions.waiting(SHELL)
        answered = await _answer(box, asked.run.id.hex[:8], "large")
        assert (answered["task"], answered["request"]["answer"]) == ("mugs", "large")
        with box.serve():
            view = await end(core, asked.run.id)
            assert (view.run.status, view.run.error_message) == (RunStatus.COMPLETED, None), box.log()
            assert view.run.result_summary == "Chosen: blue and large"
            said = await discord.until(lambda: discord.message(discord.thread("mugs"), "the shell answered: **large**"))
            assert said["id"] == size["id"]
            await discord.until(lambda: discord.message(discord.thread("mugs"), "Chosen: blue and large"), 60)
        resolved = [
            event for event in await core.runs.events(SHELL, view.run.id, limit=1000) if event.type == "human_done"
        ]
        assert [event.data["text"] for event in resolved] == ["blue", "large"]
    discord.assert_clean()
