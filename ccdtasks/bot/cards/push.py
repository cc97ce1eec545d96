"""What the thread of a run says about its pushes: only what somebody would want to know."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ccdtasks.bot import text
from ccdtasks.bot.cards.card import Card
from ccdtasks.bot.cards.run import person, stamp
from ccdtasks.bot.cards.status import AMBER, GREEN, GREY

_NEWS = {
    "complete": "the result",
    "error": "the failure",
    "intervention": "the call for you",
    "unsaid": "what Discord did not take",
}


def news(payload: Mapping[str, Any]) -> Card:
    """An emergency that was confirmed or not, or a push that could not be sent."""
    what = _NEWS.get(str(payload.get("event")), "a message")
    state = payload.get("state")
    if state == "acknowledged":
        device = f" on {text.plain(payload['device'], 25)}" if payload.get("device") else ""
        at = stamp(datetime.fromisoformat(payload["at"]), "t")
        return Card(title="✓ Acknowledged", body=f"Acknowledged by {_who(payload)}{device}, {at}.", colour=GREEN)
    if state == "expired":
        minutes = int(payload.get("minutes") or 0)
        body = f"The phone rang for {minutes} m because of {what}; nobody acknowledged it."
        return Card(title="■ Nobody acknowledged", body=body, colour=GREY)
    if state == "late":
        return Card(
            title="✓ Pushed",
            body=f"The phone was told of {what} later, when Pushover took messages again.",
            colour=GREEN,
        )
    why = text.plain(payload.get("text") or "", 500)
    if state == "held":
        later = "It is told as soon as Pushover takes messages again, within a day, if that still matters then."
        return Card(title="✋ Not pushed yet", body=f"The phone was not told of {what}. {why} {later}", colour=AMBER)
    return Card(title="✕ Not pushed", body=f"The phone was not told of {what}. {why}", colour=AMBER)


def _who(payload: Mapping[str, Any]) -> str:
    who = str(payload.get("by") or "")
    return "somebody of the group" if who in ("", "someone") else person(who) or "somebody"
