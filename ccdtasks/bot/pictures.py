"""Pictures for cards, drawn beside the process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ccdtasks.bot import cards
from ccdtasks.core.tasks.dependencies import Tree
from ccdtasks.errors import Unavailable

if TYPE_CHECKING:
    from ccdtasks.bot.client import Bot

log = logging.getLogger(__name__)

GRAPH = "ccdtasks.adapters.graph_picture"


async def picture_of(bot: Bot, tree: Tree) -> bytes | None:
    """The tree as PNG; None without any edge, and when it cannot be drawn: the words say the same."""
    if not tree.edges:
        return None
    try:
        return await bot.painter.draw(GRAPH, cards.dependencies.drawn(tree))
    except Unavailable as error:
        log.warning("%s", error.message)
        return None
