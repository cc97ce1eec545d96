"""What a run asks of people: the question with its buttons, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ccdtasks.bot import text
from ccdtasks.bot.cards.card import Button, Card, join
from ccdtasks.bot.cards.result import stop
from ccdtasks.bot.cards.run import person, stamp
from ccdtasks.bot.cards.status import GREEN, GREY, LOOKS
from ccdtasks.core.ending.asking import ENDED, QUESTION
from ccdtasks.core.ending.interventions import Asked
from ccdtasks.core.runs.runs import RunView
from ccdtasks.db.enums import RunStatus

_CHOICES_MAX = 22
"""Discord takes 25 buttons; three are Answer, Skip and Stop."""

_SETTLED = {
    "answered": "Answered; it goes on.",
    "done": "Done; it goes on.",
    "left": "Solved; it goes on by itself.",
    "skipped": "Skipped; it goes on without.",
    "timeout": "Nobody came in time; it goes on without.",
    ENDED: "The run ended before that.",
}
_DONE = "Press Done when it is done, or Skip to let it go on without."
_OUT_OF_REACH = "Its browser cannot be opened from here yet; Skip lets it go on without."
_HOW = {"captcha": _OUT_OF_REACH, "login": _OUT_OF_REACH}
_TOO_LATE = {
    "timeout": "That came too late: it had gone on without.",
    ENDED: "The run ended before it heard that.",
}


def wanted(view: RunView, payload: Mapping[str, Any]) -> Card:
    """A question or a call for a person; once it is settled, it says how and calls nobody any more."""
    return _settled(view, payload) if payload.get("outcome") else _open(view, payload)


def answered(asked: Asked) -> Card:
    """The reply to whoever answered."""
    said = f"It hears **{text.plain(asked.request.answer, 300)}**" if asked.request.answer else "It hears of it"
    return Card(
        title=f"✓ {text.plain(asked.task_name, 200)}: told",
        body=join(text.plain(asked.request.text, 300), f"{said} and goes on in a moment."),
        colour=GREEN,
    )


def _open(view: RunView, payload: Mapping[str, Any]) -> Card:
    look, name = LOOKS[RunStatus.NEEDS_HUMAN], text.plain(view.task.task_name, 100)
    said = text.plain(payload.get("text") or payload.get("reason") or "", 1500)
    choices = payload.get("choices") or ()
    listed = "\n".join(f"• {text.plain(choice, 100)}" for choice in choices) if len(choices) > _CHOICES_MAX else ""
    is_question = payload.get("reason") == QUESTION
    until = f"It waits until {stamp(datetime.fromisoformat(payload['deadline_at']), 't')}."
    how = "" if is_question else _HOW.get(payload.get("reason") or "", _DONE)
    return Card(
        title=f"{look.sign} {name}: {look.word}",
        body=join(said, listed, _page(payload), join(how, until, gap=" ")),
        colour=look.colour,
        ping=view.run.owner_user_id,
        content=text.clamp(f"{name}: {said}", 300),
        buttons=(*(_of_question if is_question else _of_call)(view, payload), stop(view.run)),
    )


def _of_question(view: RunView, payload: Mapping[str, Any]) -> tuple[Button, ...]:
    ids, choices = f"{view.run.id}:{payload['id']}", payload.get("choices") or ()
    return (
        *(
            Button(choice, f"ask:choose:{ids}:{number}", "primary")
            for number, choice in enumerate(choices[:_CHOICES_MAX])
        ),
        Button("Another answer", f"ask:answer:{ids}") if choices else Button("Answer", f"ask:answer:{ids}", "primary"),
        Button("Skip", f"ask:skipped:{ids}"),
    )


def _of_call(view: RunView, payload: Mapping[str, Any]) -> tuple[Button, ...]:
    ids = f"{view.run.id}:{payload['id']}"
    return Button("Done", f"ask:done:{ids}", "primary"), Button("Skip", f"ask:skipped:{ids}")


def _settled(view: RunView, payload: Mapping[str, Any]) -> Card:
    is_over = payload["outcome"] == ENDED
    look = LOOKS[RunStatus.RUNNING]
    sign, word, colour = ("■", "asks no more", GREY) if is_over else (look.sign, "goes on", look.colour)
    return Card(
        title=f"{sign} {text.plain(view.task.task_name, 200)}: {word}",
        body=join(text.plain(payload.get("text") or payload.get("reason") or "", 1500), _page(payload), _came(payload)),
        colour=colour,
    )


def _came(payload: Mapping[str, Any]) -> str:
    """Who answered what, and whether it helped; else how it ended."""
    outcome, who = str(payload["outcome"]), person(payload.get("answered_by") or "")
    if not who:
        return _SETTLED.get(outcome, "Settled.")
    answer = text.plain(payload.get("answer") or "", 1000)
    if payload.get("is_late"):
        said = f"{who} answered: **{answer}**." if answer else f"{who} came."
        return f"{said} {_TOO_LATE.get(outcome, 'It had gone on already.')}"
    did = {"done": f"{who} did it; it goes on.", "skipped": f"{who} skipped it; it goes on without."}.get(outcome, "")
    return join(f"{who} answered: **{answer}**" if answer else "", did)


def _page(payload: Mapping[str, Any]) -> str:
    return f"Page: {text.address(payload['url'])}" if payload.get("url") else ""
