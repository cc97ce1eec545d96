"""The main job as somebody in Discord lives it: create, start, watch, result, again; all parts real but the internet's.

Discord is `DiscordServer` on loopback, the model a script over HTTP, the site our shop; the service is its own process.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ccdtasks.core.access import SHELL
from ccdtasks.demo.shop import Shop, served
from tests.doubles.discord_server import DiscordServer, Person, Reply
from tests.doubles.messages_api import Line, MessagesApi, Use, say
from tests.doubles.podman import SESSION_IMAGE, podman_service, require_image
from tests.journeys.service import Instance, instance

pytestmark = [pytest.mark.image, pytest.mark.slow]

PATIENCE_S = 120
BROWSER, OURS = "mcp__playwright__browser_", "mcp__ccdtasks__"


@pytest.fixture(scope="module")
def podman_socket() -> Iterator[Path]:
    require_image()
    with tempfile.TemporaryDirectory(prefix="ccdt-") as folder, podman_service(Path(folder) / "p.sock") as socket:
        yield socket


@dataclass
class Home:
    """A household: the box, its Discord server, and Alice."""

    box: Instance
    discord: DiscordServer
    alice: Person

    async def start(self, **options: str) -> Reply:
        return await self.discord.slash(self.alice, "task-start", task="mugs", **options)

    async def shown(self, words: str) -> dict:  # type: ignore[type-arg]
        """The message of the latest run's thread with these words, as soon as it is there."""
        seen = self.discord
        return await seen.until(lambda: seen.message(seen.thread("mugs"), words), PATIENCE_S)


@asynccontextmanager
async def home(podman_socket: Path, *script: Line) -> AsyncIterator[Home]:
    """A household whose model says `script`, with Alice's task already made."""
    model = MessagesApi(*script)
    async with DiscordServer(answer_within_s=30) as discord, served(model.app()) as model_port:
        tables = {
            "discord": discord.config,
            "claude": {"base_url": f"http://127.0.0.1:{model_port}"},
            "egress": {"allow_private": [f"127.0.0.1:{port}" for port in _shop_ports(script)]},
            "podman": {"memory_mib": 2048},
        }
        with instance(podman_socket, SESSION_IMAGE, tables) as box:
            yield Home(box, discord, discord.person("alice"))


def _shop_ports(script: tuple[Line, ...]) -> set[int]:
    """The ports of the pages that the script opens."""
    opened = [
        block.input.get("url") for line in script for block in getattr(line, "blocks", ()) if isinstance(block, Use)
    ]
    return {int(url.rsplit(":", 1)[1].strip("/")) for url in opened if url}


def _browse(url: str) -> Line:
    return say("Looking.", Use(f"{BROWSER}navigate", {"url": url}))


def _report(url: str, hold: asyncio.Event | None = None) -> Line:
    found = {
        "summary": "Cheapest: **Mug Enamel** at $11.50",
        "items": [{"product": "Mug Enamel", "price": 11.5}, {"product": "Mug Clay", "price": 14}],
        "values": {"lowest": {"number": 11.5, "unit": "USD"}},
        "alerts": [{"text": "below $12", "severity": "info"}],
        "evidence_url": url,
    }
    return say(Use(f"{OURS}submit_result", found), hold=hold)


async def test_create_start_watch_result_and_again(podman_socket: Path) -> None:
    hold = asyncio.Event()
    async with served(Shop().app()) as port:
        url = f"http://127.0.0.1:{port}/"
        progress = say(Use(f"{OURS}report_progress", {"text": "Comparing 12 mugs"}))
        script = (_browse(url), progress, _report(url, hold), say("Done."), _browse(url), _report(url), say("Done."))
        async with home(podman_socket, *script) as here:
            with here.box.serve():
                discord, alice = here.discord, here.alice
                await discord.connected()
                made = await discord.slash(
                    alice, "task-create", name="mugs", prompt="Find the cheapest {what}, a shop's price"
                )
                assert "It needs `what`." in made.text
                form = await here.start()
                begun = await discord.submit(alice, form, {"what": "mug"})
                card = await here.shown("Comparing 12 mugs")
                assert card["embeds"][0]["title"] == "▶ mugs: running"
                thread = discord.thread("mugs")
                assert thread is not None
                await discord.until(lambda: f"<#{thread['id']}>" in begun.text)
                log = await discord.click(alice, card, "Log")
                (text,) = discord.files(log.message).values()
                assert b"browser_navigate" in text
                hold.set()
                result = await here.shown("below $12")
                _is_the_result(discord, result, alice)
                await discord.until(lambda: thread["name"].endswith(" - Complete"))
                again = await discord.click(alice, result, "Run Again")
                assert "• what: mug" in again.text
                await discord.until(lambda: len(discord.state.threads(discord.channel("mugs")["id"])) == 2)  # type: ignore[index]
                second = await here.shown("below $12")
                assert second["id"] != result["id"]
            discord.assert_clean()
            _nothing_twice(discord)


def _is_the_result(discord: DiscordServer, result: dict, alice: Person) -> None:  # type: ignore[type-arg]
    embed = result["embeds"][0]
    assert embed["title"] == "✓ mugs: done"
    assert embed["description"].startswith("Cheapest: **Mug Enamel** at $11.50")
    assert "1\\. **Mug Enamel** · price: 11.5\n2\\. **Mug Clay** · price: 14" in embed["description"]
    assert "tokens · about $" in embed["footer"]["text"]
    assert [each["id"] for each in result["mentions"]] == [alice.id]
    files = discord.files(result)
    assert files["results.csv"].decode("utf-8-sig").splitlines() == ["product,price", "Mug Enamel,11.5", "Mug Clay,14"]
    assert files["final.png"].startswith(b"\x89PNG")
    assert b"Mug Enamel" in files["results.json"]
    assert embed["image"]["url"].endswith("/final.png")


def _nothing_twice(discord: DiscordServer) -> None:
    """A thread has one card and one result; the channel one message a run."""
    threads = discord.state.threads()
    assert [len(discord.messages(thread)) for thread in threads] == [2] * len(threads)
    assert len(discord.messages(discord.channel("mugs"))) == len(threads)


async def test_a_killed_service_goes_on_in_the_same_thread(podman_socket: Path) -> None:
    hold = asyncio.Event()
    async with served(Shop().app()) as port:
        url = f"http://127.0.0.1:{port}/"
        # The second answer is asked for twice: the connection of the first went with the process.
        script = (_browse(url), _report(url, hold), _report(url), say("Done."))
        async with home(podman_socket, *script) as here:
            discord = here.discord
            with here.box.serve() as process:
                await discord.connected()
                await discord.slash(here.alice, "task-create", name="mugs", prompt="Find a mug's price")
                await here.start()
                await here.shown("1 page")
                process.kill()
                await asyncio.to_thread(process.wait)
            assert process.returncode == -signal.SIGKILL
            hold.set()
            with here.box.serve():
                await here.shown("below $12")
                await discord.until(lambda: (discord.thread("mugs") or {})["name"].endswith(" - Complete"))
            discord.assert_clean()
            _nothing_twice(discord)


async def test_the_stop_button_ends_the_session(podman_socket: Path) -> None:
    hold = asyncio.Event()
    async with served(Shop().app()) as port:
        url = f"http://127.0.0.1:{port}/"
        async with home(podman_socket, _browse(url), _report(url, hold)) as here:
            discord = here.discord
            with here.box.serve():
                await discord.connected()
                await discord.slash(here.alice, "task-create", name="mugs", prompt="Find a mug's price")
                await here.start()
                card = await here.shown("1 page")
                reply = await discord.click(here.alice, card, "Stop")
                assert "stops in good order" in reply.text
                stopped = await here.shown(f"Stopped by {here.alice.mention}.")
                assert stopped["embeds"][0]["title"] == "■ mugs: stopped"
                await discord.until(lambda: (discord.thread("mugs") or {})["name"].endswith(" - Cancelled"))
            hold.set()
            discord.assert_clean()


async def test_discord_away_for_the_whole_run_is_told_afterwards(podman_socket: Path) -> None:
    async with served(Shop().app()) as port:
        url = f"http://127.0.0.1:{port}/"
        async with home(podman_socket, _browse(url), _report(url), say("Done.")) as here:
            discord = here.discord
            with here.box.serve():
                await discord.connected()
                await discord.slash(here.alice, "task-create", name="mugs", prompt="Find a mug's price")
                await here.start()
                await discord.go_down()
                async with here.box.core() as core:
                    async with asyncio.timeout(PATIENCE_S):
                        while not (await core.tasks.page(SHELL)).rows[0].task.success_count:  # noqa: ASYNC110
                            await asyncio.sleep(0.1)
                await discord.come_back()
                await here.shown("below $12")
            discord.assert_clean()
            _nothing_twice(discord)
