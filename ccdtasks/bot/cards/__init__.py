"""Cards: rows in, what Discord shows out. Nothing here asks Discord or the database."""

from ccdtasks.bot.cards import card, dependencies, log, run, schedule, task

__all__ = ["card", "dependencies", "log", "run", "schedule", "task"]
