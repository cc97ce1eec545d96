"""Screenshots of what the agent and the person see."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from session.browser import Browser, page_screenshot
from session.desktop import Desktop
from session.devtools import DevToolsError
from session.pagewatch import evaluate
from session.places import Places
from session.tabs import Tabs

_TEXT_BYTES = 20_000
_TEXT = f"(document.body ? document.body.innerText : '').slice(0, {_TEXT_BYTES})"


@dataclass(frozen=True)
class Scene:
    """A moment: a picture (path below guest/) and the page it shows, each None when there is none."""

    screenshot: str | None
    url: str | None
    title: str | None


class Camera:
    """Takes the page in use through DevTools, and the whole display where that does not answer."""

    def __init__(self, places: Places, desktop: Desktop, browser: Browser, tabs: Tabs) -> None:
        self._places = places
        self._desktop = desktop
        self._browser = browser
        self._tabs = tabs
        self._numbers = itertools.count(1)

    async def shoot(self) -> Scene:
        """A numbered picture."""
        return await self.take(f"shot-{next(self._numbers)}.png")

    async def take(self, name: str) -> Scene:
        """Write the picture to `out/<name>`. Never raises; takes at most 8 s."""
        path = self._places.out / name
        page = await self._tabs.current()
        url, title = (page.url, page.title) if page is not None else (None, None)
        try:
            if page is None:
                raise DevToolsError("no page")
            picture = await page_screenshot(self._browser.devtools, page.session)
            taken = _write(path, picture)
        except (DevToolsError, OSError):
            taken = await self._desktop.screenshot(path)
        return Scene(f"out/{name}" if taken else None, url, title)

    async def save_text(self, path: Path) -> None:
        """Write what the page in use says in words, at most 20 KB. Never raises; no file when there is no page."""
        page = await self._tabs.current()
        if page is None:
            return
        try:
            text = str(await evaluate(self._browser.devtools, page, _TEXT) or "")
            _write(path, text.encode("utf-8", "replace")[:_TEXT_BYTES])
        except (DevToolsError, OSError, KeyError):
            return


def _write(path: Path, picture: bytes) -> bool:
    return path.write_bytes(picture) > 0
