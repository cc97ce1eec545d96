"""`ccdtasks demo`"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import click
from pydantic import SecretStr
from rich.console import Group, RenderableType
from rich.text import Text

from ccdtasks.adapters.image import built_from, content_hash, find_recipe
from ccdtasks.cli.follow import follow, progress
from ccdtasks.cli.image import build_with_progress
from ccdtasks.cli.look import places
from ccdtasks.cli.result import picture
from ccdtasks.cli.shell import Shell, verb
from ccdtasks.config import ClaudeConfig, Config
from ccdtasks.core.runs import RunView
from ccdtasks.core.shapes import file_path, view_shape
from ccdtasks.demo.run import Demonstration, Evidence, demonstration, evidence_of

_KEY = "ANTHROPIC_API_KEY"
_WHO = {
    "scripted": f"A script plays Claude here and costs nothing, since {_KEY} is not set; everything else is real.",
    "real": f"Claude itself answers, with the key from {_KEY}.",
}


@click.command()
@click.option("--keep", is_flag=True, help="Keep the demonstration's database too, not only the files of the run.")
@verb
@click.pass_obj
def demo(shell: Shell, keep: bool) -> int:
    """See a whole run on this machine, without any account: a shop, a task, a sealed browser, a result.

    With ANTHROPIC_API_KEY set, the real model works. Exit code 0 only when the run completed with evidence.
    """
    return asyncio.run(_demo(shell, shell.load_config().config, keep))


async def _demo(shell: Shell, loaded: Config, keep: bool) -> int:
    await _have_image(shell, loaded.podman.image)
    claude = _real_model(loaded.claude)
    _say(shell, _WHO["real" if claude else "scripted"])
    folder = Path(tempfile.mkdtemp(prefix="ccdtasks-demo-"))
    async with demonstration(folder, loaded.podman, claude, keep=keep) as shown:
        with progress(shell, shown.core.clock.now) as show:
            view = await shown.while_it_works(follow(shown.core, shown.run.id, show, needs_service=False))
        evidence = evidence_of(view)
        config = shown.core.config
        shell.show(_shape(shown, view, evidence), lambda: _picture(shown, view, evidence, config))
    return 0 if evidence.is_complete else 1


async def _have_image(shell: Shell, image: str) -> None:
    recipe = await built_from(image)
    if recipe is None and shutil.which("podman"):
        _say(shell, f"The session image {image} is built first: about 3 minutes and 6 GB, once.")
        await build_with_progress(shell, image)
    elif recipe is not None and recipe != content_hash(find_recipe()):
        _say(shell, f"warning: {image} was built by another version; `ccdtasks image build` renews it")


def _say(shell: Shell, sentence: str) -> None:
    if not shell.as_json:
        click.echo(sentence, err=True)


def _real_model(claude: ClaudeConfig) -> ClaudeConfig | None:
    key = os.environ.get(_KEY)
    return claude.model_copy(update={"api_key": SecretStr(key), "oauth_token": None}) if key else None


def _shape(shown: Demonstration, view: RunView, evidence: Evidence) -> dict[str, object]:
    return {
        **view_shape(view, shown.core.config),
        "model": shown.model,
        "evidence": evidence.is_complete,
        "folder": str(shown.folder),
    }


def _picture(shown: Demonstration, view: RunView, evidence: Evidence, config: Config) -> RenderableType:
    shown_files = (("table", evidence.table), ("last page", evidence.screenshot), ("results", evidence.results))
    rows = [(name, str((artifact and file_path(artifact, config)) or "missing")) for name, artifact in shown_files]
    files = places([*rows, ("all files", str(shown.folder))])
    verdict = "The run completed, with evidence." if evidence.is_complete else "The run did not complete with evidence."
    return Group(
        picture(view, config, with_files=False), Text(""), files, Text(""), Text(f"{verdict} {_WHO[shown.model]}")
    )
