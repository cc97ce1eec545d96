"""`/api/v1/tasks`"""

from __future__ import annotations

from typing import cast, get_args

from aiohttp import web

from ccdtasks.core.runs.shapes import edited_shape, task_row_shape, task_shape
from ccdtasks.core.tasks.tasks import TaskDraft, TaskFilter
from ccdtasks.errors import Invalid
from ccdtasks.web.api.asking import answer, answer_page, body_of, flag_in, limit_in, object_in, text_in
from ccdtasks.web.auth import actor_of
from ccdtasks.web.context import CORE


async def list_tasks(request: web.Request) -> web.Response:
    """The tasks that the token's user may see."""
    actor, core = await actor_of(request), request.app[CORE]
    wanted = request.query.get("filter", "all")
    if wanted not in get_args(TaskFilter):
        raise Invalid("filter", f"filter must be one of {', '.join(get_args(TaskFilter))}.")
    page = await core.tasks.page(actor, cast(TaskFilter, wanted), request.query.get("after"), limit_in(request))
    return answer_page(page, task_row_shape)


async def show_task(request: web.Request) -> web.Response:
    """One task, by its name."""
    actor = await actor_of(request)
    return answer(task_shape(await request.app[CORE].tasks.find(actor, request.match_info["task"])))


async def create_task(request: web.Request) -> web.Response:
    """Makes a task; Discord gets its channel with the first run."""
    actor, core = await actor_of(request), request.app[CORE]
    body = await body_of(request, "name", "prompt", "type", "description", "config", "parameters")
    draft = TaskDraft(
        name=text_in(body, "name") or "",
        prompt=text_in(body, "prompt") or "",
        task_type=text_in(body, "type"),
        description=text_in(body, "description"),
        config=object_in(body, "config"),
        parameters={name: object_in(body["parameters"], name) for name in object_in(body, "parameters")},
    )
    return answer(task_shape(await core.tasks.create(actor, draft)), status=201)


async def edit_task(request: web.Request) -> web.Response:
    """Changes a task by its fields, all of them or none; null puts one back to its default."""
    actor, core = await actor_of(request), request.app[CORE]
    changes = object_in(await body_of(request, "changes"), "changes")
    if not changes:
        raise Invalid("changes", "Say what to change.", 'such as {"changes": {"timeout": "1h"}}')
    return answer(edited_shape(await core.tasks.edit(actor, request.match_info["task"], changes)))


async def delete_task(request: web.Request) -> web.Response:
    """Deletes a task; its runs stay. With `confirm` also one that others run after."""
    actor, core = await actor_of(request), request.app[CORE]
    confirm = flag_in(await body_of(request, "confirm"), "confirm")
    return answer(task_shape(await core.tasks.delete(actor, request.match_info["task"], confirm)))


ROUTES = (
    web.get("/api/v1/tasks", list_tasks),
    web.post("/api/v1/tasks", create_task),
    web.get("/api/v1/tasks/{task}", show_task),
    web.post("/api/v1/tasks/{task}", edit_task),
    web.post("/api/v1/tasks/{task}/delete", delete_task),
)
