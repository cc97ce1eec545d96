"""The verbs. Each lives in a module of its own, which is imported when it is called: `--help` stays quick."""

from __future__ import annotations

from importlib import import_module

import click

from ccdtasks import __version__
from ccdtasks.cli.shell import config_option

VERBS = {
    "serve": ("serve", "Run the service: the bot, the queue and the sessions."),
    "run": ("run", "Start a task, and follow it with --wait."),
    "task": ("task", "Make, list, show, change, schedule, link and delete tasks."),
    "cron": ("schedules", "Say what a schedule means, and when it comes next."),
    "retry": ("retry", "Try a failed run again."),
    "runs": ("runs", "List runs, the newest first."),
    "history": ("metrics", "Show the runs of a task, the newest first, also as CSV."),
    "metrics": ("metrics", "Show how well tasks do, how long they take, what they use."),
    "chart": ("metrics", "Show a number of a task's results over time."),
    "cleanup": ("cleanup", "Remove old runs of a task; says first what would go."),
    "logs": ("runs", "Show what a run did, and follow it with --follow."),
    "files": ("files", "List the files that a run left, and copy them out."),
    "token": ("token", "Make, list and revoke tokens for the pages and the API."),
    "stop": ("runs", "Stop a run."),
    "answer": ("answering", "Answer what a run asks."),
    "say": ("answering", "Say something to a run while it works."),
    "queue": ("queue", "Show the runs that wait, reorder and clear them."),
    "settings": ("settings", "See and change what people chose: pushes to phones, timezones."),
    "image": ("image", "Build the image of a session."),
    "doctor": ("doctor", "Check everything that a run needs."),
    "demo": ("demo", "See a whole run on this machine, without any account."),
    "config": ("config", "Check the configuration."),
}
"""verb -> module of this package and what it does."""


class Verbs(click.Group):
    """A group that knows its commands' names and purposes without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(import_module(f"ccdtasks.cli.{VERBS[cmd_name][0]}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, purpose) for name, (_, purpose) in VERBS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="ccdtasks %(version)s")
@config_option
def cli() -> None:
    """Browser chores by Claude Code, in sealed containers on your own box, steered from Discord.

    Exit codes: 0 done, 1 a run did not complete or a check failed, 2 usage, 3 not found, 4 wrong value, 5 not
    allowed, 6 conflict, 7 limit reached, 8 something is out of reach, 78 bad configuration, 130 interrupted.
    """
