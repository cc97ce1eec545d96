"""Cards: rows in, what Discord shows out. Nothing here asks Discord or the database."""

from ccdtasks.bot.cards import (
    asking,
    card,
    cleanup,
    copies,
    dependencies,
    details,
    editing,
    files,
    log,
    metrics,
    push,
    queue,
    run,
    schedule,
    settings,
    task,
)

__all__ = [
    "asking",
    "card",
    "cleanup",
    "copies",
    "dependencies",
    "details",
    "editing",
    "files",
    "log",
    "metrics",
    "push",
    "queue",
    "run",
    "schedule",
    "settings",
    "task",
]
