"""The server: listens where the configuration says, within limits of size and time."""

from __future__ import annotations

import errno
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from ccdtasks.config import BadConfig
from ccdtasks.core import Core
from ccdtasks.web import auth, files, health, home, pages, prometheus, report
from ccdtasks.web.api import metrics, notifications, runs, schedules, tasks
from ccdtasks.web.context import CHECKS, CORE, FILES, Check, Files
from ccdtasks.web.errors import show_mistakes
from ccdtasks.web.headers import secure
from ccdtasks.web.visitors import VISITOR, note_visitor

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1 << 20
_IDLE_S = 30.0
_CLOSE_S = 5.0
_LONGEST_LOGGED = 200

_PARTS = (
    pages.ROUTES,
    home.ROUTES,
    auth.ROUTES,
    health.ROUTES,
    files.ROUTES,
    tasks.ROUTES,
    schedules.ROUTES,
    runs.ROUTES,
    metrics.ROUTES,
    notifications.ROUTES,
    report.ROUTES,
    prometheus.ROUTES,
)


def build(core: Core, files: Files, checks: Mapping[str, Check]) -> web.Application:
    """The application with all routes. `checks`: what `/readyz` asks, by the name of the part."""
    app = web.Application(middlewares=[note_visitor, show_mistakes], client_max_size=MAX_BODY_BYTES)
    app[CORE], app[FILES], app[CHECKS] = core, files, checks
    auth.prepare(app)
    health.prepare(app)
    app.on_response_prepare.append(secure)
    for routes in _PARTS:
        app.add_routes(routes)
    return app


@asynccontextmanager
async def open_web(core: Core, files: Files, checks: Mapping[str, Check]) -> AsyncIterator[int | None]:
    """Serves until it is left; gives the port, None when `[server] enabled` is off.

    Raises BadConfig when it cannot listen, Unavailable when the key of links cannot be used.
    """
    server = core.config.server
    if not server.enabled:
        yield None
        return
    core.vault.check()
    runner = web.AppRunner(
        build(core, files, checks),
        access_log_class=_AccessLog,
        access_log=logging.getLogger("ccdtasks.web.access"),
        keepalive_timeout=_IDLE_S,
        shutdown_timeout=_CLOSE_S,
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, server.host, server.port).start()
        except OSError as error:
            raise BadConfig([_why_not(server.host, server.port, error)]) from error
        port: int = runner.addresses[0][1]
        log.info(
            "the web part listens on http://%s:%d", f"[{server.host}]" if ":" in server.host else server.host, port
        )
        yield port
    finally:
        await runner.cleanup()


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"[server] port {port} is used by another program on {host}: choose another one."
    if error.errno == errno.EACCES:
        return f"[server] port {port} needs more rights than we have: choose one from 1024 on."
    return f"[server] host {host} is no address of this machine, or cannot be listened on."


class _AccessLog(AbstractAccessLogger):
    """One line a request: without the query, which holds the tokens of links."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        path = urlsplit(request.raw_path).path[:_LONGEST_LOGGED]
        visitor = request.get(VISITOR, request.remote)  # what is not HTTP reaches no middleware
        level = logging.DEBUG if path in health.PATHS else logging.INFO
        self.logger.log(level, "%s %s %s %d %.0f ms", visitor, request.method, path, response.status, time * 1000)

    @property
    def enabled(self) -> bool:
        return self.logger.isEnabledFor(logging.INFO)
