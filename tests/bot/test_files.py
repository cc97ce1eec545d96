"""The files of a run, as people get them in Discord."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ccdtasks.config import Config, ServerConfig
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.runs.claims import Claim
from ccdtasks.db.enums import ArtifactKind, ArtifactState, Reason, RunStatus
from tests.bot.conftest import World, embed_of


async def _ended(world: World, *names: str, **more: Any) -> Claim:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    drafts = [world.stored(name, f"bytes of {name}".encode(), ArtifactKind.DOWNLOAD) for name in names]
    drafts += more.get("drafts", [])
    await world.end(claim, Outcome(RunStatus.FAILED, Reason.BLOCKED, artifacts=drafts))
    return claim


async def _files(world: World, claim: Claim, person: Any = None) -> Any:
    return await (person or world.alice).slash(world.lobby, "task-files", session=str(claim.run_id)[:8])


async def test_files_are_listed_by_pages_with_what_each_is(world: World) -> None:
    claim = await _ended(world, *(f"{number:02}.bin" for number in range(19)))
    reply = await _files(world, claim)
    embed = embed_of(reply)
    assert embed.title == f"ticket-checker: files of run {claim.run_id.hex[:8]}"
    assert "• **00.bin** · 15 B · download" in embed.description
    assert embed.description.count("•") == 8
    second = await world.alice.click(reply.response, label="More")
    assert "08.bin" in embed_of(second).description
    last = await world.alice.click(second.response, label="More")
    assert embed_of(last).description.count("•") == 3
    with pytest.raises(Exception, match="More"):
        await world.alice.click(last.response, label="More")
    first = await world.alice.click(last.response, label="First page")
    assert "00.bin" in embed_of(first).description


async def test_the_files_of_a_page_are_sent_on_demand(world: World) -> None:
    claim = await _ended(world, *(f"{number:02}.bin" for number in range(9)))
    second = await world.alice.click((await _files(world, claim)).response, label="More")
    sent = await world.alice.click(second.response, label="Send them here")
    assert [each.filename for each in sent.response.attachments] == ["08.bin"]


async def test_what_is_missing_says_why(world: World) -> None:
    kept = world.stored("a.bin", b"x", ArtifactKind.DOWNLOAD)
    lost = replace(kept, name="lost.bin", state=ArtifactState.MISSING, location=None, note="The disk was full.")
    claim = await _ended(world, drafts=[kept, lost])
    assert (
        "**lost.bin** · 1 B · download · missing: The disk was full."
        in embed_of(await _files(world, claim)).description
    )


async def test_names_of_strangers_stay_harmless(world: World) -> None:
    name = "\u202e**@everyone** [x](https:__evil).bin"
    claim = await _ended(world, drafts=[replace(world.stored("k", b"x", ArtifactKind.DOWNLOAD), name=name)])
    told = embed_of(await _files(world, claim)).description
    assert "\u202e" not in told
    assert "@everyone" not in told  # a mark that nobody sees stands between
    assert "everyone" in told


async def test_a_run_without_files_says_so_and_others_see_none(world: World) -> None:
    claim = await _ended(world)
    assert embed_of(await _files(world, claim)).description == "This run left no files."
    assert "Only <@" in embed_of(await _files(world, claim, world.bob)).description


class TestWithAnAddressOfOurs:
    @pytest.fixture
    def config(self, config: Config) -> Config:
        return config.model_copy(update={"server": ServerConfig(public_url="https://tasks.example.com")})

    async def test_each_file_has_a_link(self, world: World) -> None:
        claim = await _ended(world, "a.bin")
        (artifact,) = (await world.core.runs.load(claim.run_id)).artifacts
        told = embed_of(await _files(world, claim)).description
        assert f"[save](https://tasks.example.com/files/{artifact.id}?t=" in told
