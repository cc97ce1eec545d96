"""Takes the files of a session out of its folder and into the store, whatever the guest or the store does."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import mimetypes
import os
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Protocol

from ccdtasks.adapters.storage import LocalStore, Stored, TooLarge
from ccdtasks.core import Core
from ccdtasks.core.filenames import free_name
from ccdtasks.core.records.artifacts import ArtifactDraft
from ccdtasks.db.enums import ArtifactKind, ArtifactState
from ccdtasks.db.models import Artifact
from ccdtasks.engine.guest import GuestFile, GuestFolder, Trap
from ccdtasks.engine.pictures import is_picture
from ccdtasks.errors import CcdError, NotFound, Unavailable

_log = logging.getLogger(__name__)

_FILES_MAX = 200
_MORE = "more files"
_IMAGES = (".png", ".jpg", ".jpeg", ".webp")
_TABLES = (".csv", ".tsv", ".xlsx")
_TYPES = {".jsonl": "application/x-ndjson", ".log": "text/plain", ".md": "text/markdown", ".yml": "text/plain"}


class ArtifactStore(Protocol):
    """Where artifacts are kept: a local folder or a bucket."""

    async def put(self, key: str, descriptor: int, *, content_type: str, max_bytes: int) -> Stored: ...
    async def read(self, location: str, max_bytes: int) -> bytes: ...
    async def fetch(self, location: str, descriptor: int) -> Stored: ...
    async def delete(self, location: str) -> None: ...
    async def link(self, location: str, *, name: str, ttl_s: int) -> str | None: ...
    async def check(self) -> None: ...
    async def close(self) -> None: ...


class Keeper:
    """Keeps files under keys of a run.

    What is meant for a remote store lies in `spool` first, so that no run waits for it: `engine.uploading` sends it.
    """

    def __init__(self, core: Core, store: ArtifactStore, spool: LocalStore | None, threads: Executor) -> None:
        self._core = core
        self.store = store
        self.spool = spool
        self._threads = threads

    async def keep_folder(
        self, folder: GuestFolder, prefix: str, captions: Mapping[str, str], max_bytes: int
    ) -> dict[str, ArtifactDraft]:
        """Keeps everything below `out/`, by path below it. What cannot be kept is noted, not fatal."""
        loop = asyncio.get_running_loop()
        listing = await loop.run_in_executor(self._threads, folder.files, "out", _FILES_MAX)
        drafts: dict[str, ArtifactDraft] = {}
        taken: set[str] = set()
        left_bytes = max_bytes
        for file in listing.files:
            path = file.path.removeprefix("out/")
            name = free_name(path, taken)
            taken.add(name)
            source = _Source(name, kind_of(path), file.size_bytes, captions.get(path))
            draft = await self._keep_file(folder, file, source, prefix, left_bytes)
            left_bytes -= draft.size_bytes if draft.state is not ArtifactState.MISSING else 0
            drafts[path] = draft
        if listing.is_cut:
            drafts[_MORE] = _Source(_MORE, ArtifactKind.DOWNLOAD, 0).missing(
                f"There were more files than are kept: {_FILES_MAX} of a run at most."
            )
        return drafts

    async def keep_bytes(
        self, name: str, data: bytes, prefix: str, kind: ArtifactKind, taken: set[str] | None = None
    ) -> ArtifactDraft:
        """Keeps a file that we made ourselves, under a name that is not among the `taken`, to which it is added."""
        taken = set() if taken is None else taken
        name = free_name(name, taken)
        taken.add(name)
        descriptor = os.memfd_create("artifact")
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(data)
            return await self._keep(_Source(name, kind, len(data)), descriptor, prefix, len(data))
        finally:
            os.close(descriptor)

    async def read(self, location: str, state: ArtifactState, max_bytes: int) -> bytes:
        """The bytes of an artifact, wherever it lies. Raises `TooLarge`, NotFound or Unavailable."""
        holder = self.spool if state is ArtifactState.LOCAL and self.spool else self.store
        return await holder.read(location, max_bytes)

    def path_of(self, artifact: Artifact) -> Path | None:
        """Where it lies on this machine; None when it lies in a remote store. Raises NotFound when it is missing."""
        holder = self._holder(artifact)
        if not isinstance(holder, LocalStore):
            return None
        try:
            return holder.path(artifact.location or "")
        except FileNotFoundError:
            raise NotFound("That file is no longer in the store.") from None

    async def bytes_of(self, artifact: Artifact, max_bytes: int) -> bytes:
        """The whole file. Raises `TooLarge`, NotFound, or Unavailable, also when these are not the bytes we kept."""
        data = await self._holder(artifact).read(artifact.location or "", max_bytes)
        if artifact.sha256 is not None and artifact.sha256 != hashlib.sha256(data).hexdigest():
            raise damaged(artifact)
        return data

    async def fetch(self, artifact: Artifact, descriptor: int) -> None:
        """Copies the file, however large, into an open one. Raises as `bytes_of` does."""
        stored = await self._holder(artifact).fetch(artifact.location or "", descriptor)
        if artifact.sha256 is not None and artifact.sha256 != stored.sha256:
            raise damaged(artifact)

    async def link_of(self, artifact: Artifact, ttl_s: int) -> str | None:
        """A link of the remote store itself; None when it lies on this machine."""
        return await self._holder(artifact).link(artifact.location or "", name=artifact.name, ttl_s=ttl_s)

    async def delete(self, artifact: Artifact | ArtifactDraft) -> None:
        """Removes it from where it lies; absent is success. Raises NotFound for one that lies nowhere, Unavailable."""
        await self._holder(artifact).delete(artifact.location or "")

    def _holder(self, artifact: Artifact | ArtifactDraft) -> ArtifactStore:
        if artifact.state is ArtifactState.MISSING or not artifact.location:
            raise NotFound(f"{artifact.name} is not there. {artifact.note or ''}".strip())
        return self.spool if artifact.state is ArtifactState.LOCAL and self.spool else self.store

    async def _keep_file(
        self, folder: GuestFolder, file: GuestFile, source: _Source, prefix: str, max_bytes: int
    ) -> ArtifactDraft:
        try:
            with folder.open_file(file.path) as descriptor:
                if source.kind is ArtifactKind.SCREENSHOT and not is_picture(descriptor):
                    source = replace(source, kind=ArtifactKind.DOWNLOAD)
                return await self._keep(source, descriptor, prefix, max_bytes)
        except (Trap, OSError):
            return source.missing("The file could not be read.")

    async def _keep(self, source: _Source, descriptor: int, prefix: str, max_bytes: int) -> ArtifactDraft:
        key, content_type, place = f"{prefix}/{source.name}", type_of(source.name), self.spool or self.store
        state = ArtifactState.LOCAL if self.spool else ArtifactState.STORED
        try:
            stored = await place.put(key, descriptor, content_type=content_type, max_bytes=max_bytes)
        except TooLarge:
            return source.missing("The files of the run are larger than what is kept.")
        except CcdError as error:
            _log.warning("%s could not be kept: %s", key, error.message)
            return source.missing(error.message)
        return source.kept(state, stored)


@dataclass(frozen=True, slots=True)
class _Source:
    """A file on its way into the store."""

    name: str
    kind: ArtifactKind
    size_bytes: int
    caption: str | None = None

    @property
    def content_type(self) -> str:
        """By its name, unless that says picture and it is none."""
        guessed = type_of(self.name)
        is_fake = guessed.startswith("image/") and self.kind not in (ArtifactKind.SCREENSHOT, ArtifactKind.CHART)
        return "application/octet-stream" if is_fake else guessed

    def kept(self, state: ArtifactState, stored: Stored) -> ArtifactDraft:
        return ArtifactDraft(
            name=self.name,
            kind=self.kind,
            content_type=self.content_type,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            caption=self.caption,
            state=state,
            location=stored.location,
        )

    def missing(self, note: str) -> ArtifactDraft:
        return ArtifactDraft(
            name=self.name,
            kind=self.kind,
            content_type=self.content_type,
            size_bytes=self.size_bytes,
            caption=self.caption,
            state=ArtifactState.MISSING,
            note=note,
        )


def damaged(artifact: Artifact) -> Unavailable:
    """The store gave other bytes than it was given."""
    message = f"{artifact.name} is damaged in the store: these are not the bytes that the run left."
    return Unavailable("store", message, "look after the disk or the bucket")


def kind_of(path: str) -> ArtifactKind:
    """What a file below `out/` is, by its place and ending."""
    suffix = PurePosixPath(path).suffix.lower()
    if path.startswith("logs/"):
        return ArtifactKind.LOG
    if suffix in _IMAGES:
        return ArtifactKind.SCREENSHOT
    if suffix in _TABLES:
        return ArtifactKind.TABLE
    return ArtifactKind.DOWNLOAD


def type_of(name: str) -> str:
    """The content type by the file's ending; never one that a browser would run as a page of ours."""
    suffix = PurePosixPath(name).suffix.lower()
    guessed = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    is_active = any(word in guessed for word in ("html", "xml", "script", "svg"))
    return "text/plain" if is_active else guessed
