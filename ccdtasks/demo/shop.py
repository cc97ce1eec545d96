"""A small web shop on loopback: product list, search, prices that move, one page behind a captcha-like gate."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from ccdtasks.amounts import counted
from ccdtasks.demo import pages
from ccdtasks.demo.catalog import PRODUCTS

_MEMBERS_PERCENT_OFF = 10
_COOKIE = "member"


class Shop:
    """The shop's state: how often it was visited, and who passed the gate."""

    def __init__(self) -> None:
        self.visit = 0
        self.letters = "".join(secrets.choice("ABCDEFGHJKLMNPRSTUVWXYZ") for _ in range(5))
        self._member = secrets.token_urlsafe(16)

    def app(self) -> web.Application:
        """The site. Opening the front page counts as a visit, and moves the prices."""
        app = web.Application(client_max_size=16_384)
        app.add_routes(
            [
                web.get("/", self._front),
                web.get("/search", self._search),
                web.get("/product/{slug}", self._product),
                web.get("/members", self._members),
                web.post("/members", self._enter),
                web.get("/{rest:.*}", self._absent),
            ]
        )
        return app

    async def _front(self, _request: web.Request) -> web.Response:
        self.visit += 1
        return _html(pages.product_list("All products", PRODUCTS, self.visit))

    async def _search(self, request: web.Request) -> web.Response:
        query = request.query.get("q", "").strip()[:100]
        words = query.lower().split()
        found = [
            product for product in PRODUCTS if all(word in f"{product.name} {product.kind}".lower() for word in words)
        ]
        return _html(pages.product_list(f"{counted(len(found), 'result')} for “{query}”", found, self.visit, query))

    async def _product(self, request: web.Request) -> web.Response:
        found = [product for product in PRODUCTS if product.slug == request.match_info["slug"]]
        return _html(pages.product_page(found[0], self.visit)) if found else await self._absent(request)

    async def _members(self, request: web.Request) -> web.Response:
        if hmac.compare_digest(request.cookies.get(_COOKIE, "").encode(), self._member.encode()):
            return _html(pages.product_list("Members' prices", PRODUCTS, self.visit, percent_off=_MEMBERS_PERCENT_OFF))
        return _html(pages.gate(self.letters, wrong=False), status=403)

    async def _enter(self, request: web.Request) -> web.Response:
        form = await request.post()
        if str(form.get("letters", "")).strip().upper() != self.letters:
            return _html(pages.gate(self.letters, wrong=True), status=403)
        response = web.Response(status=303, headers={"Location": "/members"})
        response.set_cookie(_COOKIE, self._member, httponly=True, samesite="Strict")
        return response

    async def _absent(self, _request: web.Request) -> web.Response:
        return _html(pages.absent(), status=404)


def _html(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", headers={"Cache-Control": "no-store"})


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[int]:
    """Serves `app` on a free port of this machine's loopback and gives the port."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
