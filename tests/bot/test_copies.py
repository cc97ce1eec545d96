"""Copies of tasks in Discord: a channel of their own, a file, and what a bad file leaves: nothing."""

from __future__ import annotations

import json
from typing import Any

from ccdtasks.core.access import SHELL
from tests.bot.conftest import World, embed_of

NAME = "ticket-checker"


def said(reply: Any) -> str:
    """Title and text of a reply's one embed."""
    embed = embed_of(reply)
    return f"{embed.title}\n{embed.description or ''}"


async def test_a_clone_has_a_channel_of_its_own_and_rests(world: World) -> None:
    await world.make()
    await world.alice.slash(world.lobby, "task-schedule", task=NAME, when="@daily")
    reply = said(await world.alice.slash(world.lobby, "task-clone", task=NAME, new_name="second"))
    assert reply.startswith("✓ second: ready\n")
    assert f"<#{world.channel('second').id}>" in reply
    assert "Its schedule rests, so that nothing runs twice or unasked: `/task-resume second` lets it run." in reply
    assert (await world.core.tasks.find(SHELL, "second")).discord_channel_id == str(world.channel("second").id)
    assert "already" in said(await world.alice.slash(world.lobby, "task-clone", task=NAME, new_name="second"))
    assert "Only <@" in said(await world.bob.slash(world.lobby, "task-clone", task=NAME, new_name="third"))
    assert "third" not in world.guild.channels


async def test_a_task_goes_out_as_a_file_and_comes_back(world: World) -> None:
    await world.make()
    shown = await world.alice.slash(world.lobby, "task-export", task=NAME)
    (file,) = shown.response.attachments
    assert file.filename == "ticket-checker.task.json"
    document = await world.core.definitions.export(SHELL, NAME)
    data = json.dumps(document).encode()
    taken = said(await world.alice.slash(world.lobby, "task-import", file=("t.json", data)))
    assert "There is a task named ticket-checker already" in taken
    made = said(await world.alice.slash(world.lobby, "task-import", file=("t.json", data), new_name="second"))
    assert made.startswith("✓ second: ready\n")
    assert "second" in world.guild.channels


async def test_a_bad_file_makes_neither_task_nor_channel(world: World) -> None:
    before = set(world.guild.channels)
    for data, words in (
        (b'{"ccdtasks_task": 1,\n "name" "x"}', "Line 2, sign 9: a colon is missing behind the name."),
        (b"\xff\xfe\x00", "The file is not text."),
        (b"x" * 300_000, "has 262.1 KB at most"),
        (b'{"ccdtasks_task": 1, "name": "x", "prompt": "y", "depends_on": [{"task": "zz"}]}', "no task named zz"),
    ):
        reply = said(await world.alice.slash(world.lobby, "task-import", file=("t.json", data)))
        assert words in reply
    assert set(world.guild.channels) == before
    assert await world.core.tasks.names(SHELL) == []
