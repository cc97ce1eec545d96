"""The files that go along with a message: fetched from the store, kept within Discord's sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from ccdtasks.bot import text
from ccdtasks.bot.cards.card import Card, File, join
from ccdtasks.db.enums import ArtifactState
from ccdtasks.db.models import Artifact
from ccdtasks.errors import CcdError
from ccdtasks.times import size_text


class Store(Protocol):
    """What we need of the store of artifacts."""

    async def read(self, location: str, max_bytes: int) -> bytes:
        """The whole file."""
        ...

    async def link(self, location: str, *, name: str, ttl_s: int) -> str | None:
        """A link that works for `ttl_s` seconds, or None where the store has none."""
        ...


@dataclass
class _Load:
    files: list[File] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    size_bytes: int = 0


async def load(card: Card, store: Store | None, link_ttl_s: int) -> Card:
    """The card with its artifacts as files in memory; what cannot be sent is named with a link or a reason."""
    done = _Load([*card.files], [], sum(len(file.data) for file in card.files))
    for artifact in card.artifacts:
        await _add(done, artifact, store, link_ttl_s)
    shown = any(file.name == card.image for file in done.files)
    return replace(
        card,
        files=tuple(done.files),
        artifacts=(),
        image=card.image if shown else None,
        body=join(_room_for(card.body, done.notes), "\n".join(done.notes)),
    )


async def _add(done: _Load, artifact: Artifact, store: Store | None, link_ttl_s: int) -> None:
    name = text.plain(artifact.name, 100)
    if artifact.state is not ArtifactState.STORED or not artifact.location or store is None:
        reason = artifact.note or ("is still being saved" if artifact.state is ArtifactState.LOCAL else "is missing")
        done.notes.append(f"{name}: {text.plain(reason, 200)}")
        return
    too_large = artifact.size_bytes > text.FILE_BYTES or done.size_bytes + artifact.size_bytes > text.REQUEST_BYTES
    try:
        if too_large or len(done.files) >= text.FILES:
            link = await store.link(artifact.location, name=artifact.name, ttl_s=link_ttl_s)
            where = link or "is too large for Discord and kept on the server"
            done.notes.append(f"{name} ({size_text(artifact.size_bytes)}): {where}")
            return
        data = await store.read(artifact.location, text.FILE_BYTES)
    except CcdError as error:
        done.notes.append(f"{name}: {text.plain(error.message, 200)}")
        return
    done.files.append(File(artifact.name, data))
    done.size_bytes += len(data)


def _room_for(body: str, notes: Sequence[str]) -> str:
    """Notes come last and must not be cut, so the text gives way."""
    room = text.EMBED_DESCRIPTION - sum(len(note) + 1 for note in notes) - 2
    return text.clamp(body, max(room, 200)) if notes else body
