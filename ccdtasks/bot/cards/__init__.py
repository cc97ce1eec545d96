"""Cards: rows in, what Discord shows out. Nothing here asks Discord or the database."""

from ccdtasks.bot.cards import asking, card, dependencies, editing, log, metrics, queue, run, schedule, task

__all__ = ["asking", "card", "dependencies", "editing", "log", "metrics", "queue", "run", "schedule", "task"]
