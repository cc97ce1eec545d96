"""A small site behind the egress socket: any host name leads to it, as far as it speaks plain HTTP through a proxy."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

SHOP = """<!doctype html><title>Shop of lamps</title><link rel=icon href=data:,><link rel=stylesheet href=/style.css>
<h1>Lamps \U0001f4a1</h1><p id=price>342 USD</p><p>\u65e5\u672c\u8a9e</p><a href=/second>More lamps</a>
<img src=/picture.svg width=100 height=40><iframe src="http://frames.test/frame" width=300 height=80></iframe>"""
CAPTCHA = """<!doctype html><title>Are you human?</title><link rel=icon href=data:,>
<div id=captcha-box style="width:300px;height:100px;background:#ddd"><button id=ok onclick="location='/shop'">I am human</button></div>"""
LOGIN = """<!doctype html><title>Sign in</title><link rel=icon href=data:,>
<form action=/shop><input name=user><input type=password name=pass><button>Sign in</button></form>"""


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
        match request.path:
            case "/shop" | "/second":
                return _html(SHOP)
            case "/captcha":
                return _html(CAPTCHA)
            case "/login":
                return _html(LOGIN)
            case "/moved":
                raise web.HTTPFound("/shop")
            case "/frame":
                return _html("<title>frame</title><link rel=icon href=data:,><script>fetch('/data.json')</script>framed")
            case "/data.json":
                return web.json_response({"price": 342})
            case "/style.css":
                return web.Response(text="h1 { color: teal }", content_type="text/css")
            case "/picture.svg":
                svg = "<svg xmlns='http://www.w3.org/2000/svg' width='100' height='40'><rect width='100' height='40'/></svg>"
                return web.Response(text=svg, content_type="image/svg+xml")
            case "/prices.csv":
                return web.Response(body=b"lamp,price\nred,342\n", content_type="application/octet-stream")
        raise web.HTTPNotFound


def _html(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html", charset="utf-8")
