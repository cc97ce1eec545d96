"""Buttons that work for ever: each carries ids only, and who presses it is checked again."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Self, cast
from uuid import UUID

import discord

from ccdtasks.bot import cards
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.handling import handled
from ccdtasks.bot.messages import reply, reply_started, turn
from ccdtasks.core.tasks.tasks import TaskFilter
from ccdtasks.db.models import RunEvent
from ccdtasks.errors import NotFound

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot

UUID_PATTERN = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
LOG_LINES = 20_000


class PersistentButton(discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]], template=r"none"):
    """A button known by its custom id alone."""

    def __init__(self, match: re.Match[str]) -> None:
        super().__init__(discord.ui.Button(label="…", custom_id=match.string))
        self.match = match

    @classmethod
    async def from_custom_id(
        cls, _interaction: discord.Interaction[Any], _item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        return cls(match)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        bot_interaction = cast("discord.Interaction[Bot]", interaction)
        await handled(bot_interaction, "button", self.match.string, {}, lambda: self.press(bot_interaction))

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        """What the button does, for somebody who may use the bot."""
        raise LookupError(self.match.string)


class RunAgain(PersistentButton, template=rf"run:again:(?P<run_id>{UUID_PATTERN})"):
    """Starts the task of a run again with the same values."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        bot = interaction.client
        begun = await bot.core.runs.again(actor_of(interaction), UUID(self.match["run_id"]))
        await reply_started(interaction, begun, await bot.core.tasks.load(begun.run.task_id))


class StopRun(PersistentButton, template=rf"run:stop:(?P<run_id>{UUID_PATTERN})"):
    """Ends a run in good order."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        core = interaction.client.core
        run = await core.runs.stop(actor_of(interaction), self.match["run_id"])
        task = await core.tasks.load(run.task_id)
        await reply(interaction, cards.task.stopping(run, task.task_name))


class RunLog(PersistentButton, template=rf"run:log:(?P<run_id>{UUID_PATTERN})"):
    """Shows a run's log to whoever pressed."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await reply(interaction, await log_of(interaction, self.match["run_id"]))


class ListPage(PersistentButton, template=rf"list:(?P<filter>[a-z]+):(?P<after>start|{UUID_PATTERN})"):
    """Turns the list of tasks to another page."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        core, after = interaction.client.core, self.match["after"]
        is_first = after == "start"
        name = None if is_first else (await core.tasks.load(UUID(after))).task_name
        wanted = cast("TaskFilter", self.match["filter"])
        found = await core.tasks.page(actor_of(interaction), wanted, name, cards.task.PAGE)
        await turn(interaction, cards.task.page(wanted, found, is_first=is_first))


class QueuePage(PersistentButton, template=r"queue:page:(?P<start>\d{1,9})"):
    """Turns the queue to another page."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        core, actor = interaction.client.core, actor_of(interaction)
        found = await core.queue.page(actor, int(self.match["start"]), cards.queue.PAGE)
        await turn(interaction, cards.queue.page(found, is_admin=core.access.is_admin(actor)))


class ClearQueue(PersistentButton, template=r"queue:clear"):
    """Asks before the queue is cleared."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        found = await interaction.client.core.queue.page(actor_of(interaction), 0, 1)
        await turn(interaction, cards.queue.ask_clear(found))


class Sure(PersistentButton, template=rf"sure:(?P<act>[a-z]+):(?P<id>{UUID_PATTERN})"):
    """Does what was asked for, now that somebody is sure; the question gives way to the answer."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        await turn(interaction, await ACTS[self.match["act"]](interaction, UUID(self.match["id"])))


class Unsure(PersistentButton, template=r"sure:no"):
    """Leaves everything as it is."""

    async def press(self, interaction: discord.Interaction[Bot]) -> None:
        await turn(interaction, cards.task.kept())


async def _delete(interaction: discord.Interaction[Bot], task_id: UUID) -> cards.card.Card:
    name = await _name_of(interaction, task_id)
    return cards.task.deleted(await interaction.client.core.tasks.delete(actor_of(interaction), name, confirm=True))


async def _pause(interaction: discord.Interaction[Bot], task_id: UUID) -> cards.card.Card:
    name = await _name_of(interaction, task_id)
    return cards.schedule.paused(await interaction.client.core.schedules.pause(actor_of(interaction), name, True))


async def _name_of(interaction: discord.Interaction[Bot], task_id: UUID) -> str:
    """Of a task that was asked about; another may have its name since it was deleted, and is not meant."""
    task = await interaction.client.core.tasks.load(task_id)
    if task.deleted_at is not None:
        raise NotFound(f"{task.task_name} was deleted.", "/task-list shows what there is")
    return task.task_name


async def _retry(interaction: discord.Interaction[Bot], run_id: UUID) -> cards.card.Card:
    core = interaction.client.core
    begun = await core.attempts.retry(actor_of(interaction), str(run_id), confirm=True)
    return cards.queue.retried(await core.runs.load(begun.run.id))


async def _clear(interaction: discord.Interaction[Bot], _queue: UUID) -> cards.card.Card:
    return cards.queue.cleared(await interaction.client.core.queue.clear(actor_of(interaction)))


ACTS: dict[str, Callable[[discord.Interaction[Any], UUID], Awaitable[cards.card.Card]]] = {
    "delete": _delete,
    "pause": _pause,
    "retry": _retry,
    "clear": _clear,
}
"""What needs a second press (`cards.task.ask`) -> what it does with the thing of that id, and the card afterwards."""

BUTTONS: tuple[type[PersistentButton], ...] = (RunAgain, StopRun, RunLog, ListPage, QueuePage, ClearQueue, Sure, Unsure)


async def log_of(interaction: discord.Interaction[Bot], run: str) -> cards.card.Card:
    """The card with the log of a run that the caller may see."""
    core, actor = interaction.client.core, actor_of(interaction)
    found = await core.runs.find(actor, run)
    events: deque[RunEvent] = deque(maxlen=LOG_LINES)
    after = None
    while rows := await core.runs.events(actor, found.id, after, 1000):
        events.extend(rows)
        after = rows[-1].at
    return cards.log.log(await core.runs.load(found.id), list(events), is_cut=len(events) == LOG_LINES)
