"""The files of a run: what each is, how large, and where to get it, or why it is not there."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from ccdtasks.bot import text
from ccdtasks.bot.cards.card import Button, Card, join
from ccdtasks.bot.cards.status import BLUE, GREY
from ccdtasks.core.pages import Page
from ccdtasks.db.enums import ArtifactState
from ccdtasks.db.models import Artifact, TaskRun
from ccdtasks.times import size_text

PAGE = 8
"""Files on one page: so many that all of them fit one message too."""


def page(
    run: TaskRun, task_name: str, found: Page[Artifact], link_of: Callable[[UUID], str | None], after: UUID | None
) -> Card:
    """One page. `link_of`: the address of a file, None where there is none; `after`: the file before the first one."""
    title = f"{text.plain(task_name, 100)}: files of run {run.id.hex[:8]}"
    if not found.rows:
        return Card(title=title, body="This run left no files.", colour=GREY)
    buttons = []
    if found.next_after is not None:
        buttons.append(Button("More", f"files:page:{run.id}:{found.rows[-1].id}"))
    if any(artifact.location for artifact in found.rows):
        buttons.append(Button("Send them here", f"files:send:{run.id}:{after or 'start'}"))
    if after is not None:
        buttons.append(Button("First page", f"files:page:{run.id}:start"))
    return Card(
        title=title,
        body="\n".join(_line(artifact, link_of(artifact.id)) for artifact in found.rows),
        colour=BLUE,
        buttons=tuple(buttons),
    )


def sent(run: TaskRun, found: Page[Artifact]) -> Card:
    """The files of one page themselves."""
    rows = tuple(artifact for artifact in found.rows if artifact.location)
    return Card(title=f"Files of run {run.id.hex[:8]}", colour=BLUE, artifacts=rows)


def _line(artifact: Artifact, link: str | None) -> str:
    facts = [f"**{text.plain(artifact.name, 100)}**", size_text(artifact.size_bytes), artifact.kind.value]
    if artifact.state is ArtifactState.MISSING or not artifact.location:
        facts.append(f"missing: {text.plain(artifact.note or 'it was lost', 200)}")
    elif link:
        facts.append(f"[save]({link})")
    caption = text.plain(artifact.caption, 100) if artifact.caption else ""
    return join("• " + " · ".join(facts), caption and f"  {caption}", gap="\n")
