"""Cards: rows in, what Discord shows out. Nothing here asks Discord or the database."""

from ccdtasks.bot.cards import card, log, run, task

__all__ = ["card", "log", "run", "task"]
