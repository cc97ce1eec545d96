"""`ccdtasks image build`"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.text import Text

from ccdtasks.adapters.image import build_image, is_built
from ccdtasks.cli.look import GREEN
from ccdtasks.cli.shell import Shell, verb
from ccdtasks.times import duration_text

_LINE = 100
_STEP = re.compile(r"(\[\d+/\d+\] )?STEP \d+/\d+: .*")


@click.group()
def image() -> None:
    """Build the image of a session."""


@image.command()
@click.option(
    "--refresh", is_flag=True, help="Fetch the newest base and packages, such as Chromium's security updates."
)
@click.option("--verbose", is_flag=True, help="Show everything that the build says.")
@verb
@click.pass_obj
def build(shell: Shell, verbose: bool, refresh: bool) -> None:
    """Build the image: Chromium, a desktop and Claude Code. Takes a few minutes, and about 6 GB of disk meanwhile.

    An image that was built from the same recipe is left as it is.
    """
    tag = shell.load_config().config.podman.image
    if not refresh and asyncio.run(is_built(tag)):
        shell.show({"image": tag, "seconds": 0.0}, lambda: Text(f"✓ {tag} is up to date.", GREEN))
        return
    started = time.monotonic()
    asyncio.run(build_with_progress(shell, tag, verbose, refresh=refresh))
    took_s = time.monotonic() - started
    sentence = f"✓ {tag} is built ({duration_text(took_s)})."
    shell.show({"image": tag, "seconds": round(took_s, 1)}, lambda: Text(sentence, GREEN))


async def build_with_progress(shell: Shell, tag: str, verbose: bool = False, *, refresh: bool = False) -> None:
    """Builds the image, with one line that says how far it is. Raises Unavailable("image")."""
    with _progress(shell) as tell:

        def on_line(line: str) -> None:
            if verbose:
                click.echo(line, err=True)
            elif _STEP.fullmatch(line):
                tell(line)

        await build_image(tag, on_line, refresh=refresh)


@contextmanager
def _progress(shell: Shell) -> Iterator[Callable[[str], None]]:
    """One line on standard error that is written over in a terminal, and a line for each step elsewhere."""
    console = shell.console(stderr=True)
    if not console.is_terminal:
        yield lambda line: click.echo(line[:_LINE], err=True)
    else:
        with console.status("Building the session image") as status:
            yield lambda line: status.update(Text(f"Building the session image · {line[: console.width - 32]}"))
