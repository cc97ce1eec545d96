"""Copies of tasks: made from another one or from a file, and the file itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ccdtasks.bot import text
from ccdtasks.bot.cards.card import Card, File, join
from ccdtasks.bot.cards.status import BLUE, GREEN
from ccdtasks.core.tasks.definitions import Copied


def made(copied: Copied, channel_id: str) -> Card:
    """Where the new task is, and why its schedule rests."""
    task = copied.task
    resume = text.code(f"/task-resume {task.task_name}", 130)
    rests = f"Its schedule rests, so that nothing runs twice or unasked: {resume} lets it run." if task.paused else ""
    passed = "Its schedule was for one time that has passed, so it has none." if copied.has_passed else ""
    start = text.code(f"/task-start {task.task_name}", 130)
    return Card(
        title=f"✓ {text.plain(task.task_name, 100)}: ready",
        body=join(f"Its channel: <#{channel_id}>", rests or passed, f"Start it with {start}; its runs are its own."),
        colour=GREEN,
    )


def exported(document: Mapping[str, Any]) -> Card:
    """The file, which makes the task anew anywhere."""
    name = str(document["name"])
    data = json.dumps(document, indent=2, ensure_ascii=False).encode()
    return Card(
        title=f"{text.plain(name, 100)}: exported",
        body="`/task-import` makes a task of this file, here or on another server. Its runs are not in it.",
        colour=BLUE,
        files=(File(f"{text.channel_name(name)}.task.json", data),),
    )
