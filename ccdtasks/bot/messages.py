"""From a card to what discord.py sends: one place for replies, sends and edits."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import discord

from ccdtasks.bot.cards.card import Button, Card, File
from ccdtasks.bot.cards.task import started
from ccdtasks.core.runs.runs import StartedRun
from ccdtasks.db.models import Task

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot

_STYLES = {
    "primary": discord.ButtonStyle.primary,
    "secondary": discord.ButtonStyle.secondary,
    "danger": discord.ButtonStyle.danger,
}


async def reply(interaction: discord.Interaction[Bot], card: Card) -> None:
    """Answers an interaction, for the caller's eyes only: as the first response, or after a defer."""
    files = made(card.files)
    if interaction.response.is_done():
        await interaction.followup.send(**_body(card), files=files, ephemeral=True)
    else:
        await interaction.response.send_message(**_body(card), files=files, ephemeral=True)


async def reply_started(interaction: discord.Interaction[Bot], begun: StartedRun, task: Task) -> None:
    """Tells that a run is on its way; the link to its thread follows as soon as there is one."""
    await reply(interaction, started(begun, task, None))

    async def show(thread_id: str) -> None:
        await interaction.edit_original_response(**editing(started(begun, task, thread_id)))

    await interaction.client.projection.when_thread(begun.run.id, show)


async def turn(interaction: discord.Interaction[Bot], card: Card) -> None:
    """Shows another page in the message whose button was pressed."""
    embed = card.embed()
    embeds = [discord.Embed.from_dict(embed)] if embed else []
    await interaction.response.edit_message(content=card.text(), embeds=embeds, view=view_of(card.buttons))


def sending(card: Card) -> dict[str, Any]:
    """Arguments of `send`; only the card's own ping calls anybody."""
    return _body(card) | {"allowed_mentions": _pings(card)}


def editing(card: Card) -> dict[str, Any]:
    """Arguments of `edit`: what the card no longer has is taken away. An edit calls nobody."""
    embed = card.embed()
    return {
        "content": card.text(),
        "embeds": [discord.Embed.from_dict(embed)] if embed else [],
        "view": view_of(card.buttons),
        "allowed_mentions": discord.AllowedMentions.none(),
    }


def view_of(buttons: Sequence[Button]) -> discord.ui.View | None:
    """The buttons as a view that discord.py does not keep: persistent items answer them."""
    if not buttons:
        return None
    view = discord.ui.View(timeout=None)
    for button in buttons:
        view.add_item(_button(button))
    view.stop()
    return view


def made(files: Sequence[File]) -> list[discord.File]:
    """Files from memory, as uploads."""
    return [discord.File(io.BytesIO(file.data), filename=file.name) for file in files]


def _button(button: Button) -> discord.ui.Button[discord.ui.View]:
    if button.url:
        return discord.ui.Button(label=button.label, url=button.url)
    style = _STYLES[button.style]
    return discord.ui.Button(label=button.label, style=style, custom_id=button.custom_id, disabled=button.disabled)


def _body(card: Card) -> dict[str, Any]:
    """What is there; discord.py wants nothing for what is not."""
    embed, view = card.embed(), view_of(card.buttons)
    body: dict[str, Any] = {"content": card.text()}
    if embed:
        body["embed"] = discord.Embed.from_dict(embed)
    if view:
        body["view"] = view
    return body


def _pings(card: Card) -> discord.AllowedMentions:
    users = [discord.Object(int(card.ping))] if card.ping and card.ping.isdigit() else []
    return discord.AllowedMentions(everyone=False, roles=False, users=users, replied_user=False)
