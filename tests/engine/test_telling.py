"""What people answer and say reaches the session: once, whatever breaks on the way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from uuid import UUID

import pytest

from ccdtasks.app import open_core
from ccdtasks.config import Config
from ccdtasks.core.access import SHELL
from ccdtasks.core.ending.interventions import Answer
from ccdtasks.core.runs.runs import RunView
from ccdtasks.db.enums import RunStatus
from tests.engine.conftest import Engine, running_engine

pytestmark = pytest.mark.image

BLUE = Answer("answered", "blue")


def _waits(view: RunView) -> bool:
    return view.run.status is RunStatus.NEEDS_HUMAN


def _shows(words: str) -> Callable[[RunView], bool]:
    return lambda view: view.run.live.get("text") == words


def _go(engine: Engine, view: RunView) -> None:
    assert view.session is not None
    (engine.parts.folders.folder(view.session.folder).host / "inputs/go").touch()


async def _progress(engine: Engine, run_id: UUID) -> list[str]:
    return [data["text"] for _, kind, data in await engine.events(run_id) if kind == "progress"]


async def test_a_question_gets_its_answer(engine: Engine) -> None:
    run_id = await engine.start("needs-a-person")
    await engine.when(run_id, _waits)
    await engine.core.interventions.answer(SHELL, str(run_id), Answer("answered", choice=1))
    view = await engine.end(run_id)
    assert (view.run.status, view.run.result_summary) == (RunStatus.COMPLETED, "Chosen: blue")
    await engine.is_clean()


async def test_an_answer_that_was_given_while_nobody_was_there_is_told_afterwards(settings: Config) -> None:
    async with running_engine(settings) as engine:
        run_id = await engine.start("needs-a-person")
        await engine.when(run_id, _waits)
    async with open_core(settings) as core:  # the shell, while the service is down
        await core.interventions.answer(SHELL, str(run_id), BLUE)
    async with running_engine(settings) as engine:
        view = await engine.end(run_id)
        assert (view.run.status, view.run.result_summary) == (RunStatus.COMPLETED, "Chosen: blue")
        await engine.is_clean()


async def test_a_session_that_cannot_be_reached_is_told_later(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run_id = await engine.start("cannot-be-reached")
    view = await engine.when(run_id, _waits)
    await engine.core.interventions.answer(SHELL, str(run_id), Answer("done", "the code was in the mail"))
    await engine.when(run_id, lambda _: "It is told later." in caplog.text)
    assert "the code" not in caplog.text
    _go(engine, view)
    view = await engine.end(run_id)
    assert view.run.result_summary == "Helped: done the code was in the mail"


async def test_what_was_taken_without_a_confirmation_is_said_again_and_taken_once(settings: Config) -> None:
    """The service ends between the session's taking an answer and our noting it."""
    async with running_engine(settings) as engine:
        run_id = await engine.start("never-confirms")
        await engine.when(run_id, _waits)
        await engine.core.interventions.answer(SHELL, str(run_id), BLUE)
        await engine.core.interventions.say(SHELL, str(run_id), "and hurry")
        await engine.when(run_id, _shows("took resume blue"))
    async with running_engine(settings) as engine:
        _go(engine, await engine.when(run_id, _shows("knew resume blue")))
        view = await engine.end(run_id)
        assert (view.run.status, view.run.result_summary) == (RunStatus.COMPLETED, "Taken: 2")
        said = await _progress(engine, run_id)
        assert [words for words in said if words.startswith("took")] == ["took resume blue", "took say and hurry"]
        assert "knew say and hurry" in said
        await engine.is_clean()
