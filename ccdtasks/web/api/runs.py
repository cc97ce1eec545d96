"""`/api/v1/runs`"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from aiohttp import web

from ccdtasks.core import Core
from ccdtasks.core.pages import Page
from ccdtasks.core.runs.shapes import event_shape, file_shape, run_row_shape, run_shape
from ccdtasks.db.enums import RunStatus
from ccdtasks.db.models import Artifact
from ccdtasks.errors import Invalid
from ccdtasks.web.api.asking import answer, answer_page, body_of, flag_in, limit_in, one_of, texts_in
from ccdtasks.web.auth import actor_of
from ccdtasks.web.context import CORE

_ON_THIS_MACHINE = ("path", "location")


async def list_runs(request: web.Request) -> web.Response:
    """The runs that the token's user may see, newest first; of one task, or in one state."""
    actor, core, query = await actor_of(request), request.app[CORE], request.query
    status = one_of(request, "status", RunStatus)
    page = await core.runs.page(actor, query.get("task"), status, query.get("after"), limit_in(request))
    return answer_page(page, run_row_shape)


async def start_run(request: web.Request) -> web.Response:
    """Puts a run of a task into the queue."""
    actor, core = await actor_of(request), request.app[CORE]
    body = await body_of(request, "task", "values")
    if not isinstance(body.get("task"), str):
        raise Invalid("task", "Say which task to run.")
    started = await core.runs.start(actor, body["task"], texts_in(body, "values"))
    name = (await core.runs.load(started.run.id)).task.task_name
    return answer(run_shape(started.run, name, started.position), status=201)


async def show_run(request: web.Request) -> web.Response:
    """One run with its result and its files, by the beginning of its id."""
    actor, core = await actor_of(request), request.app[CORE]
    view = await core.runs.load((await core.runs.find(actor, request.match_info["run"])).id)
    shape = run_shape(view.run, view.task.task_name, view.position)
    page = await core.artifacts.page(actor, view.run.id)
    files = [_file(core, artifact) for artifact in page.rows]
    more = {"report": core.links.run(view.run.id), "files": files, "more_files": page.next_after is not None}
    return answer({**shape, "result": view.run.result_data, **more})


async def stop_run(request: web.Request) -> web.Response:
    """Stops a run; `force` ends its container at once."""
    actor, core = await actor_of(request), request.app[CORE]
    force = flag_in(await body_of(request, "force"), "force")
    run = await core.runs.find(actor, request.match_info["run"])
    stopped = await core.runs.stop(actor, str(run.id), force)
    return answer(run_shape(stopped, (await core.runs.load(stopped.id)).task.task_name))


async def list_files(request: web.Request) -> web.Response:
    """The files of a run, each with its link or the reason why it is missing."""
    actor, core = await actor_of(request), request.app[CORE]
    run = await core.runs.find(actor, request.match_info["run"])
    page: Page[Artifact] = await core.artifacts.page(actor, run.id, request.query.get("after"), limit_in(request))
    return answer_page(page, lambda artifact: _file(core, artifact))


async def list_events(request: web.Request) -> web.Response:
    """The log of a run, in order; `next` is the time after which the next page begins."""
    actor, core = await actor_of(request), request.app[CORE]
    run = await core.runs.find(actor, request.match_info["run"])
    limit = limit_in(request)
    events = await core.runs.events(actor, run.id, _time_in(request, "after"), limit)
    is_more = len(events) == limit
    return answer(
        {"items": [event_shape(each) for each in events], "next": events[-1].at.isoformat() if is_more else None}
    )


ROUTES = (
    web.get("/api/v1/runs", list_runs),
    web.post("/api/v1/runs", start_run),
    web.get("/api/v1/runs/{run}", show_run),
    web.post("/api/v1/runs/{run}/stop", stop_run),
    web.get("/api/v1/runs/{run}/files", list_files),
    web.get("/api/v1/runs/{run}/events", list_events),
)


def _file(core: Core, artifact: Artifact) -> dict[str, Any]:
    shape = {key: value for key, value in file_shape(artifact, core.config).items() if key not in _ON_THIS_MACHINE}
    is_there = artifact.location is not None
    return {**shape, "link": (core.links.file(artifact.id) or core.links.file_path(artifact.id)) if is_there else None}


def _time_in(request: web.Request, name: str) -> datetime | None:
    text = request.query.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Invalid(name, f"{name} must be a time with its zone, such as 2026-01-17T15:30:00+00:00.")
    return moment
