"""The files of a run: screenshots to look at, everything else to save."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ccdtasks.core.runs.report import REPORT
from ccdtasks.db.enums import ArtifactKind, ArtifactState
from ccdtasks.db.models import Artifact
from ccdtasks.times import size_text
from ccdtasks.web.report.address import Address
from ccdtasks.web.report.words import Room

PAGE_SHOTS = 12
PAGE_FILES = 50

Link = Callable[[Artifact], str]

_WORDS = {
    ArtifactKind.SCREENSHOT: "picture",
    ArtifactKind.TABLE: "table",
    ArtifactKind.RESULT: "result",
    ArtifactKind.DOWNLOAD: "file",
    ArtifactKind.LOG: "log",
}
_FIRST = (ArtifactKind.TABLE, ArtifactKind.RESULT, ArtifactKind.DOWNLOAD, ArtifactKind.LOG, ArtifactKind.SCREENSHOT)


@dataclass(frozen=True, slots=True)
class Shot:
    """A screenshot. `href` shows it alone."""

    name: Markup
    caption: Markup
    href: str


@dataclass(frozen=True, slots=True)
class File:
    """A file. `href`: None for one that is lost, and `note` says why."""

    name: Markup
    kind: str
    size: str
    caption: Markup
    href: str | None
    note: Markup


@dataclass(frozen=True, slots=True)
class Files:
    """What the page shows of them, and links to the rest."""

    shots: Sequence[Shot]
    shot_count: int
    shots_earlier: str | None
    shots_later: str | None
    files: Sequence[File]
    count: int
    size: str
    files_earlier: str | None
    files_later: str | None
    failure_report: str | None


def files_of(artifacts: Sequence[Artifact], link: Link, address: Address, room: Room) -> Files:
    """The files in the order in which people want them."""
    there = [each for each in artifacts if each.state is not ArtifactState.MISSING]
    shots = sorted((each for each in there if each.kind is ArtifactKind.SCREENSHOT), key=_shown_first)
    ordered = sorted(artifacts, key=lambda each: (_FIRST.index(each.kind), each.name))
    shot_start, file_start = _start(address, "shots", len(shots)), _start(address, "files", len(ordered))
    report = next((each for each in there if each.name == REPORT), None)
    return Files(
        shots=[
            Shot(room.take(each.name, 120), room.take(each.caption or "", 200), f"{_href(link(each))}show=1")
            for each in shots[shot_start : shot_start + PAGE_SHOTS]
        ],
        shot_count=len(shots),
        shots_earlier=_earlier(address, "shots", shot_start, PAGE_SHOTS),
        shots_later=_later(address, "shots", shot_start + PAGE_SHOTS, len(shots)),
        files=[_file(each, link, room) for each in ordered[file_start : file_start + PAGE_FILES]],
        count=len(ordered),
        size=size_text(sum(each.size_bytes for each in there)),
        files_earlier=_earlier(address, "files", file_start, PAGE_FILES),
        files_later=_later(address, "files", file_start + PAGE_FILES, len(ordered)),
        failure_report=link(report) if report else None,
    )


def _file(artifact: Artifact, link: Link, room: Room) -> File:
    is_there = artifact.state is not ArtifactState.MISSING
    return File(
        name=room.take(artifact.name, 150),
        kind=_WORDS[artifact.kind],
        size=size_text(artifact.size_bytes),
        caption=room.take(artifact.caption or "", 200),
        href=link(artifact) if is_there else None,
        note=room.take("" if is_there else artifact.note or "It is lost.", 200),
    )


def _shown_first(artifact: Artifact) -> tuple[bool, object, str]:
    """The last picture of a run first, then the others in the order in which they were taken."""
    return artifact.name != "final.png", artifact.created_at, artifact.name


def _start(address: Address, name: str, count: int) -> int:
    return min(address.start(name), max(0, count - 1))


def _earlier(address: Address, name: str, start: int, size: int) -> str | None:
    return address.to(name, **{name: max(0, start - size) or None}) if start else None


def _later(address: Address, name: str, end: int, count: int) -> str | None:
    return address.to(name, **{name: end}) if end < count else None


def _href(link: str) -> str:
    return f"{link}{'&' if '?' in link else '?'}"
