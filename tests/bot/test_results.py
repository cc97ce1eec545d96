"""What a run found, in Discord: what is new, what is kept quiet, and the buttons below it, for years."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest

from ccdtasks.bot.cards import result as result_card
from ccdtasks.bot.cards.details import PAGE
from ccdtasks.config import Config, ServerConfig
from ccdtasks.core.access import SHELL
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.outcome.results import read_result
from ccdtasks.db.enums import ArtifactKind, Reason, RunStatus
from ccdtasks.db.models import Artifact, TaskRun
from tests.bot.conftest import World, embed_of

PROMPT = "Find flights from {origin=SFO} to {destination=HNL} under {price_threshold=$400}"


def result(price: float, **more: Any) -> dict[str, Any]:
    rows = [{"airline": "United", "price": f"${price}"}]
    values = {"lowest_price": {"number": price, "unit": "$"}}
    return {"type": "result", "summary": f"Cheapest: ${price}", "items": rows, "values": values, **more}


async def run(world: World, found: dict[str, Any], **values: str) -> UUID:
    """A run from start to end, told."""
    typed = " ".join(f'{name}:"{value}"' for name, value in values.items())
    await world.core.runs.start(SHELL, "ticket-checker", typed)
    claim = await world.begin()
    await world.deliver()
    await world.log(claim, found if len(str(found)) < 50_000 else {**found, "items": [], "cut": True})
    await world.core.claims.take_result(claim, found)  # the whole one, which the session keeps beside its log
    shot = world.stored("final.png", b"png", ArtifactKind.SCREENSHOT, "image/png")
    outcome = Outcome(
        RunStatus.COMPLETED,
        final_url="https://shop.example/",
        final_screenshot="final.png",
        artifacts=(shot,),
    )
    await world.end(claim, outcome)
    await world.deliver()
    return claim.run_id


async def make(world: World, **config: Any) -> None:
    await world.make(prompt=PROMPT)
    if config:
        await world.core.tasks.edit(SHELL, "ticket-checker", config)


def said(message: Any) -> str:
    return message.embeds[0].description or ""


def buttons(message: Any) -> list[str]:
    """The labels below a message; a reply for one's own eyes has them as Discord sends them."""
    rows = [each["components"] if isinstance(each, dict) else each.children for each in message.components]
    return [each["label"] if isinstance(each, dict) else each.label for row in rows for each in row]


async def test_a_result_says_what_is_new_since_the_last_good_run(world: World) -> None:
    await make(world)
    await run(world, result(412))
    first = world.thread("ticket-checker").history()[-1]
    assert "↔" not in said(first)
    await run(world, result(378))
    second = world.thread("ticket-checker").history()[-1]
    assert "↔ lowest\\_price: $412 → $378 (−8 %)" in said(second)
    assert "↔ United: price $412 → $378 (−8 %)" in said(second)
    await run(world, result(378))
    assert "Same as earlier today: $378." in said(world.thread("ticket-checker").history()[-1])


async def test_runs_with_other_values_are_not_compared(world: World) -> None:
    await make(world)
    await run(world, result(412))
    await run(world, result(90), destination="LAX")
    assert "↔" not in said(world.thread("ticket-checker").history()[-1])


async def test_what_the_rule_keeps_quiet_stands_in_the_card_and_calls_nobody(world: World) -> None:
    await make(world, notify="lowest_price < price_threshold")
    before = len(world.env.http_requests)
    await run(world, result(450))
    (card,) = world.thread("ticket-checker").history()
    assert card.embeds[0].title == "✓ ticket-checker: done"
    assert said(card).startswith("Cheapest: $450")
    assert "Not told, by your rule: lowest\\_price < price\\_threshold does not hold." in said(card)
    assert buttons(card) == ["Run Again", "Adjust", "View Details", "View Full Report"]
    sent = [each.json or {} for each in world.env.http_requests[before:]]
    assert not any((body.get("allowed_mentions") or {}).get("users") for body in sent)
    await run(world, result(350))
    card, told = world.thread("ticket-checker").history()
    assert card.components == []
    assert "🔔 lowest\\_price < price\\_threshold holds." in said(told)


async def test_a_rule_that_cannot_be_checked_tells_and_says_why(world: World) -> None:
    await make(world, notify="lowest_price < price_limit")
    await run(world, result(450))
    _card, told = world.thread("ticket-checker").history()
    assert "⚠ The rule" in said(told)
    assert "no value or parameter price\\_limit; there are" in said(told)


async def test_adjust_shows_the_values_of_the_run_and_starts_with_what_became_of_them(world: World) -> None:
    await make(world)
    run_id = await run(world, result(450), destination="OGG")
    message = world.thread("ticket-checker").history()[-1]
    await world.env.restart_bot(type(world.bot)(world.core, world.bot.config, world.shelf))
    world.bot = world.env.bot  # type: ignore[assignment]
    form = await world.alice.click(message, label="Adjust")
    assert form.modal is not None
    fields = {each["component"]["custom_id"]: each["component"].get("value") for each in form.modal["components"]}
    assert fields == {"origin": "SFO", "destination": "OGG", "price_threshold": "$400"}
    await world.env.restart_bot(type(world.bot)(world.core, world.bot.config, world.shelf))
    typed = {"origin": "LAX", "destination": "OGG", "price_threshold": ""}
    assert "on its way" in (embed_of(await world.alice.submit_modal(form, typed)).title or "")
    newest = (await world.core.runs.page(SHELL)).rows[0].run
    assert newest.id != run_id
    assert newest.parameters == {"origin": "LAX", "destination": "OGG", "price_threshold": "$400"}


async def test_more_than_five_values_are_adjusted_in_one_field_a_line_each(world: World) -> None:
    await world.make(prompt="Find " + " ".join(f"{{p{n}=v{n}}}" for n in range(7)))
    await run(world, result(450), p0="one two", p1="a\nb")
    form = await world.alice.click(world.thread("ticket-checker").history()[-1], label="Adjust")
    assert form.modal is not None
    (label,) = form.modal["components"]
    assert label["component"]["value"].splitlines()[:2] == ["p0: one two", "p2: v2"]
    await world.alice.submit_modal(form, {"lines": "p0: three\np6: six"})
    newest = (await world.core.runs.page(SHELL)).rows[0].run
    assert [newest.parameters[name] for name in ("p0", "p1", "p5", "p6")] == ["three", "a\nb", "v5", "six"]


async def test_details_show_values_steps_figures_addresses_and_attempts(world: World) -> None:
    await make(world, notify="change")
    await run(world, result(412))
    run_id = await run(world, result(378))
    async with world.core.db.write() as session:
        stored = await session.get_one(TaskRun, run_id)
        stored.step_timings = [
            {"step": 1, "title": "Open <@1> page", "duration_ms": 2000, "ok": True},
            {"step": 2, "title": "Search", "duration_ms": 61_000, "ok": False},
        ]
        stored.api_calls_made = 6
    reply = await world.alice.click(world.thread("ticket-checker").history()[-1], label="View Details")
    assert reply.ephemeral
    shown = embed_of(reply).description or ""
    for words in (
        "• origin: SFO", "lowest\\_price **$378**", "↔ lowest\\_price: $412 → $378 (−8 %)", "Rule `change`: told.",
        "1\\. Open <\u200b@\u200b1> page: 2 s", "2\\. Search: 1 m 1 s · failed · slowest", "Last page: https://shop.example/",
        "6 calls to Claude",
    ):  # fmt: skip
        assert words in shown


async def test_rows_are_turned_by_the_page_even_after_a_restart(world: World) -> None:
    await make(world)
    rows = [{"name": f"thing {number}", "price": number} for number in range(1, 10_001)]
    await run(world, result(1, items=rows, tables={"hotels": [{"name": "Prince"}]}))
    told = world.thread("ticket-checker").history()[-1]
    assert "9,995 more rows in View Details · hotels: 1 row" in said(told)
    looked = await world.alice.click(told, label="View Details")
    page = await world.alice.click(looked.response, label="Rows")
    assert embed_of(page).title == "rows 1 to 10 of 10,000"
    assert buttons(page.response) == ["Back", "Next", "Table 2 of 2"]
    await world.env.restart_bot(type(world.bot)(world.core, world.bot.config, world.shelf))
    for _ in range(2):
        page = await world.alice.click(page.response, label="Next")
    assert embed_of(page).title == "rows 21 to 30 of 10,000"
    assert (embed_of(page).description or "").startswith("21\\. **thing 21** · price: 21")
    page = await world.alice.click(page.response, label="First")
    assert embed_of(page).title == f"rows 1 to {PAGE} of 10,000"
    other = await world.alice.click(page.response, label="Table 2 of 2")
    assert embed_of(other).title == "hotels, rows 1 to 1 of 1"


async def test_nothing_that_matters_is_cut_off_below_long_rows_and_a_long_summary(world: World) -> None:
    await make(world, notify="lowest_price < price_limit")
    long = {
        "summary": "long text " * 200,
        "items": [{"name": f"{number} {'x' * 90}", **{f"c{n}": "y" * 150 for n in range(20)}} for number in range(9)],
        "tables": {"articles": [{"text": "t" * 3000}]},
        "alerts": [{"text": "a" * 900, "severity": "critical"} for _ in range(20)],
        "evidence_url": "https://shop.example/found",
    }
    await run(world, result(412, **{**long, "alerts": []}))
    await run(world, result(378, **long))
    shown = said(world.thread("ticket-checker").history()[-1])
    for words in (
        "long text",
        "1\\. **0 xxx",
        "⚠ The rule",
        "$412 → $378 (−8 %)",
        "🔔 aaa",
        "https://shop.example/found",
    ):
        assert words in shown


def test_what_each_result_brings_goes_before_what_else_there_is() -> None:
    kinds = {
        "a.csv": ArtifactKind.TABLE,
        "b.bin": ArtifactKind.DOWNLOAD,
        "chart.png": ArtifactKind.CHART,
        "final.png": ArtifactKind.SCREENSHOT,
        "results-a.csv": ArtifactKind.TABLE,
        "results.csv": ArtifactKind.TABLE,
        "results.json": ArtifactKind.RESULT,
    }
    artifacts = [Artifact(name=name, kind=kind) for name, kind in kinds.items()]
    sent = [each.name for each in result_card.sendable(artifacts, artifacts[3])]
    assert sent == ["chart.png", "results.csv", "final.png", "results.json", "a.csv", "results-a.csv", "b.bin"]


@pytest.mark.parametrize("label", ["Run Again", "Adjust", "View Details", "View Full Report"])
async def test_a_stranger_presses_in_vain(world: World, label: str) -> None:
    await make(world)
    await run(world, result(412))
    refused = await world.bob.click(world.thread("ticket-checker").history()[-1], label=label)
    assert "Only" in (embed_of(refused).description or "")
    assert len((await world.core.runs.page(SHELL)).rows) == 1


async def test_buttons_of_a_deleted_task_look_back_and_start_nothing(world: World) -> None:
    await make(world)
    await run(world, result(412))
    told = world.thread("ticket-checker").history()[-1]
    await world.core.tasks.delete(SHELL, "ticket-checker")
    for label in ("Run Again", "Adjust"):
        assert "was deleted" in (embed_of(await world.alice.click(told, label=label)).description or "")
    assert "ticket-checker" in (embed_of(await world.alice.click(told, label="View Details")).title or "")


async def test_without_an_address_the_report_says_what_shows_the_same(world: World) -> None:
    await make(world)
    await run(world, result(412))
    reply = await world.alice.click(world.thread("ticket-checker").history()[-1], label="View Full Report")
    assert "`[server] public_url`" in (embed_of(reply).description or "")
    assert buttons(reply.response) == []


class TestWithAnAddress:
    @pytest.fixture
    def config(self, config: Config) -> Config:
        return config.model_copy(update={"server": ServerConfig(public_url="https://tasks.example.com")})

    async def test_the_report_is_a_link_that_is_fresh_each_time(self, world: World) -> None:
        await make(world)
        run_id = await run(world, result(412))
        reply = await world.alice.click(world.thread("ticket-checker").history()[-1], label="View Full Report")
        (link,) = [each for row in reply.response.components for each in row["components"]]
        assert link["url"].startswith(f"https://tasks.example.com/r/{run_id}")


async def test_after_a_failure_retry_tries_again_in_the_thread(world: World) -> None:
    await make(world, **{"retries.attempts": 1})
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    await world.end(claim, Outcome(RunStatus.FAILED, Reason.TIMEOUT, "It took too long."))
    await world.deliver()
    failed = world.thread("ticket-checker").history()[-1]
    assert buttons(failed) == ["Retry", "Log", "Adjust", "View Full Report"]
    log = await world.alice.click(failed, label="Log")
    assert "ticket-checker" in (embed_of(log).title or "")
    refused = await world.bob.click(failed, label="Retry")
    assert "Only" in (embed_of(refused).description or "")
    reply = await world.alice.click(failed, label="Retry")
    assert embed_of(reply).title == "▶ ticket-checker: trying again"
    again = await world.alice.click(failed, label="Retry")
    assert "being tried again already" in (embed_of(again).description or "")


async def test_a_chart_that_is_drawn_later_comes_into_the_message(world: World) -> None:
    await make(world)
    await run(world, result(412))
    run_id = await run(world, result(378))
    assert await world.core.charting.wanted() == [run_id]
    trends = await world.core.charting.of(run_id)
    assert trends is not None
    assert trends.title == "Lowest price, last 2 runs: lowest so far"
    chart = world.stored("chart.png", b"\x89PNG", ArtifactKind.CHART, "image/png")
    await world.core.charting.drawn(run_id, chart)
    await world.deliver()
    told = world.thread("ticket-checker").history()[-1]
    assert [each.filename for each in told.attachments] == ["chart.png", "final.png"]
    assert "chart.png" in str(told.embeds[0].image.url)
    assert await world.core.charting.wanted() == []


HOSTILE = "@everyone <@1> <@&2> <#3> [your bank](https://evil.example) <b>x</b> `**\u202egnp.exe\u200f שלום 🦄"


async def test_hostile_names_cells_and_values_call_nobody_and_hide_nothing(world: World) -> None:
    await make(world)
    found = {
        "summary": HOSTILE, "items": [{HOSTILE: HOSTILE, "b": HOSTILE}] * 3, "tables": {HOSTILE: [{"a": HOSTILE}]},
        "values": {HOSTILE: {"number": 1, "unit": HOSTILE}}, "alerts": [HOSTILE],
    }  # fmt: skip
    await run(world, {"type": "result", **found})
    await run(world, {"type": "result", **found, "items": [{HOSTILE: HOSTILE + "2"}], "values": {HOSTILE: 7}})
    told = world.thread("ticket-checker").history()[-1]
    looked = await world.alice.click(told, label="View Details")
    page = await world.alice.click(looked.response, label="Rows")
    for shown in (f"{told.content} {said(told)}", embed_of(looked).description or "", embed_of(page).description or ""):
        assert "@everyone" not in shown
        assert not any(call in shown for call in ("<@1>", "<@&2>", "<#3>", "\u202e"))
        assert not re.search(r"(?<!\\)\]\(", shown)
    assert "שלום 🦄" in said(told)


async def test_a_summary_that_no_message_holds_is_a_file(world: World) -> None:
    await make(world)
    long = " ".join(["word"] * 3000)
    await run(world, {"type": "result", "summary": long})
    told = world.thread("ticket-checker").history()[-1]
    assert "All of it is in summary.md." in said(told)


async def test_values_keep_the_order_in_which_they_were_found(world: World) -> None:
    await make(world)
    names = ["z", "a", "mmmmmmmm", "b"]
    run_id = await run(world, {"type": "result", "summary": "x", "values": dict.fromkeys(names, 1)})
    view = await world.core.runs.brief(run_id)
    assert view.result is not None
    assert [*view.result.values] == names
    assert read_result({"values": dict.fromkeys(names, 1)}).as_json()["order"] == names
