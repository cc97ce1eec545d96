"""Follows all tabs, frames and workers of Chromium, and knows which tab is the one in use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from session.devtools import DevTools, DevToolsError
from session.processes import started
from session.traffic import PageLoad, Traffic

_AUTO_ATTACH = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}

# told: url, title, load_ms, status
PageLoaded = Callable[[str, str, int, int | None], None]
Warn = Callable[[str, str], None]


@dataclass(frozen=True)
class Page:
    """What a tab shows now."""

    session: str
    target_id: str
    url: str
    title: str


class Tabs:
    """Attached to everything that can load something, from its first request on."""

    def __init__(self, page_loaded: PageLoaded, warn: Warn, start_url: str | None) -> None:
        self.traffic = Traffic()
        self._page_loaded = page_loaded
        self._warn = warn
        self._start_url = start_url
        self._devtools: DevTools | None = None
        self._attaching: set[asyncio.Future[dict[str, Any]]] = set()
        self._targets: dict[str, str] = {}  # session id -> target id
        self._pages: list[str] = []  # sessions of tabs, the one used last at the end
        self._titles: set[asyncio.Task[None]] = set()

    async def attach(self, devtools: DevTools) -> None:
        """Begin with a fresh Chromium; when this returns, nothing it loads goes unseen. Raises DevToolsError."""
        self._devtools = devtools
        self._targets.clear()
        self._pages.clear()
        await devtools.call("Target.setAutoAttach", _AUTO_ATTACH)
        # Those of the tabs that were there already; one may be closed meanwhile.
        await asyncio.gather(*self._attaching, return_exceptions=True)

    def take(self, method: str, params: dict[str, Any], session: str) -> None:
        """Handle one DevTools event."""
        if method == "Target.attachedToTarget":
            self._attached(params["sessionId"], params["targetInfo"])
        elif method == "Target.detachedFromTarget":
            self._detached(params["sessionId"])
        elif method == "Inspector.targetCrashed":
            self._warn("tab_crashed", "a page crashed, often for lack of memory; its tab is empty until it is reloaded")
        elif session:
            if method == "Page.frameNavigated" and "parentId" not in params["frame"]:
                self._used(session)
            load = self.traffic.take(method, params, self._targets[session] if session in self._pages else "")
            if load is not None:
                title = asyncio.create_task(self._tell(load, session))
                self._titles.add(title)
                title.add_done_callback(self._titles.discard)

    async def current(self) -> Page | None:
        """The tab used last, or None when there is none or it does not answer."""
        if not self._pages or self._devtools is None:
            return None
        session = self._pages[-1]
        target_id = self._targets[session]
        try:
            answer = await self._devtools.call("Target.getTargetInfo", {"targetId": target_id}, timeout_s=2)
        except DevToolsError:
            return None
        info = answer["targetInfo"]
        return Page(session, target_id, info["url"], info["title"])

    def _attached(self, session: str, info: dict[str, Any]) -> None:
        devtools = started(self._devtools)
        self._targets[session] = info["targetId"]
        if info["type"] == "page":
            self._pages.append(session)
        if info["type"] in ("page", "iframe"):
            devtools.send("Page.enable", session=session)
        devtools.send("Network.enable", {"maxPostDataSize": 65_536}, session)
        devtools.send("Target.setAutoAttach", _AUTO_ATTACH, session)
        # Everything new waits for this line, so that no request goes uncounted.
        attached = devtools.send("Runtime.runIfWaitingForDebugger", session=session)
        self._attaching.add(attached)
        attached.add_done_callback(self._attaching.discard)
        if self._start_url is not None and info["type"] == "page":
            # Not on Chromium's command line, and not before this answer: its load would go unseen.
            navigation = {"url": self._start_url}
            attached.add_done_callback(lambda _: devtools.send("Page.navigate", navigation, session))
            self._start_url = None

    def _detached(self, session: str) -> None:
        self.traffic.forget(self._targets.pop(session, ""))
        if session in self._pages:
            self._pages.remove(session)

    def _used(self, session: str) -> None:
        if session in self._pages:
            self._pages.remove(session)
            self._pages.append(session)

    async def _tell(self, load: PageLoad, session: str) -> None:
        title = ""
        target_id = self._targets.get(session)
        if target_id is not None:
            try:
                answer = await started(self._devtools).call(
                    "Target.getTargetInfo", {"targetId": target_id}, timeout_s=2
                )
                title = answer["targetInfo"]["title"]
            except DevToolsError:
                pass  # closed meanwhile: the page was loaded all the same
        self._page_loaded(load.url, title, load.load_ms, load.status)
