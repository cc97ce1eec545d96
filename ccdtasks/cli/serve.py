"""`ccdtasks serve`"""

from __future__ import annotations

import asyncio
import os
import sys

import click

from ccdtasks.app import bring_database_up_to_date
from ccdtasks.app import serve as serve_forever
from ccdtasks.cli.shell import Shell, verb


@click.command()
@verb
@click.pass_obj
def serve(shell: Shell) -> None:
    """Run the service: the bot, the queue and the sessions. Ends cleanly on SIGTERM; sessions go on without it."""
    config = shell.load_config().config
    before = set(sys.modules)
    asyncio.run(bring_database_up_to_date(config))
    if "alembic" in set(sys.modules) - before:  # it was needed, and would take 10 MB for as long as the service runs
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
    asyncio.run(serve_forever(config))
