"""`ccdtasks demo`"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from uuid import UUID

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
from ccdtasks.core.runs.runs import RunView
from ccdtasks.core.runs.shapes import file_path, view_shape
from ccdtasks.demo.run import Demonstration, Evidence, demonstration, evidence_of

_KEY = "ANTHROPIC_API_KEY"
_WHO = {
    "scripted": f"A script plays Claude here and costs nothing, since {_KEY} is not set; everything else is real.",
    "real": f"Claude itself answers, with the key from {_KEY}.",
}
_AGAIN = "Once more, as if it were the next day: prices have moved. Only what fits the task's rule would call you."


@click.command()
@click.option("--once", is_flag=True, help="One run only, without the second one that finds other prices.")
@click.option("--keep", is_flag=True, help="Keep the demonstration's database too, not only the files of the runs.")
@verb
@click.pass_obj
def demo(shell: Shell, once: bool, keep: bool) -> int:
    """See whole runs on this machine, without any account: a shop, a task, a sealed browser, a result, what is new.

    With ANTHROPIC_API_KEY set, the real model works. Exit code 0 only when the runs completed with evidence.
    """
    return asyncio.run(_demo(shell, shell.load_config().config, once=once, keep=keep))


async def _demo(shell: Shell, loaded: Config, *, once: bool, keep: bool) -> int:
    await _have_image(shell, loaded.podman.image)
    claude = _real_model(loaded.claude)
    _say(shell, _WHO["real" if claude else "scripted"])
    folder = Path(tempfile.mkdtemp(prefix="ccdtasks-demo-"))
    async with demonstration(folder, loaded.podman, claude, keep=keep) as shown:
        view, first = await _followed(shell, shown, shown.run.id), None
        if evidence_of(view).is_complete and not once:
            if not shell.as_json:
                shell.console().print(picture(view, shown.core.config, with_files=False), "")
            _say(shell, _AGAIN)
            first, view = view, await _followed(shell, shown, (await shown.again()).id)
            view = await shown.while_it_works(shown.charted(view))
        evidence = evidence_of(view)
        shell.show(_shape(shown, view, first, evidence), lambda: _picture(shown, view, evidence))
    return 0 if evidence.is_complete else 1


async def _followed(shell: Shell, shown: Demonstration, run_id: UUID) -> RunView:
    with progress(shell, shown.core.clock.now) as show:
        return await shown.while_it_works(follow(shown.core, run_id, show, needs_service=False))


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


def _shape(shown: Demonstration, view: RunView, first: RunView | None, evidence: Evidence) -> dict[str, object]:
    config = shown.core.config
    return {
        **view_shape(view, config),
        "model": shown.model,
        "evidence": evidence.is_complete,
        "folder": str(shown.folder),
        "first": first and view_shape(first, config),
    }


def _picture(shown: Demonstration, view: RunView, evidence: Evidence) -> RenderableType:
    config = shown.core.config
    named = (("table", evidence.table), ("last page", evidence.screenshot), ("results", evidence.results))
    rows = [(name, str((artifact and file_path(artifact, config)) or "missing")) for name, artifact in named]
    if evidence.chart:
        rows.append(("chart", str(file_path(evidence.chart, config))))
    files = places([*rows, ("all files", str(shown.folder))])
    verdict = "The run completed, with evidence." if evidence.is_complete else "The run did not complete with evidence."
    return Group(
        picture(view, config, with_files=False), Text(""), files, Text(""), Text(f"{verdict} {_WHO[shown.model]}")
    )
