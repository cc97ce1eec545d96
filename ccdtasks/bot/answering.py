"""How people answer a run in Discord: a button a choice, Done, Skip, and a form for words; all outlive a restart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, cast
from uuid import UUID

import discord

from ccdtasks.bot import cards, text
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.handling import handled
from ccdtasks.bot.messages import reply
from ccdtasks.bot.views import UUID_PATTERN, PersistentButton
from ccdtasks.core.ending.interventions import MAX_TEXT, Answer, Asked

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot

_IDS = rf"(?P<run_id>{UUID_PATTERN}):(?P<request>{UUID_PATTERN})"
_FORM = re.compile(rf"ask:answer:{_IDS}")


class Choose(PersistentButton, template=rf"ask:choose:{_IDS}:(?P<choice>\d{{1,2}})"):
    """Answers with one of the choices."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        answer = Answer("answered", choice=int(self.match["choice"]))
        await tell(interaction, self.match["run_id"], answer, UUID(self.match["request"]))


class Settle(PersistentButton, template=rf"ask:(?P<outcome>done|skipped):{_IDS}"):
    """Says that it is done, or that it should go on without."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        answer = Answer(cast("Literal['done', 'skipped']", self.match["outcome"]))
        await tell(interaction, self.match["run_id"], answer, UUID(self.match["request"]))


class OpenForm(PersistentButton, template=_FORM.pattern):
    """Opens the form for an answer in words, to somebody who may answer what is still asked."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        find = interaction.client.core.interventions.find
        asked = await find(actor_of(interaction), self.match["run_id"], UUID(self.match["request"]))
        await interaction.response.send_modal(_form(self.match.string, asked))


BUTTONS: tuple[type[PersistentButton], ...] = (Choose, Settle, OpenForm)


async def take_form(interaction: discord.Interaction[Any]) -> None:
    """Takes the answer out of a form that was sent in, whichever process opened it; ignores any other interaction."""
    data = cast("dict[str, Any]", interaction.data or {})
    match = _FORM.fullmatch(str(data.get("custom_id", "")))
    if interaction.type is not discord.InteractionType.modal_submit or match is None:
        return
    bot_interaction = cast("discord.Interaction[Bot]", interaction)

    async def act() -> None:
        await tell(bot_interaction, match["run_id"], Answer("answered", _typed(data)), UUID(match["request"]))

    await handled(bot_interaction, "modal", match.string, {}, act)


async def tell(interaction: discord.Interaction[Bot], run: str, answer: Answer, request: UUID | None = None) -> None:
    """Keeps an answer for the run, and says so. `request`: what it answers, else the latest that the run asks."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    asked = await interaction.client.core.interventions.answer(actor_of(interaction), run, answer, request)
    await reply(interaction, cards.asking.answered(asked))


def _form(custom_id: str, asked: Asked) -> discord.ui.Modal:
    modal = discord.ui.Modal(title=text.clamp(f"Answer {asked.task_name}", text.MODAL_TITLE), custom_id=custom_id)
    entry: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id="answer", style=discord.TextStyle.paragraph, max_length=MAX_TEXT
    )
    question = text.clamp(text.visible(asked.request.text), 100)
    modal.add_item(discord.ui.Label(text="Your answer", description=question or None, component=entry))
    modal.stop()  # discord.py need not keep it: `take_form` knows it by its id
    return modal


def _typed(data: dict[str, Any]) -> str:
    (label,) = data["components"]
    return str(label["component"]["value"])
