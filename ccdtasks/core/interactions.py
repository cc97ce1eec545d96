"""What was asked of us in Discord: one row an interaction, whatever became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from ccdtasks.db import Database
from ccdtasks.db.models import DiscordInteraction
from ccdtasks.times import Clock

_TEXT = 500
_SECRET = frozenset({"key"})
"""Options that hold what nobody but their user may know."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An interaction.

    `kind`: command, button, modal; `name`: the command, or the button's custom id; `outcome`: ok or an error's code.
    """

    interaction_id: str
    user_id: str
    guild_id: str | None
    channel_id: str | None
    kind: str
    name: str
    options: Mapping[str, Any]
    outcome: str


class Interactions:
    """The log of interactions."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def record(self, asked: Asked) -> None:
        """Adds one; a repeated id changes nothing. Long texts are cut: the log says who did what, not all of it."""
        async with self._db.write() as session:
            known = select(DiscordInteraction.id).where(DiscordInteraction.interaction_id == asked.interaction_id)
            if await session.scalar(known):
                return
            session.add(
                DiscordInteraction(
                    interaction_id=asked.interaction_id,
                    user_id=asked.user_id,
                    guild_id=asked.guild_id,
                    channel_id=asked.channel_id,
                    kind=asked.kind,
                    name=asked.name[:100],
                    options={str(name)[:100]: _shown(name, value) for name, value in asked.options.items()},
                    outcome=asked.outcome[:40],
                    at=self._clock.now(),
                )
            )

    async def recent(self, limit: int = 50) -> Sequence[DiscordInteraction]:
        """The newest first."""
        async with self._db.read() as session:
            query = select(DiscordInteraction).order_by(DiscordInteraction.at.desc()).limit(limit)
            return (await session.scalars(query)).all()


def _shown(name: str, value: Any) -> str:
    return "(hidden)" if name in _SECRET else str(value)[:_TEXT]
