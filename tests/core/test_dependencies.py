"""Dependencies: made, refused, removed, shown; a circle is impossible, whoever inserts it and when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from ccdtasks.app import open_core
from ccdtasks.config import Config
from ccdtasks.core import Core
from ccdtasks.core.records.graph import load_graph
from ccdtasks.core.tasks.dependencies import MAX_UPSTREAMS, Follower
from ccdtasks.core.tasks.outline import extent, outline, together
from ccdtasks.db.models import TaskDependency
from ccdtasks.errors import CcdError, Conflict, Denied, Invalid, LimitReached, NotFound
from tests.clock import MoveableClock
from tests.core.chains import finish_next, link
from tests.people import ADMIN, ANN, BOB
from tests.stories import make_task


async def tasks(core: Core, *names: str, **more: Any) -> None:
    for name in names:
        await make_task(core, name, **more)


async def test_a_dependency_is_made_shown_and_removed(core: Core) -> None:
    await tasks(core, "scrape", "analyze")
    added = await core.dependencies.add(ANN, "analyze", "#Scrape", required=False, mode="any")
    assert (added.task.task_name, added.upstream.task_name, added.required) == ("analyze", "scrape", False)
    tree = await core.dependencies.tree(ANN, "analyze")
    assert [(edge.task, edge.upstream, edge.required) for edge in tree.edges] == [("analyze", "scrape", False)]
    assert tree.task.dependency_mode == "any"
    noted = {entry.action: entry.details for entry in await core.audit.entries("task", added.task.id)}
    assert noted["task.depend"] == {"on": "scrape", "required": False, "mode": "any"}
    await core.dependencies.remove(ANN, "analyze", "scrape")
    assert (await core.dependencies.tree(ANN, "analyze")).edges == []
    with pytest.raises(NotFound, match="analyze does not run after scrape"):
        await core.dependencies.remove(ANN, "analyze", "scrape")


async def test_a_value_names_the_output_of_a_task_that_comes_before(core: Core) -> None:
    """A slip in the name would reach the agent as these very words."""
    await tasks(core, "scrape")
    await make_task(core, "analyze", "Read {input=nothing}")
    with pytest.raises(Invalid, match="analyze does not run after scrap, so it gets no file of it") as refused:
        await core.dependencies.add(ANN, "analyze", "scrape", values="input:@scrap/output_file")
    assert refused.value.hint == "write @scrape/output_file"
    assert (await core.dependencies.tree(ANN, "analyze")).edges == []
    await core.dependencies.add(ANN, "analyze", "scrape", values="input:@Scrape/output_file")
    await core.dependencies.add(ANN, "analyze", "scrape", values="input:@somebody/posts")  # plain text may be meant


async def test_what_cannot_be_is_refused_in_one_sentence(core: Core) -> None:
    await tasks(core, "a", "b", "c")
    await make_task(core, "bobs", actor=BOB)
    await link(core, "b > a", "c > b")
    for task, upstream, error, words in (
        ("a", "a", Conflict, "A task cannot run after itself."),
        ("a", "c", Conflict, "That would be a circle: a -> c -> b -> a."),
        ("b", "a", Conflict, "b runs after a already."),
        ("a", "sea", NotFound, "There is no task named sea."),
        ("a", "bobs", Denied, "Only <@1002> or an admin can let a task run after this one."),
    ):
        with pytest.raises(error) as caught:
            await core.dependencies.add(ANN, task, upstream)
        assert caught.value.message == words
    with pytest.raises(Denied, match="only after tasks of its own owner"):
        await core.dependencies.add(ADMIN, "a", "bobs")
    with pytest.raises(Denied):
        await core.dependencies.tree(BOB, "a")


async def test_a_pair_is_changed_by_adding_it_again(core: Core) -> None:
    await tasks(core, "a", "b")
    await link(core, "b > a")
    await core.dependencies.add(ANN, "b", "a", required=False)
    await core.dependencies.add(ANN, "b", "a", required=False, mode="any")
    tree = await core.dependencies.tree(ANN, "b")
    assert [(edge.required, tree.task.dependency_mode) for edge in tree.edges] == [(False, "any")]


async def test_a_task_that_nobody_gives_its_values_is_refused(core: Core) -> None:
    await make_task(core, "scrape", "Save to {output_file}")
    await make_task(core, "analyze", "Read {input_file}")
    with pytest.raises(Invalid) as caught:
        await core.dependencies.add(ANN, "analyze", "scrape")
    assert caught.value.message == "analyze needs `input_file`, and a run that another task starts has nobody to ask."
    assert caught.value.hint == "add values, for example input_file:@scrape/output_file"
    assert (await core.dependencies.tree(ANN, "analyze")).edges == []
    await make_task(core, "digest", "Read {analysis_file}, write {output_file}")
    with pytest.raises(Invalid) as caught:
        await core.dependencies.add(ANN, "digest", "scrape")
    assert caught.value.hint == "add values, for example analysis_file:@scrape/output_file output_file:..."
    with pytest.raises(Invalid, match="This task has no parameter `file`"):
        await core.dependencies.add(ANN, "analyze", "scrape", values="file:x")
    await core.dependencies.add(ANN, "analyze", "scrape", values="input_file:@scrape/output_file")


async def test_a_task_runs_after_so_many_others_and_no_more(core: Core) -> None:
    await tasks(core, "last", *(f"t{number}" for number in range(MAX_UPSTREAMS + 1)))
    for number in range(MAX_UPSTREAMS):
        await core.dependencies.add(ANN, "last", f"t{number}")
    with pytest.raises(LimitReached):
        await core.dependencies.add(ANN, "last", f"t{MAX_UPSTREAMS}")


async def test_a_tree_has_levels_depth_and_the_time_of_its_slowest_path(core: Core, clock: MoveableClock) -> None:
    await tasks(core, "scrape", "prices", "analyze", "digest", "lone")
    for name, minutes in (("scrape", 2), ("prices", 10), ("analyze", 3)):
        await core.runs.start(ANN, name)
        await finish_next(core, clock, minutes=minutes)
    await link(core, "analyze > scrape", "analyze > prices", "digest > analyze", "digest > scrape")
    tree = await core.dependencies.tree(ANN, "analyze")
    assert {each.task.task_name: each.level for each in tree.tasks} == {
        "scrape": -1,
        "prices": -1,
        "analyze": 0,
        "digest": 1,
    }
    assert (tree.depth, tree.estimated_s, tree.unknown) == (2, 13 * 60, ["digest"])
    ends = await core.dependencies.tree(ANN, "scrape")
    assert {each.task.task_name: each.level for each in ends.tasks} == {"scrape": 0, "analyze": 1, "digest": 2}
    lone = await core.dependencies.tree(ANN, "lone")
    assert (len(lone.tasks), lone.depth, lone.estimated_s, lone.unknown) == (1, 0, None, ["lone"])


async def test_a_tree_names_what_a_task_in_it_also_runs_after(core: Core) -> None:
    await tasks(core, "scrape", "prices", "weather", "analyze", "digest")
    await link(core, "analyze > scrape", "analyze > prices", "analyze > weather", "digest > analyze", "digest > scrape")
    tree = await core.dependencies.tree(ANN, "scrape")
    assert {each.task.task_name: each.beside for each in tree.tasks} == {
        "scrape": [],
        "analyze": ["prices", "weather"],
        "digest": [],
    }
    signs = outline(tree, lambda _status: "◌")
    assert signs == [
        "◌ scrape",
        "    ↓ then ◌ analyze, and after prices and weather",
        "        ↓ then ◌ digest, and after scrape",
        "    ↓ then ◌ digest, and after analyze, see above",
    ]
    await core.dependencies.add(ANN, "analyze", "scrape", mode="any")
    tree = await core.dependencies.tree(ANN, "scrape")
    assert outline(tree, lambda _status: "◌")[1] == "    ↓ then ◌ analyze, or after prices and weather"
    assert extent(tree) == ["2 steps deep", "how long it takes is known after the first good runs"]


async def test_what_several_tasks_before_it_mean_is_said(core: Core) -> None:
    await tasks(core, "root", "a", "b", "lone", "last")
    await link(core, "a > root", "b > root")
    assert together(await core.dependencies.add(ANN, "last", "a")) == ""
    assert together(await core.dependencies.add(ANN, "last", "b")) == "It waits for all of a and b."
    any_of = await core.dependencies.add(ANN, "last", "b", mode="any")
    assert together(any_of) == "The first of a and b starts it, once in each chain."
    apart = together(await core.dependencies.add(ANN, "last", "lone", mode="all"))
    assert apart.startswith("a, b and lone do not start together, so it runs after each of them")
    assert together(await core.dependencies.remove(ANN, "last", "lone")) == "It waits for all of a and b."


async def test_what_follows_a_task_is_known_in_the_order_in_which_it_runs(core: Core) -> None:
    await tasks(core, "scrape", "analyze", "digest")
    await link(core, "analyze > scrape", "digest > analyze")
    scrape = (await core.tasks.find(ANN, "scrape")).id
    await tasks(core, "prices")
    await link(core, "digest > prices", mode="any")
    assert await core.dependencies.followers(scrape) == [
        Follower("analyze", ["scrape"], "all"),
        Follower("digest", ["analyze", "prices"], "any"),
    ]


async def test_deleting_a_task_that_others_run_after_asks_first(core: Core) -> None:
    await tasks(core, "scrape", "analyze", "digest")
    await link(core, "analyze > scrape", "digest > analyze")
    with pytest.raises(Conflict) as caught:
        await core.tasks.delete(ANN, "scrape")
    assert caught.value.message == "It would no longer start analyze and digest, which run after scrape."
    assert "scrape" in await core.tasks.names(ANN)
    await core.tasks.delete(ANN, "digest")
    await core.tasks.delete(ANN, "scrape", confirm=True)
    async with core.db.read() as session:
        assert (await session.scalars(select(TaskDependency))).all() == []


@pytest.mark.parametrize("pairs", [["a > b", "b > a"], ["a > b", "b > c", "c > d", "d > a"]], ids=["two", "four"])
async def test_halves_of_a_circle_inserted_side_by_side_never_close_it(
    core: Core, config: Config, clock: MoveableClock, pairs: list[str]
) -> None:
    """Each half is inserted by a process of its own."""
    await tasks(core, "a", "b", "c", "d")
    async with open_core(config, clock) as second:
        for _ in range(8):
            sides = [(core, second)[place % 2] for place in range(len(pairs))]
            done = await asyncio.gather(
                *(link(side, pair) for side, pair in zip(sides, pairs, strict=True)), return_exceptions=True
            )
            refused = [each for each in done if each is not None]
            assert len(refused) == 1
            assert isinstance(refused[0], CcdError)
            assert "circle" in str(refused[0])
            async with core.db.write() as session:
                graph = await load_graph(session)
                ids = {(await core.tasks.find(ANN, name)).id for name in "abcd"}
                assert len(graph.order(ids)) == 4  # raises CycleError otherwise
                for row in await session.scalars(select(TaskDependency)):
                    await session.delete(row)
