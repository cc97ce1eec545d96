"""A bot over a real core on a simulated Discord; every request it made is judged at the end."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import discord
import pytest
from simcord import Env

from ccdtasks.app import open_core
from ccdtasks.bot import Bot
from ccdtasks.config import Config
from ccdtasks.core import Core
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.records.artifacts import ArtifactDraft
from ccdtasks.core.runs.claims import Claim
from ccdtasks.db.enums import ArtifactKind, ArtifactState
from ccdtasks.db.models import Artifact
from ccdtasks.engine.delivery import DeliveryLoop
from ccdtasks.errors import CcdError
from tests.doubles.discord.rules import RuleBook
from tests.doubles.discord.schema import schema

GUILD = 1_400_000_000_000_000_000
ADMIN_ROLE = 1_400_000_000_000_000_777
USER_ROLE = 1_400_000_000_000_000_888


class Shelf:
    """A store of artifacts in memory: location -> bytes."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.url: str | None = None
        self.away: CcdError | None = None

    def path_of(self, artifact: Artifact) -> Path | None:
        return Path("/srv/ccdtasks") / (artifact.location or "") if self.url is None else None

    async def bytes_of(self, artifact: Artifact, max_bytes: int) -> bytes:
        if self.away:
            raise self.away
        return self.files[artifact.location or ""][:max_bytes]

    async def link_of(self, artifact: Artifact, ttl_s: int) -> str | None:
        return f"{self.url}/{artifact.location}?ttl={ttl_s}" if self.url else None


@dataclass
class World:
    """A server with a channel, two people, the bot, and the loop that empties its outbox."""

    env: Env
    bot: Bot
    core: Core
    shelf: Shelf
    guild: Any
    lobby: Any
    alice: Any
    bob: Any
    expects_bugs: bool = False

    async def deliver(self) -> None:
        """Empties the outbox once, as the delivery loop does."""
        loop = DeliveryLoop(self.core, self.bot.projection, edit_gap_s=0)
        while await loop.send_pending() == 0:
            pass
        await self.env.settle()

    async def make(self, name: str = "ticket-checker", prompt: str = "Find {what=shoes}", **options: Any) -> None:
        """Alice makes a task."""
        reply = await self.alice.slash(self.lobby, "task-create", name=name, prompt=prompt, **options)
        assert "ready" in (embed_of(reply).title or ""), embed_of(reply).description

    async def begin(self) -> Claim:
        """The next run in the queue gets a session that is up."""
        claim = await self.core.claims.claim_next(self.core.clock.now(), "boot", 10)
        assert claim is not None
        await self.core.claims.running(claim)
        return claim

    async def log(self, claim: Claim, *events: dict[str, Any]) -> None:
        """The session writes events."""
        first, at = claim.events_seq + 1, self.core.clock.now().isoformat()
        lines = [json.dumps({"seq": first + n, "at": at, **event}).encode() for n, event in enumerate(events)]
        await self.core.claims.record(claim, lines, sum(map(len, lines)))

    async def end(self, claim: Claim, outcome: Outcome) -> None:
        """The session is over."""
        await self.core.claims.collecting(claim)
        await self.core.claims.finish(claim, outcome)

    def stored(self, name: str, data: bytes, kind: ArtifactKind, content_type: str = "text/csv") -> ArtifactDraft:
        """A file that the store has."""
        self.shelf.files[name] = data
        return ArtifactDraft(name, kind, content_type, len(data), state=ArtifactState.STORED, location=name)

    def channel(self, name: str) -> Any:
        return self.guild.channels[name]

    def thread(self, channel: str) -> Any:
        """The latest thread of a channel."""
        return self.channel(channel).threads[-1]

    def is_bug(self, error: BaseException) -> bool:
        """Whether a mistake that the bot met is ours; what a person can act on is none."""
        cause = getattr(error, "original", error)
        return not self.expects_bugs and not isinstance(cause, CcdError)

    def errors(self) -> list[str]:
        """What Discord would have refused of everything the bot sent."""
        book, found = RuleBook(), []
        for at_s, each in enumerate(self.env.http_requests):
            body = each.json
            found += schema().request_errors(each.method, each.path, body)
            found += book.errors(each.method, each.path, body, at_s)
        return found


@pytest.fixture
def config(tmp_path: Path, sqlite_template: Path) -> Config:
    shutil.copy(sqlite_template, tmp_path / "ccdtasks.db")
    return Config.model_validate(
        {
            "discord": {"token": "test", "guild_id": GUILD, "notification_channel": "news"},
            "paths": {"data_dir": tmp_path},
        }
    )


@pytest.fixture
async def core(config: Config) -> AsyncIterator[Core]:
    async with open_core(config) as opened:
        yield opened


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
async def simcord_bot(core: Core, config: Config, shelf: Shelf) -> Bot:
    return Bot(core, config, shelf)


@pytest.fixture
async def world(simcord_env: Env, simcord_bot: Bot, core: Core, shelf: Shelf) -> AsyncIterator[World]:
    simcord_env.settle_timeout = 12  # for charts; aiohttp keeps a connection for 15, which is not waited for
    guild = simcord_env.create_guild(id=GUILD)
    await simcord_env.settle()
    member = guild.me
    assert member is not None
    made = World(
        env=simcord_env,
        bot=simcord_bot,
        core=core,
        shelf=shelf,
        guild=guild,
        lobby=guild.create_text_channel("lobby"),
        alice=guild.add_member(simcord_env.create_user("alice")),
        bob=guild.add_member(simcord_env.create_user("bob")),
    )
    yield made
    assert [error for error in made.env.errors if made.is_bug(error)] == []
    assert made.errors() == []


def embed_of(result: Any) -> discord.Embed:
    """The one embed of a reply."""
    (embed,) = result.response.embeds
    return embed
