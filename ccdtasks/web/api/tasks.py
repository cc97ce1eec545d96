"""`/api/v1/tasks`"""

from __future__ import annotations

from typing import cast, get_args

from aiohttp import web

from ccdtasks.core.shapes import task_row_shape, task_shape
from ccdtasks.core.tasks import TaskFilter
from ccdtasks.errors import Invalid
from ccdtasks.web.api.asking import answer, answer_page, limit_in
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


ROUTES = (web.get("/api/v1/tasks", list_tasks), web.get("/api/v1/tasks/{task}", show_task))
