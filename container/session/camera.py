"""Screenshots of what the agent and the person see."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from session.browser import Browser, page_screenshot
from session.desktop import Desktop
from session.devtools import DevToolsError
from session.places import Places
from session.tabs import Tabs


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


def _write(path: Path, picture: bytes) -> bool:
    return path.write_bytes(picture) > 0
