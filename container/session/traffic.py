"""Counts what the pages load, from DevTools events of all tabs, frames and workers. Pure: events in, numbers out.

Chromium's own calls to its maker are not seen here: they belong to no page.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Totals:
    """Running totals of a session. `bytes_sent` is the size of request heads and bodies, before encryption."""

    pages_loaded: int = 0
    http_requests: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    failed_requests: int = 0
    load_ms_total: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass
class _Request:
    received: int = 0
    failed: bool = False


@dataclass
class _Navigation:
    """The document a tab is loading."""

    url: str
    started: float  # Chromium's monotonic seconds
    request_id: str
    status: int | None = None


@dataclass(frozen=True)
class PageLoad:
    """A page whose load event fired."""

    url: str
    load_ms: int
    status: int | None


class Traffic:
    """Feed it every DevTools event; `totals` is always current."""

    def __init__(self) -> None:
        self.totals = Totals()
        self._requests: dict[str, _Request] = {}
        self._navigations: dict[str, _Navigation] = {}

    def take(self, method: str, params: dict[str, Any], tab_id: str) -> PageLoad | None:
        """Count one event; a page load is handed back. `tab_id` is empty for frames and workers: they load no pages."""
        if method == "Page.loadEventFired":
            return self._loaded(params, tab_id)
        handler = _HANDLERS.get(method)
        if handler is not None:
            handler(self, params, tab_id)
        return None

    def forget(self, tab_id: str) -> None:
        """A tab was closed."""
        self._navigations.pop(tab_id, None)

    def _sent(self, params: dict[str, Any], tab_id: str) -> None:
        request = params["request"]
        if not request["url"].startswith(("http://", "https://")):
            return
        request_id = params["requestId"]
        redirect = params.get("redirectResponse")
        # A navigation of a frame is reported by two sessions: by the one it leaves and by the one it enters.
        if request_id in self._requests and not redirect:
            return
        self.totals.http_requests += 1
        self.totals.bytes_sent += _request_size(request)
        if redirect:
            self.totals.bytes_received += int(redirect.get("encodedDataLength", 0))
        self._requests[request_id] = _Request()
        if params.get("type") == "Document" and params.get("frameId") == tab_id:
            self._navigate(request["url"], params, tab_id)

    def _navigate(self, url: str, params: dict[str, Any], tab_id: str) -> None:
        earlier = self._navigations.get(tab_id)
        redirected = earlier is not None and earlier.request_id == params["requestId"]
        started = earlier.started if earlier is not None and redirected else params["timestamp"]
        self._navigations[tab_id] = _Navigation(url, started, params["requestId"])

    def _responded(self, params: dict[str, Any], tab_id: str) -> None:
        status = int(params["response"].get("status", 0))
        request = self._requests.get(params["requestId"])
        if request is not None and status >= 400 and not request.failed:
            request.failed = True
            self.totals.failed_requests += 1
        navigation = self._navigations.get(tab_id)
        if navigation is not None and navigation.request_id == params["requestId"]:
            navigation.status = status

    def _received(self, params: dict[str, Any], _tab_id: str) -> None:
        request = self._requests.get(params["requestId"])
        if request is not None:
            request.received += int(params.get("encodedDataLength", 0))

    def _finished(self, params: dict[str, Any], _tab_id: str) -> None:
        if self._requests.pop(params["requestId"], None) is not None:
            self.totals.bytes_received += int(params.get("encodedDataLength", 0))

    def _failed(self, params: dict[str, Any], _tab_id: str) -> None:
        request = self._requests.pop(params["requestId"], None)
        if request is None:
            return
        self.totals.bytes_received += request.received
        if not params.get("canceled") and not request.failed:
            self.totals.failed_requests += 1

    def _frame_received(self, params: dict[str, Any], _tab_id: str) -> None:
        self.totals.bytes_received += len(params["response"].get("payloadData", ""))

    def _frame_sent(self, params: dict[str, Any], _tab_id: str) -> None:
        self.totals.bytes_sent += len(params["response"].get("payloadData", ""))

    def _loaded(self, params: dict[str, Any], tab_id: str) -> PageLoad | None:
        navigation = self._navigations.pop(tab_id, None)
        if navigation is None:
            return None  # about:blank, an error page, a frame
        load_ms = max(0, round((params["timestamp"] - navigation.started) * 1000))
        self.totals.pages_loaded += 1
        self.totals.load_ms_total += load_ms
        return PageLoad(navigation.url, load_ms, navigation.status)


_HANDLERS = {
    "Network.requestWillBeSent": Traffic._sent,
    "Network.responseReceived": Traffic._responded,
    "Network.dataReceived": Traffic._received,
    "Network.loadingFinished": Traffic._finished,
    "Network.loadingFailed": Traffic._failed,
    "Network.webSocketFrameReceived": Traffic._frame_received,
    "Network.webSocketFrameSent": Traffic._frame_sent,
}


def _request_size(request: dict[str, Any]) -> int:
    head = sum(len(name) + len(value) + 4 for name, value in request.get("headers", {}).items())
    body = sum(len(entry.get("bytes", "")) * 3 // 4 for entry in request.get("postDataEntries", ()))
    return len(request["method"]) + len(request["url"]) + 12 + head + body
