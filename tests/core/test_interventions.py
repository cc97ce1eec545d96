"""What people answer a session that waits, and say to one that works: kept once, told until it is confirmed."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from ccdtasks.app import open_core
from ccdtasks.config import Config
from ccdtasks.core import Core
from ccdtasks.core.access import SHELL
from ccdtasks.core.ending.interventions import MAX_TEXT, Answer, Asked
from ccdtasks.core.runs.claims import Claim
from ccdtasks.db.enums import Reason, RunStatus
from ccdtasks.db.models import Intervention, SessionMessage
from ccdtasks.errors import Conflict, Denied, Invalid, NotFound
from tests.clock import MoveableClock
from tests.people import ADMIN, ANN, BOB
from tests.stories import claim, fail, lines, running, told

QUESTION = {"type": "question", "request_id": "q1", "question": "Which colour?", "choices": ["Red", "Blue", "", "Red"]}
LOGIN = {"type": "human_needed", "request_id": "h1", "reason": "login", "detail": "Please log in."}
BLUE, DONE, SKIP = Answer("answered", "blue"), Answer("done"), Answer("skipped")
DONE_EVENT: dict[str, Any] = {"type": "human_done", "request_id": "q1", "outcome": "answered", "text": "Blue"}


async def _asking(core: Core, *events: dict[str, Any]) -> Claim:
    claimed = await running(core)
    await core.claims.record(claimed, lines(*(events or (QUESTION,))), 1)
    return claimed


async def _answer(core: Core, claimed: Claim, answer: Answer, request: UUID | None = None) -> Asked:
    return await core.interventions.answer(ANN, str(claimed.run_id), answer, request)


async def _goes_on(core: Core, claimed: Claim, **event: Any) -> None:
    await core.claims.record(claimed, lines({**DONE_EVENT, **event}, first=10), 10)


async def _message(core: Core, claimed: Claim, key: str = "human:1:q1") -> dict[str, Any]:
    return (await told(core, claimed.run_id))[key]


async def test_an_answer_is_kept_shown_and_told_until_it_is_confirmed(core: Core, clock: MoveableClock) -> None:
    claimed = await _asking(core)
    clock.advance(seconds=30)
    asked = await _answer(core, claimed, BLUE)
    assert (asked.task_name, asked.request.answer) == ("ticket-checker", "Blue")  # in the choice's own spelling
    message = await _message(core, claimed)
    assert (message["outcome"], message["answer"], message["answered_by"]) == ("answered", "Blue", ANN.user_id)
    run = (await core.runs.load(claimed.run_id)).run
    assert run.status is RunStatus.NEEDS_HUMAN  # until the session says that it goes on
    assert "human" not in run.live
    for _ in range(2):  # a restart before the confirmation
        (untold,) = await core.interventions.untold(claimed.session_id)
    assert isinstance(untold, Intervention)
    assert (untold.request_id, untold.outcome, untold.answer) == ("q1", "answered", "Blue")
    await core.interventions.told(untold)
    assert await core.interventions.untold(claimed.session_id) == []
    await _goes_on(core, claimed)
    assert (await core.runs.load(claimed.run_id)).run.status is RunStatus.RUNNING
    assert (await _message(core, claimed))["is_late"] is False


async def test_what_was_resolved_is_not_told_any_more(core: Core) -> None:
    """The session took the answer, and its confirmation got lost."""
    claimed = await _asking(core)
    await _answer(core, claimed, BLUE)
    await _goes_on(core, claimed)
    assert await core.interventions.untold(claimed.session_id) == []


async def test_choices_are_buttons_so_each_is_there_once(core: Core) -> None:
    claimed = await _asking(core)
    assert (await core.interventions.find(ANN, str(claimed.run_id))).request.choices == ["Red", "Blue"]


@pytest.mark.parametrize(
    ("event", "answer", "kept"),
    [
        (QUESTION, Answer("answered", choice=0), ("answered", "Red")),
        (QUESTION, Answer("answered", "  green\x00 "), ("answered", "green")),
        (QUESTION, SKIP, ("skipped", None)),
        (LOGIN, DONE, ("done", None)),
        (LOGIN, Answer("done", "code is in the mail"), ("done", "code is in the mail")),
        (LOGIN, Answer("answered", "use the second account"), ("answered", "use the second account")),
    ],
)
async def test_what_can_be_answered(core: Core, event: dict[str, Any], answer: Answer, kept: tuple[str, Any]) -> None:
    claimed = await _asking(core, event)
    request = (await _answer(core, claimed, answer)).request
    assert (request.outcome, request.answer) == kept


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (DONE, "It asks a question"),
        (Answer("answered", " \n"), "nothing in it"),
        (Answer("answered", "x" * (MAX_TEXT + 1)), "2,001 characters; 2,000 are allowed"),
        (Answer("answered", choice=2), "no such choice"),
        (Answer("answered", choice=-1), "no such choice"),
    ],
)
async def test_what_is_no_answer_is_refused_and_still_asked(core: Core, answer: Answer, words: str) -> None:
    claimed = await _asking(core)
    with pytest.raises(Invalid, match=words):
        await _answer(core, claimed, answer)
    await _answer(core, claimed, Answer("answered", "x" * MAX_TEXT))


async def test_only_the_owner_and_admins_answer(core: Core) -> None:
    claimed = await _asking(core)
    for act in (
        core.interventions.answer(BOB, str(claimed.run_id), BLUE),
        core.interventions.find(BOB, str(claimed.run_id)),
    ):
        with pytest.raises(Denied, match="Only <@1001> or an admin can answer this run"):
            await act
    with pytest.raises(Denied):
        await core.interventions.say(BOB, str(claimed.run_id), "hello")
    assert (await core.interventions.answer(ADMIN, str(claimed.run_id), BLUE)).request.answered_by == ADMIN.user_id
    entries = await core.audit.entries("run", claimed.run_id)
    (entry,) = [entry for entry in entries if entry.action == "run.answer"]
    assert entry.actor_id == ADMIN.user_id
    assert "lue" not in str(entry.details)  # an answer may be a code


async def test_two_answers_at_once_are_one(core: Core, config: Config, clock: MoveableClock) -> None:
    claimed = await _asking(core)
    run_id = str(claimed.run_id)
    async with open_core(config, clock) as other:  # the shell beside the service
        results = await asyncio.gather(
            core.interventions.answer(ANN, run_id, BLUE),
            other.interventions.answer(SHELL, run_id, Answer("answered", "red")),
            core.interventions.answer(ANN, run_id, SKIP),
            return_exceptions=True,
        )
    (won,) = [result for result in results if isinstance(result, Asked)]
    lost = [str(result) for result in results if isinstance(result, Conflict)]
    assert len(lost) == 2
    by = "the shell" if won.request.answered_by == "shell" else "<@1001>"
    assert set(lost) == {f"That was {won.request.outcome} already by {by}."}
    (untold,) = await core.interventions.untold(claimed.session_id)
    assert isinstance(untold, Intervention)
    assert (untold.outcome, untold.answer) == (won.request.outcome, won.request.answer)


async def test_an_answer_and_the_end_of_patience_at_once(core: Core, config: Config, clock: MoveableClock) -> None:
    claimed = await _asking(core)
    late = lines({**DONE_EVENT, "outcome": "timeout", "text": ""}, first=2)
    async with open_core(config, clock) as other:
        answered, _ = await asyncio.gather(
            other.interventions.answer(ANN, str(claimed.run_id), BLUE),
            core.claims.record(claimed, late, 2),
            return_exceptions=True,
        )
    message = await _message(core, claimed)
    assert message["outcome"] == "timeout"
    assert await core.interventions.untold(claimed.session_id) == []
    assert (await core.runs.load(claimed.run_id)).run.status is RunStatus.RUNNING
    if isinstance(answered, Asked):  # kept, but the session had given up by itself
        assert (message["is_late"], message["answer"]) == (True, "Blue")
    else:
        assert isinstance(answered, Conflict)
        assert (message["is_late"], message["answer"]) == (False, None)


async def test_an_answer_that_comes_too_late_hears_why(core: Core) -> None:
    claimed = await _asking(core, QUESTION, LOGIN)
    (login, question) = sorted(
        [each.request for each in await core.interventions.waiting(ANN)], key=lambda each: each.request_id
    )
    await _goes_on(core, claimed, request_id="h1", outcome="left")
    with pytest.raises(Conflict, match="solved already"):
        await _answer(core, claimed, DONE, login.id)
    await core.claims.record(claimed, lines({**DONE_EVENT, "outcome": "timeout"}, first=20), 20)
    with pytest.raises(Conflict, match="Nobody came in time"):
        await _answer(core, claimed, BLUE, question.id)
    with pytest.raises(Conflict, match="does not wait for anybody"):
        await _answer(core, claimed, BLUE)
    with pytest.raises(NotFound, match="did not ask that"):
        await _answer(core, claimed, BLUE, uuid4())
    await core.runs.stop(ANN, str(claimed.run_id))
    with pytest.raises(Conflict, match="is ending"):
        await _answer(core, claimed, BLUE)
    await fail(core, claimed)
    with pytest.raises(Conflict, match="has ended"):
        await _answer(core, claimed, BLUE)


async def test_a_run_that_ends_leaves_nothing_asked(core: Core) -> None:
    claimed = await _asking(core, QUESTION, LOGIN)
    question = next(each.request for each in await core.interventions.waiting(ANN) if each.request.request_id == "q1")
    await _answer(core, claimed, BLUE, question.id)  # kept, but never taken
    await fail(core, claimed, Reason.BLOCKED)
    assert (
        (await _message(core, claimed))["outcome"]
        == (await _message(core, claimed, "human:1:h1"))["outcome"]
        == "ended"
    )
    assert (await _message(core, claimed))["is_late"] is True
    assert await core.interventions.untold(claimed.session_id) == []
    assert await core.interventions.waiting(ANN) == []
    assert "human" not in (await core.runs.load(claimed.run_id)).run.live


async def test_a_later_session_asks_anew_under_the_same_name(core: Core, clock: MoveableClock) -> None:
    """Another message, so that the owner is called again; the old one says that it is over."""
    claimed = await _asking(core)
    old = (await core.interventions.find(ANN, str(claimed.run_id))).request
    await core.claims.requeue(claimed, clock.now(), Reason.MODEL_UNAVAILABLE)
    await core.claims.removed(claimed)
    again = await claim(core)
    await core.claims.running(again)
    await core.claims.record(again, lines(QUESTION), 1)
    assert (await _message(core, claimed))["outcome"] == "ended"
    assert (await _message(core, claimed, "human:3:q1"))["outcome"] is None
    with pytest.raises(Conflict, match="ended before anybody answered"):
        await _answer(core, claimed, BLUE, old.id)
    await _answer(core, claimed, BLUE)
    assert await core.interventions.untold(claimed.session_id) == []
    assert len(await core.interventions.untold(again.session_id)) == 1


async def test_the_latest_question_is_meant_and_the_other_comes_next(core: Core, clock: MoveableClock) -> None:
    claimed = await _asking(core)
    clock.advance(seconds=1)
    await core.claims.record(claimed, lines(LOGIN, first=2), 2)
    assert (await _answer(core, claimed, DONE)).request.request_id == "h1"
    live = (await core.runs.load(claimed.run_id)).run.live
    assert live["human"]["request_id"] == "q1"
    clock.advance(seconds=1)
    assert (await _answer(core, claimed, BLUE)).request.request_id == "q1"
    untold = await core.interventions.untold(claimed.session_id)
    assert [each.request_id for each in untold if isinstance(each, Intervention)] == ["h1", "q1"]


async def test_a_request_that_is_repeated_is_one(core: Core) -> None:
    claimed = await _asking(core)
    before = await _message(core, claimed)
    await core.claims.record(
        claimed, lines({**QUESTION, "question": "Another?"}, {**QUESTION, "request_id": ""}, first=2), 2
    )
    assert await _message(core, claimed) == before
    await _answer(core, claimed, BLUE)
    await _goes_on(core, claimed)
    await core.claims.record(claimed, lines(QUESTION, first=11), 11)
    assert (await core.runs.load(claimed.run_id)).run.status is RunStatus.RUNNING


async def test_runs_that_wait_are_listed_for_those_who_may_answer(core: Core, clock: MoveableClock) -> None:
    first = await running(core, "first")
    await core.claims.record(first, lines(QUESTION), 1)
    clock.advance(seconds=1)
    second = await running(core, "second", actor=BOB)
    await core.claims.record(second, lines(LOGIN), 1)
    assert [each.task_name for each in await core.interventions.waiting(ANN)] == ["first"]
    assert [each.task_name for each in await core.interventions.waiting(ADMIN)] == ["first", "second"]
    await _answer(core, first, BLUE)
    assert [each.task_name for each in await core.interventions.waiting(ADMIN)] == ["second"]


async def test_what_is_said_to_a_run_reaches_it_in_order(core: Core, clock: MoveableClock) -> None:
    claimed = await _asking(core)
    run_id = str(claimed.run_id)
    await core.interventions.say(ANN, run_id, "look at the second page too")
    clock.advance(seconds=1)
    await _answer(core, claimed, BLUE)
    clock.advance(seconds=1)
    await core.interventions.say(ADMIN, run_id, "and hurry")
    first, answer, second = await core.interventions.untold(claimed.session_id)
    assert isinstance(first, SessionMessage)
    assert isinstance(second, SessionMessage)
    assert isinstance(answer, Intervention)
    assert [(each.author, each.text) for each in (first, second)] == [
        ("the owner", "look at the second page too"),
        ("an admin", "and hurry"),
    ]
    await core.interventions.told(first)
    assert [each.id for each in await core.interventions.untold(claimed.session_id)] == [answer.id, second.id]
    with pytest.raises(Invalid, match="nothing in it"):
        await core.interventions.say(ANN, run_id, " ")
    await fail(core, claimed)
    with pytest.raises(Conflict, match="does not listen"):
        await core.interventions.say(ANN, run_id, "hello?")
