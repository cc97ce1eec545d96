"""The files that go along with a message: fetched from the store, within Discord's sizes, else named with a link."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from ccdtasks.amounts import counted
from ccdtasks.bot import text
from ccdtasks.bot.cards.card import Card, File, join
from ccdtasks.core.links import Links
from ccdtasks.db.enums import ArtifactState
from ccdtasks.db.models import Artifact
from ccdtasks.errors import CcdError
from ccdtasks.times import size_text

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif")
_NOTES = 8
"""Files named below a message; /task-files has them all."""


class Files(Protocol):
    """What we need of the keeper of artifacts."""

    def path_of(self, artifact: Artifact) -> Path | None:
        """Where it lies on this machine; None when it lies in a remote store."""
        ...

    async def bytes_of(self, artifact: Artifact, max_bytes: int) -> bytes:
        """The whole file."""
        ...

    async def link_of(self, artifact: Artifact, ttl_s: int) -> str | None:
        """A link of the remote store itself, or None where the store has none."""
        ...


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where files come from, and where people find those that Discord does not take."""

    files: Files
    links: Links
    link_ttl_s: int

    async def place_of(self, artifact: Artifact) -> str:
        """A link that downloads the file; without any, where it lies and how the box's owner gets it."""
        link = self.links.file(artifact.id) or await self.files.link_of(artifact, self.link_ttl_s)
        if link:
            return link
        path = self.files.path_of(artifact)
        return f"too large for Discord, it lies on the server: `{path}`" if path else "too large for Discord"


@dataclass
class _Load:
    files: list[File] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    size_bytes: int = 0


async def load(card: Card, shelf: Shelf | None) -> Card:
    """The card with its artifacts as files in memory; what cannot be sent is named with a link or a reason."""
    done = _Load([*card.files], size_bytes=sum(len(file.data) for file in card.files))
    for artifact in card.artifacts:
        await _add(done, artifact, shelf)
    shown = any(file.name == card.image for file in done.files)
    notes = done.notes if len(done.notes) <= _NOTES else [*done.notes[:_NOTES], _more(len(done.notes) - _NOTES)]
    return replace(
        card,
        files=tuple(done.files),
        artifacts=(),
        image=card.image if shown else None,
        ending=join(card.ending, "\n".join(notes)),
        instead="\n".join(done.places),
    )


async def _add(done: _Load, artifact: Artifact, shelf: Shelf | None) -> None:
    name = text.plain(artifact.name, 100)
    if artifact.state is ArtifactState.MISSING or not artifact.location or shelf is None:
        reason = artifact.note or ("is still being saved" if artifact.state is ArtifactState.LOCAL else "is missing")
        done.notes.append(f"{name}: {text.plain(reason, 200)}")
        return
    too_large = artifact.size_bytes > text.FILE_BYTES or done.size_bytes + artifact.size_bytes > text.REQUEST_BYTES
    try:
        place = f"{name} ({size_text(artifact.size_bytes)}): {await shelf.place_of(artifact)}"
        if too_large or len(done.files) >= text.FILES:
            done.notes.append(place)
            return
        data = await shelf.files.bytes_of(artifact, text.FILE_BYTES)
    except CcdError as error:
        done.notes.append(f"{name}: {text.plain(error.message, 200)}")
        return
    done.places.append(place)
    done.files.append(File(_shown_name(artifact), data))
    done.size_bytes += len(data)


def _shown_name(artifact: Artifact) -> str:
    """Its name; what is called a picture and is none gets an ending more, so that Discord does not show it as one."""
    is_fake = artifact.content_type == "application/octet-stream" and artifact.name.lower().endswith(_PICTURES)
    return f"{artifact.name}.bin" if is_fake else artifact.name


def _more(count: int) -> str:
    return f"… and {counted(count, 'more file')}: /task-files"
