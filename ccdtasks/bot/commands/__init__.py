"""Every command: a module for each noun, listed here by name."""

from ccdtasks.bot.commands import running, tasks

COMMANDS = (*tasks.COMMANDS, *running.COMMANDS)
"""The whole tree; a test walks it."""

__all__ = ["COMMANDS"]
