"""The report page in a real browser: phone and desk, light and dark, by keyboard, and without any script."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.clock import MoveableClock
from tests.stories import lines
from tests.web import runs
from tests.web.conftest import ALICE, Site

pytestmark = pytest.mark.slow

PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
SMALLEST_PX = 44


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    """Debian's own browser. Only pages of our own are opened in it, so it may run as root."""
    found = shutil.which("chromium")
    if found is None:
        if os.environ.get("CCDTEST_COMPLETE"):
            pytest.fail("Chromium is not installed")
        pytest.skip("Chromium is not installed; tests/setup/packages installs it")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        await browser.close()


class Watched:
    """What a page must not do: complain, break a rule of its policy, or ask anybody but us."""

    def __init__(self, page: Page, site: Site) -> None:
        self.complaints: list[str] = []
        page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "response", lambda got: self.complaints.append(f"{got.status} {got.url}") if got.status >= 400 else None
        )
        page.on("request", lambda asked: self._look(asked.url, site))

    def _look(self, url: str, site: Site) -> None:
        if not url.startswith(site.url):
            self.complaints.append(f"asked {url}")


@asynccontextmanager
async def _opened(chromium: Browser, site: Site, run_id: UUID, **how: Any) -> AsyncIterator[Page]:
    """The report in a window of its own, in which nothing may go wrong."""
    window = await chromium.new_context(**{"viewport": DESK, **how})
    page = await window.new_page()
    watched = Watched(page, site)
    await page.goto(site.url + site.core.links.run_path(run_id))
    await page.wait_for_load_state("networkidle")
    yield page
    await page.wait_for_load_state("networkidle")
    assert watched.complaints == []
    await window.close()


Story = Callable[[Site, MoveableClock], Awaitable[UUID]]


async def _good(site: Site, clock: MoveableClock) -> UUID:
    return await runs.good_run(site, clock)


async def _failed(site: Site, clock: MoveableClock) -> UUID:
    return await runs.failed_run(site, clock)


async def _long(site: Site, _clock: MoveableClock) -> UUID:
    return await runs.long_run(site, rows=10_000, events=2000)


async def _hostile(site: Site, _clock: MoveableClock) -> UUID:
    return await runs.hostile_run(site)


@pytest.mark.parametrize("story", [_good, _failed, _long, _hostile])
async def test_it_is_legible_everywhere(chromium: Browser, site: Site, clock: MoveableClock, story: Story) -> None:
    run_id = await story(site, clock)
    for viewport in (PHONE, DESK):
        for scheme in ("light", "dark"):
            async with _opened(chromium, site, run_id, viewport=viewport, color_scheme=scheme) as page:
                await page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
                assert await page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
                small = await page.eval_on_selector_all(
                    "button, .button, summary, th a, nav a, select, input:not([type=hidden])",
                    "(all, px) => all.filter((each) => each.getBoundingClientRect().height < px)"
                    ".map((each) => each.outerHTML)",
                    SMALLEST_PX,
                )
                assert small == []
                found = await Axe().run(page, options={"resultTypes": ["violations"]})
                grave = [each for each in found.response["violations"] if each["impact"] in ("serious", "critical")]
                assert not grave, [(each["id"], [node["html"] for node in each["nodes"]][:5]) for each in grave]
                assert await page.title() != "owned"


async def test_a_header_sorts_in_its_place_and_the_keyboard_stays_there(chromium: Browser, site: Site) -> None:
    run_id = await runs.long_run(site, rows=300)
    async with _opened(chromium, site, run_id) as page:
        await page.evaluate("window.same = true")
        await page.locator("#table0 th a", has_text="price").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("#table0 th[aria-sort=ascending]")).to_contain_text("price")
        cells = await page.locator("#table0 tbody td:nth-child(2)").all_inner_texts()
        prices = [float(cell.strip("$").replace(",", "")) for cell in cells]
        assert prices == sorted(prices)
        assert await page.evaluate("window.same === true")
        await page.keyboard.press("Enter")
        await expect(page.locator("#table0 th[aria-sort=descending]")).to_contain_text("price")
        await page.locator("#table0").get_by_role("link", name="Rows after").click()
        await expect(page.locator("#table0")).to_contain_text("Rows 101 to 200 of 300")
        assert "table0=1d-100" in page.url
        await page.go_back()
        await expect(page.locator("#table0")).to_contain_text("Rows 1 to 100 of 300")


async def test_without_a_script_links_and_forms_do_the_same(
    chromium: Browser, site: Site, clock: MoveableClock
) -> None:
    run_id = await runs.good_run(site, clock, days=())
    async with _opened(chromium, site, run_id, java_script_enabled=False, viewport=PHONE) as page:
        await page.locator("#table0 th a", has_text="price").click()
        await expect(page.locator("#table0 tbody td").first).to_have_text("United")
        await page.locator("#table0 th a", has_text="price").click()
        await expect(page.locator("#table0 tbody td").first).to_have_text("Southwest")
        await page.select_option("#kind", "problems")
        await page.get_by_role("button", name="Search").click()
        await expect(page.locator("#log .lines li")).to_have_count(2)  # the day, and the line
        await expect(page.locator("#table0 tbody td").first).to_have_text("Southwest")
        await page.locator("#shots a").first.click()
        await expect(page.locator("img")).to_have_count(1)
        assert await page.locator("img").evaluate("(shown) => shown.naturalWidth") == 1280


async def test_the_log_is_filtered_in_its_place(chromium: Browser, site: Site, clock: MoveableClock) -> None:
    run_id = await runs.good_run(site, clock, days=())
    async with _opened(chromium, site, run_id) as page:
        await page.evaluate("window.same = true")
        await page.fill("#words", "47 options")
        await page.keyboard.press("Enter")
        await expect(page.locator("#log .lines li")).to_have_count(2)
        await expect(page.locator("#words")).to_be_focused()
        await expect(page.locator("#words")).to_have_value("47 options")
        await page.get_by_role("link", name="Show everything").click()
        await expect(page.locator("#log")).not_to_contain_text("that were searched for")
        assert await page.evaluate("window.same === true")


async def test_pictures_are_looked_at_by_keyboard(chromium: Browser, site: Site, clock: MoveableClock) -> None:
    run_id = await runs.good_run(site, clock, days=())
    async with _opened(chromium, site, run_id) as page:
        await page.locator("#shots a").nth(1).focus()
        await page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Screenshot")
        await expect(dialog).to_contain_text("2 of 3 · Screenshot The search form")
        await page.keyboard.press("ArrowRight")
        await expect(dialog).to_contain_text("3 of 3 · Screenshot Hotels nearby")
        await page.keyboard.press("ArrowRight")
        await expect(dialog).to_contain_text("1 of 3")
        assert await dialog.locator("img").evaluate("(shown) => shown.decode().then(() => shown.naturalWidth)") == 1280
        await page.keyboard.press("Escape")
        await expect(dialog).not_to_be_visible()
        await expect(page.locator("#shots a").first).to_be_focused()


async def test_the_keyboard_can_skip_to_the_content(chromium: Browser, site: Site, clock: MoveableClock) -> None:
    run_id = await runs.good_run(site, clock, days=())
    async with _opened(chromium, site, run_id) as page:
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        box = await page.get_by_role("link", name="Skip to the content").bounding_box()
        assert box is not None
        assert box["x"] >= 0


async def test_a_script_that_got_in_would_not_run(chromium: Browser, site: Site) -> None:
    run_id = await runs.hostile_run(site)
    window = await chromium.new_context()
    page = await window.new_page()
    await page.goto(site.url + site.core.links.run_path(run_id))
    said = await page.evaluate(
        """async () => {
            const seen = [];
            document.addEventListener("securitypolicyviolation", (event) => seen.push(event.effectiveDirective));
            const script = document.createElement("script");
            script.textContent = "document.title = 'owned'";
            document.body.append(script);
            document.body.insertAdjacentHTML("beforeend", `<img src=x onerror="document.title='owned'">`
                + `<p style="color: red" id="styled">x</p><img src="https://evil.example/x.png">`);
            await new Promise((done) => setTimeout(done, 300));
            return [document.title, seen.sort(), getComputedStyle(document.getElementById("styled")).color];
        }"""
    )
    title, seen, colour = said
    assert title != "owned"
    assert {"script-src-elem", "script-src-attr", "style-src-attr", "img-src"} <= set(seen)
    assert colour != "rgb(255, 0, 0)"
    await window.close()


async def test_a_run_that_goes_on_says_when_there_is_news(chromium: Browser, site: Site) -> None:
    claimed = await runs.start(site, "slow")
    window = await chromium.new_context()
    page = await window.new_page()
    await page.clock.install()
    await page.goto(site.url + site.core.links.run_path(claimed.run_id))
    await page.clock.fast_forward(11_000)
    await page.wait_for_load_state("networkidle")
    await expect(page.get_by_role("link", name="Refresh")).to_be_visible()
    await site.core.claims.record(claimed, lines({"type": "progress", "text": "Comparing fares"}), 10)
    await page.clock.fast_forward(11_000)
    await page.get_by_role("link", name="Show what is new").click()
    await expect(page.locator("section.going")).to_contain_text("Comparing fares")
    await window.close()


async def test_nothing_moves_after_it_is_shown(chromium: Browser, site: Site, clock: MoveableClock) -> None:
    run_id = await runs.good_run(site, clock, days=())
    watch = """new PerformanceObserver((list) => { for (const each of list.getEntries()) window.moved =
        (window.moved || 0) + each.value; }).observe({ type: "layout-shift", buffered: true })"""
    async with _opened(chromium, site, run_id, viewport=PHONE) as page:
        await page.evaluate(watch)
        for shot in await page.locator("#shots img").all():
            await shot.scroll_into_view_if_needed()
            await shot.evaluate("(shown) => shown.decode()")
        assert await page.evaluate("window.moved || 0") == 0


async def test_on_paper_there_is_the_report_and_no_button(chromium: Browser, site: Site, clock: MoveableClock) -> None:
    run_id = await runs.good_run(site, clock, days=())
    async with _opened(chromium, site, run_id, color_scheme="dark") as page:
        await page.emulate_media(media="print")
        for hidden in ("nav.contents", "form.filter"):
            await expect(page.locator(hidden)).not_to_be_visible()
        await expect(page.locator("#table0")).to_be_visible()
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


async def test_who_is_logged_in_goes_from_the_front_page_to_a_run(
    chromium: Browser, site: Site, clock: MoveableClock
) -> None:
    await runs.failed_run(site, clock)
    window = await chromium.new_context(viewport=PHONE)
    page = await window.new_page()
    await page.goto(site.url)
    await page.get_by_label("Your token").fill(await site.token(ALICE))
    await page.keyboard.press("Enter")
    await page.locator("main").get_by_role("link").filter(has_text="hotel-watcher").first.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("hotel-watcher")
    await expect(page.locator("#shots img").first).to_be_visible()
    await window.close()
