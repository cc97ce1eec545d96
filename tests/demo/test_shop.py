"""The demonstration shop as its visitors see it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, CookieJar

from ccdtasks.demo.catalog import PRODUCTS
from ccdtasks.demo.shop import Shop, served


@pytest.fixture
async def visitor() -> AsyncIterator[tuple[ClientSession, Shop]]:
    shop = Shop()
    async with served(shop.app()) as port, _session(port) as session:
        yield session, shop


def _session(port: int) -> ClientSession:
    return ClientSession(f"http://127.0.0.1:{port}", cookie_jar=CookieJar(unsafe=True))  # unsafe: cookies of an address


async def _page(session: ClientSession, path: str) -> str:
    async with session.get(path) as response:
        assert response.status == 200
        return await response.text()


async def test_the_front_page_shows_every_product_with_picture_and_price(visitor: tuple[ClientSession, Shop]) -> None:
    page = await _page(visitor[0], "/")
    assert len(PRODUCTS) == 12
    assert all(product.name in page for product in PRODUCTS)
    assert page.count('<p class="price">$') == page.count("<svg") == 12


async def test_the_search_finds_a_kind_and_says_when_there_is_nothing(visitor: tuple[ClientSession, Shop]) -> None:
    session, _ = visitor
    assert (await _page(session, "/search?q=Headphones")).count('<li class="card">') == 4
    assert "Nothing found" in await _page(session, "/search?q=submarine")
    assert "<script>" not in await _page(session, "/search?q=%3Cscript%3E")


async def test_prices_hold_within_a_visit_and_move_between_visits(visitor: tuple[ClientSession, Shop]) -> None:
    session, _ = visitor
    seen = []
    for _visit in range(3):
        prices = re.findall(r"\$[\d.]+", await _page(session, "/"))
        assert re.findall(r"\$[\d.]+", await _page(session, "/search?q=")) == prices
        seen.append(tuple(prices))
    assert len(set(seen)) == 3


async def test_members_prices_are_behind_a_gate_that_the_right_letters_open(
    visitor: tuple[ClientSession, Shop],
) -> None:
    session, shop = visitor
    async with session.get("/members") as response:
        assert response.status == 403
        page = await response.text()
        assert 'aria-label="captcha"' in page
        assert shop.letters not in page, "a program could read the answer"
    async with session.post("/members", data={"letters": "12345"}) as response:
        assert "not right" in await response.text()
    async with session.post("/members", data={"letters": shop.letters.lower()}) as response:
        assert response.status == 200
        members = re.findall(r"\$([\d.]+)", await response.text())
    assert members == re.findall(r"\$([\d.]+)", await _page(session, "/members")), "the gate asks again"
    full = re.findall(r"\$([\d.]+)", await _page(session, "/search?q="))
    assert all(float(low) < float(high) for low, high in zip(members, full, strict=True))


async def test_what_is_not_there_is_said_to_be_absent(visitor: tuple[ClientSession, Shop]) -> None:
    for path in ("/product/nothing-such", "/elsewhere"):
        async with visitor[0].get(path) as response:
            assert response.status == 404
            assert "does not exist" in await response.text()
