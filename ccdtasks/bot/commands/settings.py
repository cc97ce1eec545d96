"""One's own settings: whether, when and how loudly the phone is called, and whose clock counts."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from ccdtasks.bot import cards
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.messages import reply
from ccdtasks.bot.params import complete_timezone
from ccdtasks.core.phone.pushes import EVENTS
from ccdtasks.core.phone.settings import PRIORITIES, SOUNDS

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot

_EVENT_CHOICES = [", ".join(some) for size in (1, 2, 3) for some in combinations(EVENTS, size)]

settings = app_commands.Group(name="settings", description="Your own settings: pushes to your phone, your timezone")


async def _complete_events(_interaction: discord.Interaction[Bot], typed: str) -> list[app_commands.Choice[str]]:
    """Every choice of events that holds what was typed so far."""
    wanted = typed.casefold().replace(" ", "")
    found = [words for words in [*_EVENT_CHOICES, "none"] if wanted in words.replace(" ", "")]
    return [app_commands.Choice(name=words, value=words) for words in found]


async def _complete_sound(_interaction: discord.Interaction[Bot], typed: str) -> list[app_commands.Choice[str]]:
    """Pushover's own sounds; those that somebody uploaded can be typed."""
    found = [name for name in ("default", *SOUNDS) if typed.casefold() in name]
    return [app_commands.Choice(name=name, value=name) for name in found[:25]]


@settings.command(name="show", description="What you have chosen")
async def settings_show(interaction: discord.Interaction[Bot]) -> None:
    """For the caller's eyes only, as all of these."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    await reply(interaction, cards.settings.shown(await interaction.client.core.settings.show(actor_of(interaction))))


@settings.command(name="timezone", description="Your clock, for schedules that name none")
@app_commands.describe(timezone="Start typing a city")
@app_commands.autocomplete(timezone=complete_timezone)
async def settings_timezone(interaction: discord.Interaction[Bot], timezone: app_commands.Range[str, 1, 60]) -> None:
    """Schedules that there are keep theirs."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    found = await interaction.client.core.settings.set_timezone(actor_of(interaction), timezone)
    await reply(interaction, cards.settings.timezone_set(found))


@settings.command(name="pushover-key", description="Connect your phone: your user key from pushover.net")
@app_commands.describe(key="30 letters and digits, below Your User Key; only you see it here")
async def pushover_key(interaction: discord.Interaction[Bot], key: app_commands.Range[str, 1, 100]) -> None:
    """Pushover is asked whether it is one, before it is kept."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    bot = interaction.client
    found = await bot.core.settings.set_key(actor_of(interaction), key, bot.pushover.validate)
    await reply(interaction, cards.settings.key_set(found))


@settings.command(name="pushover-priority", description="How loudly your phone is called")
@app_commands.rename(retry_s="retry", expire_s="expire")
@app_commands.describe(
    level="From -2 (silent) to 2 (rings until you confirm it)",
    sound="Left out: as it is; default: the one chosen on your phone",
    retry_s="Only for 2: it rings again after so many seconds, at least 30",
    expire_s="Only for 2: it gives up after so many seconds, at most 10800",
)
@app_commands.choices(
    level=[app_commands.Choice(name=f"{level} ({words})"[:100], value=level) for level, words in PRIORITIES.items()]
)
@app_commands.autocomplete(sound=_complete_sound)
async def pushover_priority(
    interaction: discord.Interaction[Bot],
    level: int,
    sound: app_commands.Range[str, 1, 20] | None = None,
    retry_s: app_commands.Range[int, 30, 10800] | None = None,
    expire_s: app_commands.Range[int, 30, 10800] | None = None,
) -> None:
    """Counts for everything that is pushed from now on."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    found = await interaction.client.core.settings.set_priority(
        actor_of(interaction), level, sound=sound, retry_s=retry_s, expire_s=expire_s
    )
    await reply(interaction, cards.settings.priority_set(found))


@settings.command(name="pushover-notify-on", description="What your phone is called for")
@app_commands.describe(events="Some of complete, error, intervention; or none")
@app_commands.autocomplete(events=_complete_events)
async def pushover_notify_on(interaction: discord.Interaction[Bot], events: app_commands.Range[str, 1, 100]) -> None:
    """Failures for good and calls for a person, unless somebody chooses otherwise."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    found = await interaction.client.core.settings.notify_on(actor_of(interaction), events)
    await reply(interaction, cards.settings.events_set(found))


@settings.command(name="pushover-test", description="Send a test to your phone")
async def pushover_test(interaction: discord.Interaction[Bot]) -> None:
    """Waits a few seconds for what comes of it."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    await reply(interaction, cards.settings.tested(await interaction.client.core.pushes.test(actor_of(interaction))))


@settings.command(name="pushover-disable", description="Nothing more goes to your phone; your key is deleted")
async def pushover_disable(interaction: discord.Interaction[Bot]) -> None:
    """What rings right now is silenced."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    found = await interaction.client.core.settings.disable(actor_of(interaction))
    await reply(interaction, cards.settings.disabled(found))


COMMANDS: tuple[app_commands.Command[Any, ..., None] | app_commands.Group, ...] = (settings,)
