"""`/api/v1/tasks/{task}/schedule`, `pause`, `resume`, and `/api/v1/cron`"""

from __future__ import annotations

from aiohttp import web

from ccdtasks.core.runs.shapes import preview_shape, schedule_shape, shown_shape, task_shape
from ccdtasks.errors import Invalid
from ccdtasks.web.api.asking import answer, body_of, flag_in, limit_in, text_in, texts_in
from ccdtasks.web.auth import actor_of
from ccdtasks.web.context import CORE


async def show_schedule(request: web.Request) -> web.Response:
    """When a task runs by itself, and what became of its schedule."""
    actor, core = await actor_of(request), request.app[CORE]
    return answer(shown_shape(await core.schedules.show(actor, request.match_info["task"], limit_in(request))))


async def set_schedule(request: web.Request) -> web.Response:
    """Lets a task run by itself; what is left out stays as it is."""
    actor, core = await actor_of(request), request.app[CORE]
    body = await body_of(request, "when", "timezone", "values")
    when, timezone, values = text_in(body, "when"), text_in(body, "timezone"), texts_in(body, "values")
    if when is timezone is None and not values:
        raise Invalid("when", "Say when it shall run.", "cron like 0 9 * * 1-5, or at 2026-12-24 09:00")
    return answer(schedule_shape(await core.schedules.set(actor, request.match_info["task"], when, timezone, values)))


async def remove_schedule(request: web.Request) -> web.Response:
    """Takes the schedule away; the task stays."""
    actor, core = await actor_of(request), request.app[CORE]
    return answer(task_shape(await core.schedules.remove(actor, request.match_info["task"])))


async def pause_task(request: web.Request) -> web.Response:
    """Lets a task rest; with `confirm` also one that others run after."""
    actor, core = await actor_of(request), request.app[CORE]
    confirm = flag_in(await body_of(request, "confirm"), "confirm")
    return answer(task_shape(await core.schedules.pause(actor, request.match_info["task"], confirm)))


async def resume_task(request: web.Request) -> web.Response:
    """Lets a paused task go on."""
    actor, core = await actor_of(request), request.app[CORE]
    return answer(schedule_shape(await core.schedules.resume(actor, request.match_info["task"])))


async def preview_schedule(request: web.Request) -> web.Response:
    """What a schedule means, in words and in its next times, without any task."""
    await actor_of(request)
    query, core = request.query, request.app[CORE]
    shown = await core.schedules.preview(query.get("when", ""), query.get("timezone"), count=limit_in(request))
    return answer(preview_shape(shown))


ROUTES = (
    web.get("/api/v1/tasks/{task}/schedule", show_schedule),
    web.post("/api/v1/tasks/{task}/schedule", set_schedule),
    web.post("/api/v1/tasks/{task}/unschedule", remove_schedule),
    web.post("/api/v1/tasks/{task}/pause", pause_task),
    web.post("/api/v1/tasks/{task}/resume", resume_task),
    web.get("/api/v1/cron", preview_schedule),
)
