"""The files of runs: what there is, how large, and where it lies. The bytes are the store's business."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import literal_column, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.access import Access, Actor
from ccdtasks.core.filenames import free_name
from ccdtasks.core.outbox import Outbox
from ccdtasks.core.pages import Page, page_size
from ccdtasks.core.text import clean_line, clean_text
from ccdtasks.db import Database
from ccdtasks.db.enums import ArtifactKind, ArtifactState
from ccdtasks.db.models import Artifact, TaskRun
from ccdtasks.errors import NotFound
from ccdtasks.times import Clock

MAX_ARTIFACTS = 500
"""A run keeps no more files than this."""

_LOCAL: Any = literal_column("'local'")  # no bound parameter, so that SQLite may use the partial index


@dataclass(frozen=True, slots=True)
class ArtifactDraft:
    """A file that a run left. `name` is a hint from inside the container; `note` says why a file is missing."""

    name: str
    kind: ArtifactKind
    content_type: str
    size_bytes: int
    sha256: str | None = None
    caption: str | None = None
    state: ArtifactState = ArtifactState.LOCAL
    location: str | None = None
    note: str | None = None


class Artifacts:
    """The rows of files."""

    def __init__(self, db: Database, clock: Clock, access: Access, outbox: Outbox) -> None:
        self._db = db
        self._outbox = outbox
        self._clock = clock
        self._access = access

    async def add(
        self, session: AsyncSession, run: TaskRun, session_id: UUID | None, drafts: Iterable[ArtifactDraft]
    ) -> list[Artifact]:
        """Inserts the files of a run in the caller's transaction, under names that are safe and unique."""
        taken = set(await session.scalars(select(Artifact.name).where(Artifact.run_id == run.id)))
        rows = []
        for draft in list(drafts)[: MAX_ARTIFACTS - len(taken)]:
            name = free_name(draft.name, taken)
            taken.add(name)
            rows.append(
                Artifact(
                    run_id=run.id,
                    session_id=session_id,
                    name=name,
                    kind=draft.kind,
                    state=draft.state,
                    caption=clean_text(draft.caption, 1000) if draft.caption else None,
                    content_type=clean_line(draft.content_type, 100),
                    size_bytes=draft.size_bytes,
                    sha256=draft.sha256,
                    location=draft.location,
                    note=clean_text(draft.note, 1000) if draft.note else None,
                    created_at=self._clock.now(),
                )
            )
        session.add_all(rows)
        return rows

    async def of(self, run_id: UUID) -> Sequence[Artifact]:
        """The files of a run, by name."""
        async with self._db.read() as session:
            return await artifacts_of(session, run_id)

    async def page(self, actor: Actor, run_id: UUID, after: str | None = None, limit: int = 50) -> Page[Artifact]:
        """The files of a run that the actor may see, by name. `after`: the last page's `next_after`."""
        size = page_size(limit)
        query = select(Artifact).where(Artifact.run_id == run_id).order_by(Artifact.name).limit(size + 1)
        if after is not None:
            query = query.where(Artifact.name > clean_line(after, 255))
        async with self._db.read() as session:
            run = await session.get(TaskRun, run_id)
            if run is None:
                raise NotFound("This run does not exist.")
            self._access.require_owner(actor, run.owner_user_id, "see the files of this run")
            rows = (await session.scalars(query)).all()
        return Page(rows[:size], rows[size - 1].name if len(rows) > size else None)

    async def load(self, artifact_id: UUID) -> Artifact:
        """A file by its id, for whoever holds a link to it."""
        async with self._db.read() as session:
            artifact = await session.get(Artifact, artifact_id)
        if artifact is None:
            raise NotFound("There is no such file.")
        return artifact

    async def find(self, actor: Actor, run_id: UUID, name: str) -> Artifact:
        """One file of a run that the actor may see."""
        async with self._db.read() as session:
            run = await session.get(TaskRun, run_id)
            artifact = await session.scalar(
                select(Artifact).where(Artifact.run_id == run_id, Artifact.name == clean_line(name, 255))
            )
        if run is None or artifact is None:
            raise NotFound(f"This run has no file `{clean_line(name, 80)}`.")
        self._access.require_owner(actor, run.owner_user_id, "see the files of this run")
        return artifact

    async def unstored(self, after: Artifact | None = None, limit: int = 50) -> Sequence[Artifact]:
        """Files that wait for a remote store, the oldest first; those behind `after`."""
        query = select(Artifact).where(Artifact.state == _LOCAL).order_by(Artifact.created_at, Artifact.id).limit(limit)
        if after is not None:
            query = query.where(tuple_(Artifact.created_at, Artifact.id) > (after.created_at, after.id))
        async with self._db.read() as session:
            return (await session.scalars(query)).all()

    async def stored(self, artifact_id: UUID, location: str) -> None:
        """Notes the key under which the store holds the file; with the last of a run its result is told again."""
        async with self._db.write() as session:
            artifact = await session.get_one(Artifact, artifact_id, with_for_update=True)
            artifact.state, artifact.location, artifact.note = ArtifactState.STORED, location, None
            run = await session.get_one(TaskRun, artifact.run_id, with_for_update=True)
            run.minio_artifacts = {**(run.minio_artifacts or {}), artifact.name: location}
            await session.flush()
            waiting = select(Artifact.id).where(Artifact.run_id == run.id, Artifact.state == _LOCAL).limit(1)
            if await session.scalar(waiting) is None:
                await self._outbox.touch(session, run.id, "result")

    async def missing(self, artifact_id: UUID, note: str) -> None:
        """Notes that the file is lost, and why."""
        async with self._db.write() as session:
            await session.execute(
                update(Artifact)
                .where(Artifact.id == artifact_id)
                .values(state=ArtifactState.MISSING, note=clean_text(note, 1000))
            )


async def artifacts_of(session: AsyncSession, run_id: UUID) -> Sequence[Artifact]:
    """The files of a run, as the caller's transaction sees them."""
    return (await session.scalars(select(Artifact).where(Artifact.run_id == run_id).order_by(Artifact.name))).all()
