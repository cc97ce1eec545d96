"""Every command: a module for each noun, listed here by name."""

from ccdtasks.bot.commands import (
    cleanup,
    copies,
    dependencies,
    editing,
    files,
    interventions,
    metrics,
    queue,
    running,
    schedules,
    settings,
    tasks,
)

COMMANDS = (
    *tasks.COMMANDS,
    *editing.COMMANDS,
    *copies.COMMANDS,
    *running.COMMANDS,
    *files.COMMANDS,
    *schedules.COMMANDS,
    *dependencies.COMMANDS,
    *queue.COMMANDS,
    *interventions.COMMANDS,
    *settings.COMMANDS,
    *metrics.COMMANDS,
    *cleanup.COMMANDS,
)
"""The whole tree; a test walks it."""

__all__ = ["COMMANDS"]
