"""What a run gets from the tasks it runs after: whose files and result, and what `@other-task/file` stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.records.artifacts import artifacts_of
from ccdtasks.core.records.graph import load_graph, names_of
from ccdtasks.core.text import clean_line
from ccdtasks.db.enums import ArtifactKind, RunStatus
from ccdtasks.db.models import Artifact, TaskDependency, TaskRun
from ccdtasks.errors import Invalid

FOLDER = "/run/ccdtasks/host/inputs"
"""Where a session finds them: a folder for each task."""

RESULT = "result.json"
"""The result of the upstream run, beside its files."""

MAIN = "output_file"
"""`@other-task/output_file` is the file that the other task was asked to write, else the main file it left."""

_REFERENCE = re.compile(r"@([^/\s@]+)/(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Upstream:
    """The run of another task that a run builds on."""

    task_name: str
    run: TaskRun
    artifacts: Sequence[Artifact]

    def file(self, wanted: str) -> str | None:
        """The name of the file that `wanted` stands for: a file, a parameter that names one, `output_file`."""
        names = [each.name for each in given_files(self.artifacts)]
        asked = self.run.parameters.get(wanted)
        if isinstance(asked, str) and PurePosixPath(asked).name in names:
            return PurePosixPath(asked).name
        if wanted in (*names, RESULT):
            return wanted
        main = main_file(self.run, self.artifacts) if wanted == MAIN else None
        return main.name if main else None

    def path(self, name: str) -> str:
        """Where the session finds a file."""
        return f"{FOLDER}/{self.task_name}/{name}"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run gets: `values` with the paths of upstream files in place of references, and whose files they are."""

    values: Mapping[str, str]
    upstreams: Sequence[Upstream]


def given_files(artifacts: Sequence[Artifact]) -> list[Artifact]:
    """The files that are handed on: all but logs, and but one that has the name of the result."""
    return [each for each in artifacts if each.kind is not ArtifactKind.LOG and each.name != RESULT]


def main_file(run: TaskRun, artifacts: Sequence[Artifact]) -> Artifact | None:
    """The file that a person would call the run's output: named in its result, else a download, else a table."""
    files = {each.name: each for each in given_files(artifacts)}
    for named in (run.result_data or {}).get("files") or ():
        if PurePosixPath(str(named)).name in files:
            return files[PurePosixPath(str(named)).name]
    for kind in (ArtifactKind.DOWNLOAD, ArtifactKind.TABLE):
        for each in files.values():
            if each.kind is kind:
                return each
    return None


def reference(value: str) -> tuple[str, str] | None:
    """The task and the file that a value like `@scrape-news/output_file` names, None for any other value."""
    match = _REFERENCE.fullmatch(value)
    return (match[1].lower(), match[2]) if match else None


def resolved(values: Mapping[str, str], upstreams: Sequence[Upstream], expected: Sequence[str]) -> dict[str, str]:
    """The values with the paths of upstream files in place of references.

    `expected`: the names of all tasks that the run's task runs after; `@somebody/else` is plain text. Raises
    Invalid(name of the parameter) when there is no such file.
    """
    by_name = {each.task_name: each for each in upstreams}
    paths: dict[str, str] = {}
    for name, value in values.items():
        wanted = reference(value)
        if wanted is None or wanted[0] not in (*expected, *by_name):
            paths[name] = value
            continue
        task_name, file = wanted
        if task_name not in by_name:
            raise Invalid(name, f"{task_name} has no completed run yet, so there is no file for `{name}`.")
        found = by_name[task_name].file(file)
        if found is None:
            raise Invalid(name, f"{task_name} left no file `{clean_line(file, 80)}`.")
        paths[name] = by_name[task_name].path(found)
    return paths


async def latest_completed(session: AsyncSession, task_id: UUID) -> TaskRun | None:
    """The task's last good run."""
    return await session.scalar(
        select(TaskRun)
        .where(TaskRun.task_id == task_id, TaskRun.status == RunStatus.COMPLETED)
        .order_by(TaskRun.created_at.desc(), TaskRun.id.desc())
        .limit(1)
    )


async def latest_upstreams(session: AsyncSession, task_id: UUID) -> tuple[list[Upstream], list[str]]:
    """The last good run of each task that this one runs after, and the names of all of those tasks."""
    edges = (await load_graph(session, TaskDependency.task_id == task_id)).upstreams(task_id)
    if not edges:
        return [], []
    names = await names_of(session, {edge.upstream_id for edge in edges})
    found = [(names[edge.upstream_id], await latest_completed(session, edge.upstream_id)) for edge in edges]
    upstreams = [Upstream(name, run, await artifacts_of(session, run.id)) for name, run in found if run]
    return upstreams, list(names.values())


async def upstreams_of(session: AsyncSession, run: TaskRun) -> tuple[list[Upstream], list[str]]:
    """What the run builds on: as noted when it was queued, else the last good runs."""
    if run.upstream_runs is None:
        return await latest_upstreams(session, run.task_id)
    upstreams = []
    for name, run_id in run.upstream_runs.items():
        found = await session.get(TaskRun, UUID(run_id))
        if found is not None:
            upstreams.append(Upstream(name, found, await artifacts_of(session, found.id)))
    return upstreams, list(run.upstream_runs)


def as_row(upstreams: Sequence[Upstream]) -> dict[str, str] | None:
    """As the column `upstream_runs` holds it."""
    return {each.task_name: str(each.run.id) for each in upstreams} or None
