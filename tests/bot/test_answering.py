"""A run asks, and people answer: by buttons, in a form, by commands; everybody else is turned away."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccdtasks.core.access import SHELL
from ccdtasks.core.ending.endings import Outcome
from ccdtasks.core.ending.interventions import Answer
from ccdtasks.core.runs.claims import Claim
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.db.models import Intervention
from tests.bot.conftest import World, embed_of

COLOUR = {"type": "question", "request_id": "q1", "question": "Which *colour*?", "choices": ["red", "blue"]}
OPEN = {"type": "question", "request_id": "q2", "question": "Which name on the ticket?"}
CAPTCHA = {
    "type": "human_needed",
    "request_id": "h1",
    "reason": "captcha",
    "detail": "kayak.com asks for a captcha.",
    "url": "https://kayak.com/",
}


def said(reply: Any) -> str:
    embed = embed_of(reply)
    return f"{embed.title}\n{embed.description or ''}"


async def _asks(world: World, *events: dict[str, Any]) -> Claim:
    await world.make()
    await world.alice.slash(world.lobby, "task-start", task="ticket-checker")
    claim = await world.begin()
    await world.log(claim, *events)
    await world.deliver()
    return claim


def _latest(world: World) -> Any:
    return world.thread("ticket-checker").history()[-1]


def _labels(message: Any) -> list[str]:
    return [button.label for row in message.components for button in row.children]


async def _kept(world: World, claim: Claim) -> list[tuple[str | None, str | None, str | None]]:
    """What the session is to be told: outcome, text, by whom."""
    untold = await world.core.interventions.untold(claim.session_id)
    return [(each.outcome, each.answer, each.answered_by) for each in untold if isinstance(each, Intervention)]


async def _resolve(world: World, claim: Claim, event: dict[str, Any]) -> None:
    """The session says what became of a request, as a later line of its log."""
    await world.core.claims.record(claim, [json.dumps({"seq": 50, **event}).encode()], 50)


async def test_a_choice_is_one_press_and_the_message_then_says_who_chose_what(world: World) -> None:
    claim = await _asks(world, COLOUR)
    call = _latest(world)
    assert _labels(call) == ["red", "blue", "Another answer", "Skip", "Stop"]
    assert call.content == f"<@{world.alice.id}> ticket-checker: Which \\*colour\\*?"
    assert [user.id for user in call.mentions] == [world.alice.id]
    reply = await world.alice.click(call, label="blue")
    assert reply.ephemeral
    assert "It hears **blue** and goes on in a moment." in said(reply)
    assert await _kept(world, claim) == [("answered", "blue", str(world.alice.id))]
    await world.deliver()
    settled = _latest(world)
    assert settled.id == call.id
    assert _labels(settled) == []
    assert settled.embeds[0].title == "▶ ticket-checker: goes on"
    assert f"<@{world.alice.id}> answered: **blue**" in settled.embeds[0].description
    assert settled.mentions == []
    await _resolve(world, claim, {"type": "human_done", "request_id": "q1", "outcome": "answered", "text": "blue"})
    await world.deliver()
    assert f"<@{world.alice.id}> answered: **blue**" in _latest(world).embeds[0].description


async def test_an_answer_in_words_is_asked_for_in_a_form(world: World) -> None:
    claim = await _asks(world, OPEN)
    call = _latest(world)
    assert _labels(call) == ["Answer", "Skip", "Stop"]
    form = await world.alice.click(call, label="Answer")
    assert form.modal is not None
    assert form.modal["title"] == "Answer ticket-checker"
    assert form.modal["components"][0]["description"] == "Which name on the ticket?"
    reply = await world.alice.submit_modal(form, {"answer": "  Ann\nSmith "})
    assert "It hears **Ann Smith**" in said(reply)
    assert await _kept(world, claim) == [("answered", "Ann\nSmith", str(world.alice.id))]
    logged = await world.core.interactions.recent(limit=2)
    assert "Smith" not in str([(each.name, each.options) for each in logged])  # an answer may be a code


async def test_buttons_and_an_open_form_outlive_a_restart(world: World) -> None:
    claim = await _asks(world, COLOUR, OPEN)
    name, colour = _latest(world), world.thread("ticket-checker").history()[-2]
    form = await world.alice.click(name, label="Answer")
    await world.env.restart_bot(type(world.bot)(world.core, world.bot.config, world.shelf))
    assert "Ann" in said(await world.alice.submit_modal(form, {"answer": "Ann"}))
    assert "red" in said(await world.alice.click(colour, label="red"))
    assert sorted(answer for _, answer, _ in await _kept(world, claim) if answer) == ["Ann", "red"]


@pytest.mark.parametrize(
    ("label", "kept", "words"),
    [("Done", "done", "did it; it goes on."), ("Skip", "skipped", "skipped it; it goes on without.")],
)
async def test_a_call_for_a_person_is_done_or_skipped(world: World, label: str, kept: str, words: str) -> None:
    claim = await _asks(world, CAPTCHA)
    call = _latest(world)
    assert _labels(call) == ["Done", "Skip", "Stop"]
    assert "Its browser cannot be opened from here yet; Skip lets it go on without." in call.embeds[0].description
    assert "Page: https://kayak.com/" in call.embeds[0].description
    assert "It hears of it" in said(await world.alice.click(call, label=label))
    assert await _kept(world, claim) == [(kept, None, str(world.alice.id))]
    await world.deliver()
    assert f"<@{world.alice.id}> {words}" in _latest(world).embeds[0].description


async def test_stop_stands_last_and_ends_the_run(world: World) -> None:
    claim = await _asks(world, CAPTCHA)
    call = _latest(world)
    stop = call.components[-1].children[-1]
    assert (stop.label, stop.style.name) == ("Stop", "danger")
    assert "stops in good order" in said(await world.alice.click(call, label="Stop"))
    assert "This run is ending." in said(await world.alice.click(call, label="Done"))
    await world.end(claim, Outcome(RunStatus.CANCELLED))
    await world.deliver()
    old = world.thread("ticket-checker").history()[-2]
    assert old.embeds[0].title == "■ ticket-checker: asks no more"
    assert _labels(old) == []


async def test_somebody_else_is_turned_away_at_every_press(world: World) -> None:
    claim = await _asks(world, COLOUR, CAPTCHA)
    call, question = _latest(world), world.thread("ticket-checker").history()[-2]
    refusals = [
        await world.bob.click(question, label="blue"),
        await world.bob.click(question, label="Another answer"),
        await world.bob.click(call, label="Done"),
        await world.bob.click(call, label="Skip"),
        await world.bob.click(call, label="Stop"),
        await world.bob.slash(world.lobby, "task-continue", session=str(claim.run_id)),
        await world.bob.slash(world.lobby, "task-intervention-resolve", session=str(claim.run_id), answer="x"),
    ]
    for refusal in refusals:
        assert f"Only <@{world.alice.id}> or an admin can" in said(refusal)
        assert refusal.response.message.mentions == []
    assert await _kept(world, claim) == []


async def test_a_second_press_and_a_late_one_hear_what_happened(world: World) -> None:
    claim = await _asks(world, COLOUR, OPEN)
    name, colour = _latest(world), world.thread("ticket-checker").history()[-2]
    form = await world.alice.click(name, label="Answer")
    await world.alice.click(colour, label="blue")
    again = await world.alice.click(colour, label="red")
    assert f"That was answered already by <@{world.alice.id}>." in said(again)
    assert "answered already" in said(await world.alice.click(colour, label="Another answer"))
    await _resolve(world, claim, {"type": "human_done", "request_id": "q2", "outcome": "timeout"})
    assert "Nobody came in time" in said(await world.alice.submit_modal(form, {"answer": "Ann"}))
    assert await _kept(world, claim) == [("answered", "blue", str(world.alice.id))]


async def test_an_answer_that_came_too_late_is_said_to_be(world: World) -> None:
    claim = await _asks(world, COLOUR)
    await world.alice.click(_latest(world), label="blue")
    await _resolve(world, claim, {"type": "human_done", "request_id": "q1", "outcome": "timeout"})
    await world.deliver()
    shown = _latest(world).embeds[0].description
    assert f"<@{world.alice.id}> answered: **blue**. That came too late: it had gone on without." in shown


async def test_an_answer_from_the_shell_shows_in_discord(world: World) -> None:
    claim = await _asks(world, COLOUR)
    await world.core.interventions.answer(SHELL, str(claim.run_id), Answer("answered", "<@1> *bold* @everyone"))
    await world.deliver()
    shown = _latest(world)
    assert "the shell answered: **" in shown.embeds[0].description
    assert "\\*bold\\*" in shown.embeds[0].description
    assert shown.mentions == []


async def test_more_choices_than_buttons_are_listed(world: World) -> None:
    choices = [f"{number} " + "x" * 90 for number in range(40)]
    await _asks(world, {**COLOUR, "choices": choices})
    call = _latest(world)
    assert len(_labels(call)) == 25
    assert _labels(call)[-3:] == ["Another answer", "Skip", "Stop"]
    assert "• 24 x" in call.embeds[0].description


async def test_the_commands_answer_what_a_run_asks(world: World) -> None:
    claim = await _asks(world, CAPTCHA, COLOUR)
    offered = await world.alice.autocomplete(world.lobby, "task-continue", "session", "ticket")
    assert [choice["value"] for choice in offered] == [str(claim.run_id)]
    assert await world.bob.autocomplete(world.lobby, "task-continue", "session", "") == []
    asked = await world.alice.slash(world.lobby, "task-continue", session=str(claim.run_id))
    assert "It asks a question, so it needs an answer." in said(asked)
    assert "Choose: red, blue." in said(asked)
    told = await world.alice.slash(world.lobby, "task-continue", session=str(claim.run_id)[:8], answer="BLUE")
    assert "It hears **blue**" in said(told)
    told = await world.alice.slash(world.lobby, "task-intervention-resolve", session=str(claim.run_id))
    assert "kayak.com asks for a captcha." in said(told)
    assert {(outcome, answer) for outcome, answer, _ in await _kept(world, claim)} == {
        ("answered", "blue"),
        ("done", None),
    }
    assert await world.alice.autocomplete(world.lobby, "task-continue", "session", "") == []
    again = await world.alice.slash(world.lobby, "task-continue", session=str(claim.run_id))
    assert "already by" in said(again)
    await world.end(claim, Outcome(RunStatus.FAILED, Reason.BLOCKED))
    ended = await world.alice.slash(world.lobby, "task-continue", session=str(claim.run_id))
    assert "This run has ended." in said(ended)
