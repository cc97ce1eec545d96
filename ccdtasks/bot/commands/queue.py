"""The queue: see who waits, put a run first, try a failed one again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from ccdtasks.bot import cards
from ccdtasks.bot.access import actor_of
from ccdtasks.bot.messages import reply
from ccdtasks.bot.params import RunId, Values, complete_failed, complete_waiting
from ccdtasks.core.runs.queue import MOVE_MAX

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot


@app_commands.command(name="task-queue", description="The runs that wait: whose turn it is, and what they wait for")
@app_commands.describe(move="For admins: a waiting run to put elsewhere", to="At which place; the first if left out")
@app_commands.autocomplete(move=complete_waiting)
async def task_queue(
    interaction: discord.Interaction[Bot], move: RunId | None = None, to: app_commands.Range[int, 1, MOVE_MAX] = 1
) -> None:
    """One page; admins reorder, and clear it by a button that asks first."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    core, actor = interaction.client.core, actor_of(interaction)
    if move is None:
        found = await core.queue.page(actor, 0, cards.queue.PAGE)
        await reply(interaction, cards.queue.page(found, is_admin=core.access.is_admin(actor)))
        return
    place = await core.queue.move(actor, move, to)
    run = await core.runs.find(actor, move)
    await reply(interaction, cards.queue.moved(run, (await core.tasks.load(run.task_id)).task_name, place))


@app_commands.command(name="task-retry", description="Try a failed run again, with the same values or others")
@app_commands.describe(
    session="The session id of the failed run, or its first letters",
    values="Values that replace its own, like origin:LAX",
    confirm="Only for tasks that buy, post or submit: yes, even if it may do it twice",
)
@app_commands.autocomplete(session=complete_failed)
async def task_retry(
    interaction: discord.Interaction[Bot], session: RunId, values: Values = "", confirm: bool = False
) -> None:
    """In the thread of the failed run. A task that acts is asked about first."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    core, actor = interaction.client.core, actor_of(interaction)
    if not confirm and await core.attempts.is_risky(actor, session):
        run = await core.runs.find(actor, session)
        task = await core.tasks.load(run.task_id)
        await reply(interaction, cards.queue.ask_retry(run, task, has_values=bool(values)))
        return
    begun = await core.attempts.retry(actor, session, values, confirm=confirm)
    await reply(interaction, cards.queue.retried(await core.runs.load(begun.run.id)))


COMMANDS: tuple[app_commands.Command[Any, ..., None], ...] = (task_queue, task_retry)
