"""Tasks that run after others, as people see them: commands, tree, picture, threads, the summary, the question."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from ccdtasks.bot import cards
from ccdtasks.core.access import SHELL
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.runs.claims import Claim
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import ArtifactKind, Reason, RunStatus
from tests.bot.conftest import World, embed_of
from tests.bot.test_commands import said
from tests.stories import RESULT, completed


async def chain(world: World, *names: str) -> None:
    """Alice makes tasks, each of which runs after the one before."""
    for name in names:
        await world.make(name, "Look")
    for upstream, task in pairwise(names):
        await world.alice.slash(world.lobby, "task-depends-on", task=task, depends_on=upstream)


async def finish(world: World, claim: Claim, *files: Any, summary: str = "Found it") -> None:
    await world.log(claim, {"type": "result", **RESULT, "summary": summary})
    shot = world.stored("final.png", b"\x89PNG", ArtifactKind.SCREENSHOT, "image/png")
    await world.end(claim, completed(artifacts=[shot, *files]))
    await world.core.claims.removed(claim)


async def fail(world: World, claim: Claim) -> None:
    await world.end(claim, Outcome(RunStatus.FAILED, Reason.BLOCKED))
    await world.core.claims.removed(claim)


def texts(place: Any) -> list[str]:
    """Title and text of every message of a channel or thread."""
    return [f"{embed.title}\n{embed.description or ''}" for each in place.history() for embed in each.embeds]


async def test_a_dependency_is_added_changed_and_removed(world: World) -> None:
    await world.make("scrape", "Look")
    await world.make("analyze", "Read {input_file}")
    refused = said(await world.alice.slash(world.lobby, "task-depends-on", task="analyze", depends_on="scrape"))
    assert "analyze needs `input_file`, and a run that another task starts has nobody to ask." in refused
    assert "input\\_file:@scrape/output\\_file" in refused or "input_file:@scrape/output_file" in refused
    values = "input_file:@scrape/output_file"
    reply = await world.alice.slash(world.lobby, "task-depends-on", task="analyze", depends_on="scrape", values=values)
    assert "**analyze** will run each time that **scrape** completes." in said(reply)
    reply = await world.alice.slash(
        world.lobby, "task-depends-on", task="analyze", depends_on="scrape", required=False, mode="any"
    )
    assert "ends, even if it fails" in said(reply)
    reply = await world.alice.slash(world.lobby, "task-depends-on", task="scrape", depends_on="analyze")
    assert "circle: scrape -> analyze -> scrape." in said(reply)
    reply = await world.alice.slash(world.lobby, "task-depends-remove", task="analyze", depends_on="scrape")
    assert "**analyze** no longer runs after **scrape**." in said(reply)
    reply = await world.alice.slash(world.lobby, "task-dependencies", task="analyze")
    assert "It runs after nothing" in said(reply)


async def test_somebody_elses_task_is_refused(world: World) -> None:
    await chain(world, "scrape", "analyze")
    for name, options in (
        ("task-depends-on", {"task": "scrape", "depends_on": "analyze"}),
        ("task-depends-remove", {"task": "analyze", "depends_on": "scrape"}),
        ("task-dependencies", {"task": "scrape"}),
        ("task-delete", {"task": "scrape"}),
    ):
        assert "Not allowed" in said(await world.bob.slash(world.lobby, name, **options))


async def test_the_tree_is_shown_in_words_and_as_a_picture(world: World) -> None:
    await chain(world, "scrape", "analyze", "digest")
    await world.alice.slash(world.lobby, "task-depends-on", task="digest", depends_on="scrape", required=False)
    reply = await world.alice.slash(world.lobby, "task-dependencies", task="digest")
    assert said(reply).splitlines()[1:-1] == [
        "```",
        "◌ digest",
        "    ↑ after ◌ analyze",
        "        ↑ after ◌ scrape",
        "    ↑ after ◌ scrape, even if it fails, see above",
    ]
    embed = embed_of(reply)
    assert embed.footer.text == "2 steps deep · how long it takes is known after the first good runs"
    (picture,) = reply.response.attachments
    assert embed.image.url == "attachment://dependencies.png" or "dependencies.png" in (embed.image.url or "")
    assert (await picture.read()).startswith(b"\x89PNG")


async def test_a_picture_that_cannot_be_drawn_leaves_the_words(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ccdtasks.bot.pictures.GRAPH", "ccdtasks.no_such_program")
    await chain(world, "scrape", "analyze")
    reply = await world.alice.slash(world.lobby, "task-dependencies", task="scrape")
    assert "↓ then ◌ analyze" in said(reply)
    assert reply.response.attachments == []


async def test_a_picture_shows_what_is_nearest_and_says_what_it_leaves_out(world: World) -> None:
    core = world.core
    for name in ("root", "other", *(f"t{number}" for number in range(70))):
        await core.tasks.create(SHELL, TaskDraft(name, "Look"))
    await core.dependencies.add(SHELL, "t0", "root")
    await core.dependencies.add(SHELL, "t0", "other", mode="any")
    for number in range(1, 70):
        await core.dependencies.add(SHELL, f"t{number}", "t0" if number < 40 else "t1")
    tree = await core.dependencies.tree(SHELL, "root")
    data = cards.dependencies.drawn(tree)
    notes = {node["name"]: node["note"] for node in data["nodes"]}
    assert (len(notes), notes["t0"], notes["t39"]) == (60, "after any, or after 1 not shown", "")
    assert all({start, end} <= notes.keys() for start, end, _ in data["edges"])
    said = cards.dependencies.tree(tree, b"png").footer
    assert said.endswith("drawn are the nearest 60 of 71 tasks")


async def test_a_chain_is_told_in_each_channel_and_summed_up_once(world: World) -> None:
    news = world.guild.create_text_channel("news")
    await chain(world, "scrape", "analyze")
    await world.alice.slash(world.lobby, "task-start", task="scrape")
    await finish(world, await world.begin())
    await world.deliver()
    (opening,) = texts(world.channel("analyze"))
    assert "Started after scrape, <t:" in opening
    await finish(
        world,
        await world.begin(),
        world.stored("digest.md", b"# News", ArtifactKind.DOWNLOAD, "text/markdown"),
        summary="Three trends today",
    )
    await world.deliver()
    await world.deliver()
    (summary,) = news.history()
    (embed,) = summary.embeds
    assert embed.title == "✓ scrape → analyze: all done"
    assert embed.description.splitlines()[0] == "Three trends today"
    assert "All 2 tasks are done" in embed.description
    assert "✓ **scrape** · done · 0 s" in embed.description
    (file,) = summary.attachments
    assert (file.filename, await file.read()) == ("digest.md", b"# News")
    linked = await world.alice.click(summary, label="View Full Report")
    assert "report" in said(linked).lower()
    again = await world.alice.click(summary, label="Run Again")
    assert "on its way" in said(again)
    await finish(world, await world.begin())
    assert (await world.begin()).task_id == (await world.core.tasks.find(SHELL, "analyze")).id


async def test_the_summary_of_a_chain_with_two_ends_has_both_answers_and_files(world: World) -> None:
    news = world.guild.create_text_channel("news")
    await chain(world, "scrape", "digest")
    await world.make("alert", "Look")
    await world.alice.slash(world.lobby, "task-depends-on", task="alert", depends_on="scrape")
    await world.alice.slash(world.lobby, "task-start", task="scrape")
    await finish(world, await world.begin())
    names = {}
    for claim in (await world.begin(), await world.begin()):
        names[(await world.core.tasks.load(claim.task_id)).task_name] = claim
    for name, claim in names.items():
        file = world.stored(f"{name}.md", name.encode(), ArtifactKind.DOWNLOAD, "text/markdown")
        await finish(world, claim, file, summary=f"Said by {name}")
    await world.deliver()
    (summary,) = news.history()
    (embed,) = summary.embeds
    assert embed.title in ("✓ scrape → digest and alert: all done", "✓ scrape → alert and digest: all done")
    assert {"**digest**: Said by digest", "**alert**: Said by alert"} <= set(embed.description.splitlines())
    assert {each.filename for each in summary.attachments} == {"digest.md", "alert.md"}


async def test_a_chain_that_breaks_is_summed_up_too(world: World) -> None:
    news = world.guild.create_text_channel("news")
    await chain(world, "scrape", "analyze", "digest")
    await world.alice.slash(world.lobby, "task-start", task="scrape")
    await finish(world, await world.begin())
    await fail(world, await world.begin())
    await world.deliver()
    (summary,) = texts(news)
    assert summary.startswith("✕ scrape → digest: not all done")
    assert "1 of 3 tasks are done" in summary
    assert "? **analyze** · refused as a robot" in summary
    assert "✕ **digest** · failed · It did not run: analyze failed." in summary
    thread = "\n".join(texts(world.thread("digest")))
    assert "It did not run: analyze failed." in thread
    assert [each.content for each in world.thread("digest").history() if f"<@{world.alice.id}>" in each.content] == []


async def test_a_schedule_says_which_tasks_its_runs_lead_to(world: World) -> None:
    await chain(world, "scrape", "analyze", "digest")
    reply = await world.alice.slash(world.lobby, "task-schedule", task="scrape", when="0 7 * * *")
    assert said(reply).splitlines()[-3:] == [
        "**Each run leads to**",
        "1. analyze, after scrape",
        "2. digest, after analyze",
    ]
    await world.make("prices", "Look")
    any_of = await world.alice.slash(world.lobby, "task-depends-on", task="analyze", depends_on="prices", mode="any")
    assert "The first of scrape and prices starts it, once in each chain." in said(any_of)
    reply = await world.alice.slash(world.lobby, "task-schedule", task="scrape", when="0 7 * * *")
    assert "1. analyze, after scrape or prices" in said(reply)


async def test_a_deletion_asks_says_what_breaks_and_can_be_taken_back(world: World) -> None:
    await chain(world, "scrape", "analyze", "digest")
    asked = await world.alice.slash(world.lobby, "task-delete", task="scrape")
    assert "✋ Delete scrape?" in said(asked)
    assert "It has had no run." in said(asked)
    assert "schedule" not in said(asked)
    assert "**analyze** and **digest** run after it and would no longer be started." in said(asked)
    kept = await world.alice.click(asked.response, label="Keep it")
    assert "Nothing was changed" in said(kept)
    assert "scrape" in await world.core.tasks.names(SHELL)
    twice = await world.alice.slash(world.lobby, "task-delete", task="scrape")
    asked = await world.alice.slash(world.lobby, "task-delete", task="scrape")
    gone = await world.alice.click(asked.response, label="Delete")
    assert "■ scrape: deleted" in said(gone)
    assert "scrape" not in await world.core.tasks.names(SHELL)
    reply = await world.alice.slash(world.lobby, "task-dependencies", task="analyze")
    assert "scrape" not in said(reply)
    await world.make("scrape", "Look")
    stale = await world.alice.click(twice.response, label="Delete")
    assert "scrape was deleted." in said(stale)
    assert "scrape" in await world.core.tasks.names(SHELL)  # another one of that name


async def test_a_pause_asks_and_says_what_goes_on_without_it(world: World) -> None:
    await chain(world, "scrape", "analyze", "digest")
    await world.make("prices", "Look")
    await world.alice.slash(world.lobby, "task-depends-on", task="digest", depends_on="prices")
    asked = await world.alice.slash(world.lobby, "task-pause", task="scrape")
    assert "**analyze** runs after it and would no longer be started." in said(asked)
    assert not (await world.core.tasks.find(SHELL, "scrape")).paused
    await world.alice.click(asked.response, label="Pause")
    assert (await world.core.tasks.find(SHELL, "scrape")).paused
    asked = await world.alice.slash(world.lobby, "task-pause", task="prices")
    assert "**digest** goes on without it." in said(asked)
    assert "no longer" not in said(asked)


async def test_a_deletion_is_for_the_owner_also_by_the_button(world: World) -> None:
    await world.make("scrape", "Look")
    await world.alice.slash(world.lobby, "task-start", task="scrape")
    asked = await world.alice.slash(world.lobby, "task-delete", task="scrape")
    refused = await world.alice.click(asked.response, label="Delete")
    assert "scrape is running right now" in said(refused)
    assert "scrape" in await world.core.tasks.names(SHELL)
