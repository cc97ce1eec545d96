"""The Discord front end: parse, one core call, render. Importing it loads discord.py."""

from ccdtasks.bot.client import Bot
from ccdtasks.bot.connection import run_forever

__all__ = ["Bot", "run_forever"]
