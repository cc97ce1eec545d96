"""`ccdtasks serve`"""

from __future__ import annotations

import asyncio

import click

from ccdtasks.app import serve as serve_forever
from ccdtasks.cli.shell import Shell, verb


@click.command()
@verb
@click.pass_obj
def serve(shell: Shell) -> None:
    """Run the service: the bot, the queue and the sessions. Ends cleanly on SIGTERM; sessions go on without it."""
    asyncio.run(serve_forever(shell.load_config().config))
