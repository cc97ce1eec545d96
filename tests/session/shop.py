"""A small site behind the egress socket: any `.test` host leads to it, over plain HTTP through a proxy."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

_HEAD = "<!doctype html><link rel=icon href=data:,>"
_PAGES = {
    "/shop": f"""{_HEAD}<title>Shop of lamps</title><link rel=stylesheet href=/style.css>
        <h1>Lamps \U0001f4a1</h1><p id=price>342 USD</p><p>\u65e5\u672c\u8a9e</p><a href=/second>More lamps</a>
        <img src=/picture.svg width=100 height=40>
        <iframe src="http://frames.test/frame" width=300 height=80></iframe>""",
    "/second": f"{_HEAD}<title>More lamps</title>",
    # The whole page is the button, so that a person finds it.
    "/captcha": f"""{_HEAD}<title>Are you human?</title><div id=captcha-box>
        <button onclick="location='/second'" style="width:90vw;height:80vh">I am human</button></div>""",
    "/frame": f"{_HEAD}<title>frame</title><script>fetch('/data.json')</script>framed",
    "/noise": f"""{_HEAD}<title>Noise</title><p>Nothing to buy here<svg width=1280 height=700>
        <filter id=n><feTurbulence baseFrequency=.9 /></filter><rect width=100% height=100% filter=url(#n) /></svg>""",
    "/dialog": f"{_HEAD}<title>Talks</title><script>setTimeout(() => alert('Hello'))</script>",
}
_FILES = {
    "/data.json": ("application/json", '{"price": 342}'),
    "/style.css": ("text/css", "h1 { color: teal }"),
    "/picture.svg": ("image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg'><rect width='100' height='40'/></svg>"),
    "/prices.csv": ("application/octet-stream", "lamp,price\nred,342\n"),
}


class Shop:
    """Serves its pages on a unix socket and remembers which addresses were asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._runner: web.AppRunner | None = None

    async def start(self, socket: Path) -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._page)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(socket)).start()
        socket.chmod(0o666)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _page(self, request: web.Request) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if not host.endswith(".test"):  # Chromium's own calls
            raise web.HTTPForbidden
        self.asked.append(f"{host}{request.path}")
        if request.path == "/moved":
            raise web.HTTPFound("/shop")
        if request.path in _PAGES:
            return web.Response(text=_PAGES[request.path], content_type="text/html", charset="utf-8")
        if request.path in _FILES:
            kind, text = _FILES[request.path]
            return web.Response(body=text.encode(), content_type=kind)
        raise web.HTTPNotFound
