"""Files of runs. Every byte in them is a stranger's: a browser saves them, and shows nothing but what is an image."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from ccdtasks.adapters.storage import attachment
from ccdtasks.db.models import Artifact
from ccdtasks.errors import NotFound
from ccdtasks.web.auth import actor_of, id_in
from ccdtasks.web.context import CORE, FILES

_SEALED = "default-src 'none'; frame-ancestors 'none'; sandbox"
# A browser shows a picture in a page of its own making, with styles; in a sandbox that page could not load the picture.
_SHOWN = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_SHOWN_MAX_BYTES = 10 << 20
_HEAD_BYTES = 16
_REMOTE_LINK_S = 300

_IMAGES = (
    (b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_WEBP = (b"RIFF", b"WEBP")


async def show_file(request: web.Request) -> web.StreamResponse:
    """A file, to be saved; with `?show=1` an image is shown instead, when its bytes say that it is one.

    A signed link opens it without a login; ranges are answered, so that a broken download goes on.
    """
    core = request.app[CORE]
    artifact_id = id_in(request, "artifact")
    if "t" in request.query:
        core.links.require_file(artifact_id, request.query["t"])
        artifact = await core.artifacts.load(artifact_id)
    else:
        actor = await actor_of(request)
        artifact = await core.artifacts.load(artifact_id)
        await core.artifacts.find(actor, artifact.run_id, artifact.name)
    path = await asyncio.to_thread(request.app[FILES].path_of, artifact)
    is_wanted_shown = request.query.get("show") == "1" and artifact.size_bytes <= _SHOWN_MAX_BYTES
    if path is not None:
        return await _local(artifact, path, is_wanted_shown)
    return await _remote(request, artifact, is_wanted_shown)


ROUTES = (web.get("/files/{artifact}", show_file),)


def image_type(head: bytes) -> str | None:
    """The type of the image that begins with these bytes; None when they are no image's."""
    if head[:4] == _WEBP[0] and head[8:12] == _WEBP[1]:
        return "image/webp"
    return next((kind for mark, kind in _IMAGES if head.startswith(mark)), None)


async def _local(artifact: Artifact, path: Path, is_wanted_shown: bool) -> web.StreamResponse:
    try:
        head = await asyncio.to_thread(_head, path)
    except OSError:
        raise NotFound(f"{artifact.name} is no longer where it was kept.") from None
    kind = image_type(head) if is_wanted_shown else None
    return web.FileResponse(path, headers=_headers(artifact, kind))


async def _remote(request: web.Request, artifact: Artifact, is_wanted_shown: bool) -> web.StreamResponse:
    files = request.app[FILES]
    if is_wanted_shown:
        data = await files.bytes_of(artifact, _SHOWN_MAX_BYTES)
        kind = image_type(data[:_HEAD_BYTES])
        if kind is not None:
            return web.Response(body=data, headers=_headers(artifact, kind))
    link = await files.link_of(artifact, _REMOTE_LINK_S)
    if link is None:
        raise NotFound(f"{artifact.name} is not there.")
    return web.Response(status=302, headers={"Location": link})


def _headers(artifact: Artifact, image: str | None) -> dict[str, str]:
    return {
        "Content-Security-Policy": _SHOWN if image else _SEALED,
        "Content-Disposition": "inline" if image else attachment(artifact.name),
        "Content-Type": image or "application/octet-stream",
    }


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)
