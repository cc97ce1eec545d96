"""Interactions: asked over the gateway, answered once within three seconds, followed up for fifteen minutes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from tests.doubles.discord import objects
from tests.doubles.discord.objects import Json
from tests.doubles.discord.state import Refusal, State

MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE, CHOICES, MODAL = 4, 5, 6, 7, 8, 9
EPHEMERAL = 64


@dataclass
class Asked:
    """One interaction and what was answered to it."""

    id: str
    token: str
    channel_id: str
    asked_at_s: float
    message: Json | None = None
    kind: int | None = None
    is_ephemeral: bool = False
    choices: list[Json] = field(default_factory=list)
    modal: Json | None = None
    original: Json | None = None
    followups: list[Json] = field(default_factory=list)

    @property
    def is_answered(self) -> bool:
        """Whether the person sees the answer, not only that one is coming."""
        if self.kind is None:
            return False
        return self.kind not in (DEFERRED, DEFERRED_UPDATE) or self.original is not None


class Interactions:
    """All that was asked."""

    def __init__(self, state: State, answer_within_s: float) -> None:
        self._state = state
        self._answer_within_s = answer_within_s
        self._by_token: dict[str, Asked] = {}

    def ask(self, channel_id: str, message: Json | None) -> Asked:
        """A new interaction with a token of its own."""
        now_s = asyncio.get_running_loop().time()
        asked = Asked(objects.snowflake(), f"token-{objects.snowflake()}", channel_id, now_s, message)
        self._by_token[asked.token] = asked
        return asked

    def callback(self, interaction_id: str, token: str, body: Json, files: dict[str, bytes]) -> Json:
        """The first answer: one only, and in time."""
        asked = self._find(token)
        late = asyncio.get_running_loop().time() - asked.asked_at_s > self._answer_within_s
        if asked.id != interaction_id or (late and asked.kind is None):
            raise Refusal(404, 10062, "Unknown interaction")
        if asked.kind is not None:
            raise Refusal(400, 40060, "Interaction has already been acknowledged.")
        data = body.get("data") or {}
        asked.kind, asked.is_ephemeral = body["type"], bool((data.get("flags") or 0) & EPHEMERAL)
        if asked.kind == CHOICES:
            asked.choices = data["choices"]
        elif asked.kind == MODAL:
            asked.modal = data
        elif asked.kind == MESSAGE:
            asked.original = self._message(asked, data, files)
        elif asked.kind == UPDATE and asked.message is not None:
            self._update(asked, data)
        self._state.changed.set()
        return {"interaction": {"id": asked.id, "type": 2}} | self._resource(asked)

    def follow_up(self, token: str, body: Json, files: dict[str, bytes]) -> Json:
        """The first follow-up after a defer completes the answer, each later one is a message of its own."""
        asked = self._find(token)
        if asked.kind is None:
            raise Refusal(404, 10015, "Unknown Webhook")
        made = self._message(asked, body, files)
        if asked.kind == DEFERRED and asked.original is None:
            asked.original = made
        else:
            asked.followups.append(made)
        self._state.changed.set()
        return made

    def response(self, token: str, message_id: str) -> Json:
        """The answer, or a follow-up by its id."""
        asked = self._find(token)
        for each in [asked.original, *asked.followups]:
            if each is not None and (
                each["id"] == message_id or (message_id == "@original" and each is asked.original)
            ):
                return each
        raise Refusal(404, 10008, "Unknown Message")

    def edit(self, token: str, message_id: str, body: Json, files: dict[str, bytes]) -> Json:
        """Changes an answer; `@original` completes a deferred one."""
        asked = self._find(token)
        if message_id == "@original" and asked.kind == DEFERRED and asked.original is None:
            asked.original = self._message(asked, body, files)
            self._state.changed.set()
            return asked.original
        before = self.response(token, message_id)
        uploads = self._state.upload(asked.channel_id, body, files) if "attachments" in body else before["attachments"]
        before.update(objects.edited(before, body, uploads))
        self._state.changed.set()
        return before

    def delete(self, token: str, message_id: str) -> None:
        """Takes an answer away."""
        asked, gone = self._find(token), self.response(token, message_id)
        asked.original = None if asked.original is gone else asked.original
        asked.followups = [each for each in asked.followups if each is not gone]

    def _find(self, token: str) -> Asked:
        if token not in self._by_token:
            raise Refusal(404, 10015, "Unknown Webhook")
        return self._by_token[token]

    def _message(self, asked: Asked, body: Json, files: dict[str, bytes]) -> Json:
        """A message for the person alone, or for all in the channel."""
        attachments = self._state.upload(asked.channel_id, body, files)
        made = objects.message(asked.channel_id, self._state.bot, body, attachments)
        made |= {"webhook_id": self._state.bot["id"], "application_id": self._state.bot["id"]}
        asked.is_ephemeral = asked.is_ephemeral or bool(made["flags"] & EPHEMERAL)
        if asked.is_ephemeral:
            made["flags"] |= EPHEMERAL
        else:
            self._state.messages[asked.channel_id][made["id"]] = made
        return made

    def _update(self, asked: Asked, data: Json) -> None:
        assert asked.message is not None
        asked.message.update(objects.edited(asked.message, data, asked.message["attachments"]))
        asked.original = asked.message

    def _resource(self, asked: Asked) -> Json:
        if asked.kind in (MESSAGE, UPDATE) and asked.original is not None:
            return {"resource": {"type": asked.kind, "message": asked.original}}
        return {}


def resolve(value: Any) -> int:
    """The type number of an option's value, as the client finds it."""
    return 5 if isinstance(value, bool) else 4 if isinstance(value, int) else 3
