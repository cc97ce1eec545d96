"""Pages from templates, in which everything is escaped; and the files that go along with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from ccdtasks.errors import NotFound
from ccdtasks.times import duration_text, size_text

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = Path(__file__).parent
_STATIC = _HERE / "static"
_A_DAY = "public, max-age=86400"


def page(
    template: str, *, status: int = 200, has_form: bool = False, headers: dict[str, str] | None = None, **values: object
) -> web.Response:
    """The page of `templates/<template>` with `values`. `has_form`: it sends forms, and browsers say where from."""
    response = web.Response(
        text=_environment().get_template(template).render(values), content_type="text/html", status=status
    )
    if has_form:  # with no-referrer a browser hides the origin of a form even from its own site
        response.headers["Referrer-Policy"] = "same-origin"
    response.headers.update(headers or {})
    return response


async def static(request: web.Request) -> web.StreamResponse:
    """A style sheet, script or sign of ours."""
    name = request.match_info["name"]
    if name not in _versions():
        raise NotFound("There is no such file.")
    return web.FileResponse(_STATIC / name, headers={"Cache-Control": _A_DAY})


async def favicon(_: web.Request) -> web.StreamResponse:
    """Our sign, for pages that cannot name it themselves: pictures, and answers to programs."""
    return web.FileResponse(_STATIC / "icon.svg", headers={"Cache-Control": _A_DAY})


async def robots(_: web.Request) -> web.Response:
    """Nothing here is for search engines."""
    return web.Response(text="User-agent: *\nDisallow: /\n")


ROUTES = (web.get("/static/{name}", static), web.get("/favicon.ico", favicon), web.get("/robots.txt", robots))


@cache
def _versions() -> dict[str, str]:
    """name -> a mark of its content, so that browsers keep a file until an upgrade changes it."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:12] for file in sorted(_STATIC.iterdir())}


def _static_path(name: str) -> str:
    return f"/static/{name}?v={_versions()[name]}"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415  4 MB until a page is asked for

    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters: dict[str, Callable[..., str]] = {"duration": duration_text, "size": size_text, "moment": _moment}
    environment.filters.update(filters)
    environment.globals["static"] = _static_path
    return environment


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
