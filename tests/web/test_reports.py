"""The report page as a browser without a script gets it: what it says, how it is walked, and what it never does."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urljoin, urlsplit
from uuid import UUID, uuid4

import pytest

from ccdtasks.config import ServerConfig
from tests.clock import MoveableClock
from tests.stories import claim
from tests.web import runs
from tests.web.conftest import ALICE, BOB, Site

MAX_BYTES = 1_000_000


@pytest.fixture
def server() -> ServerConfig:
    return ServerConfig(port=0, public_url="https://tasks.example.com")


class Page(HTMLParser):
    """A page as a reader meets it: its text, its links by their words, its tables and its sections."""

    def __init__(self, html: str, url: str) -> None:
        super().__init__()
        self.url, self.html = url, html
        self.links: list[tuple[str, str]] = []
        self.rows: list[list[str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._words: list[str] = []
        self._link: str | None = None
        self._from = 0
        self.feed(html)
        self.text = " ".join("".join(self._words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag == "a":
            self._link, self._from = found.get("href") or "", len(self._words)
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._link is not None:
            self.links.append((" ".join("".join(self._words[self._from :]).split()), self._link))
            self._link = None
        if tag in ("td", "th", "p", "li", "dt", "dd", "h1", "h2", "h3"):
            self._words.append(" ")

    def handle_data(self, data: str) -> None:
        self._words.append(data)
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] = (self.rows[-1][-1] + data).strip()

    def link(self, words: str) -> str:
        """The address behind the first link with these words."""
        found = next((href for said, href in self.links if words in said), None)
        assert found is not None, f"no link {words!r} among {self.links}"
        return urljoin(self.url, found)


async def _page(site: Site, url: str, status: int = 200) -> Page:
    async with site.browser.get(url, allow_redirects=False) as answer:
        html = await answer.text()
        assert answer.status == status, html
        assert len(html.encode()) < MAX_BYTES
        policy = answer.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "script-src 'self'" in policy
    return Page(html, url)


def _link(site: Site, run_id: UUID) -> str:
    return site.url + site.core.links.run_path(run_id)


async def test_a_good_run_is_told_whole(site: Site, clock: MoveableClock) -> None:
    run_id = await runs.good_run(site, clock)
    page = await _page(site, _link(site, run_id))
    for said in (
        "ticket-checker", "✓ done", "Cheapest: $342 with United", "$412 → $342 (−17 %)", "Below your limit of $400.",
        "Searching flights SFO to HNL", "▲ slow", "14.2 s", "The fares, cheapest first", "results.csv", "247", "8.4 MB",
        "missing: The files of the run are larger than what is kept.", "A tab crashed", "I found 47 options.",
        "$0.1834",        "Feb 15-22", "Hotels nearby", "1,289.5", "options", "47",
    ):  # fmt: skip
        assert said in page.text, said
    assert ["United", "342", "0", "08:15", "yes", "united.example/fares"] in page.rows
    for section in ("found", "table0", "shots", "steps", "figures", "files", "log", "about"):
        assert f'<section id="{section}"' in page.html
        assert section == "table0" or f'href="#{section}"' in page.html


async def test_the_files_and_pictures_of_the_page_open(site: Site, clock: MoveableClock) -> None:
    page = await _page(site, _link(site, await runs.good_run(site, clock, days=())))
    async with site.browser.get(page.link("results.csv")) as answer:
        assert (answer.status, await answer.read()) == (200, b"airline,price\r\nUnited,342\r\n")
    sources = [found["src"] or "" for tag, found in page.tags if tag == "img"]
    assert len(sources) == 3
    async with site.browser.get(urljoin(page.url, sources[0])) as answer:
        assert (answer.status, answer.content_type) == (200, "image/png")


async def test_a_table_is_sorted_and_walked_by_its_links(site: Site) -> None:
    page = await _page(site, _link(site, await runs.long_run(site, rows=10_000)))
    assert "Rows 1 to 100 of 10,000" in page.text
    assert len(page.rows) == 101
    cheapest = await _page(site, page.link("price"))
    assert [row[1] for row in cheapest.rows[1:4]] == ["$0.50"] * 3
    dearest = await _page(site, cheapest.link("price"))
    assert [row[1] for row in dearest.rows[1:4]] == ["$899.50"] * 3
    assert ("th", "descending") in [(tag, found.get("aria-sort")) for tag, found in dearest.tags]
    following = await _page(site, dearest.link("Rows after"))
    assert "Rows 101 to 200 of 10,000" in following.text
    prices = [float(row[1].strip("$").replace(",", "")) for row in dearest.rows[1:] + following.rows[1:]]
    assert prices == sorted(prices, reverse=True)
    assert (await _page(site, following.link("in the order found"))).rows[1][0] == "Mug 0"
    assert (await _page(site, following.link("Rows before"))).rows == dearest.rows


@pytest.mark.slow
async def test_a_table_of_wide_rows_stays_a_page_and_loses_no_row(site: Site) -> None:
    claimed = await runs.start(site, "wide")
    rows = [{f"column {place}": f"{number} " + "<&>" * 160 for place in range(40)} for number in range(150)]
    await runs.put_result(site, claimed, summary="Wide.", items=rows)
    page, seen = await _page(site, _link(site, claimed.run_id)), []
    while True:
        seen += [int(row[0].split()[0]) for row in page.rows[1:]]
        if "Rows after" not in page.html:
            break
        page = await _page(site, page.link("Rows after"))
    assert seen == [*range(150)]


@pytest.mark.slow
async def test_the_log_is_searched_and_walked(site: Site) -> None:
    url = _link(site, await runs.long_run(site, rows=3, events=100_000))
    page = await _page(site, url)
    assert "100,000 lines in all" in page.text
    assert "line 2 " in page.text
    later = await _page(site, page.link("Later"))
    assert "line 54 " in later.text
    assert "line 2 " not in later.text
    last = await _page(site, page.link("Last"))
    assert "99997" in last.text
    found = await _page(site, f"{url}&words=/99997&kind=pages")
    assert "https://shop.example/99997" in found.text
    assert found.html.count("<time") == 1
    nothing = await _page(site, f"{url}&words=nowhere")
    assert "No line of the log is like that." in nothing.text
    assert "Everything" in nothing.text
    assert "100,000 lines" in (await _page(site, nothing.link("Show everything"))).text


async def test_the_filter_keeps_what_else_was_chosen(site: Site) -> None:
    url = _link(site, await runs.long_run(site, rows=300))
    page = await _page(site, f"{url}&table0=1d-100&kind=pages&steps=3")
    hidden = {found["name"]: found["value"] for tag, found in page.tags if tag == "input" and found["type"] == "hidden"}
    assert hidden == {**dict(parse_qsl(urlsplit(url).query)), "table0": "1d-100", "steps": "3"}


@pytest.mark.parametrize(
    "query",
    [
        "table0=9a", "table0=-99999999", "table0=999d-1", "table0=x", "table999=1a", "table0=", "steps=-1",
        "steps=99999999999999999", "files=12&shots=7", "after=99999999999999999", "before=0", "after=x", "kind=<b>",
        "words=%25_\\'\"",
        "end=9", "&".join(f"table{number}=1a" for number in range(200)), "words=" + "w" * 5000, "words=%00%ff",
    ],
)  # fmt: skip
async def test_nonsense_in_the_address_changes_little(site: Site, query: str) -> None:
    url = _link(site, await runs.long_run(site, rows=5))
    assert (
        "5 rows" in (await _page(site, f"{url}&{query}")).text or "of 5" in (await _page(site, f"{url}&{query}")).text
    )


async def test_a_failed_run_says_why_and_what_may_help(site: Site, clock: MoveableClock) -> None:
    page = await _page(site, _link(site, await runs.failed_run(site, clock)))
    for said in (
        "✕ failed", "kayak.example did not answer within 60 s.", "Hotels | kayak", "https://kayak.example/hotels",
        "timeout", "Searching hotels in Honolulu", "✕ failed: Timeout 60000ms exceeded",
        "Our servers are very busy",
        "Trying the mobile site not finished", "Failure report as a file", "Try 1", "Try 3 (this page)",
    ):  # fmt: skip
        assert said in page.text, said
    assert page.html.index('id="failure"') < page.html.index('id="shots"')
    first = await _page(site, page.link("Try 1"))
    assert "Try 1 (this page)" in first.text


async def test_no_word_of_a_stranger_becomes_part_of_the_page(site: Site) -> None:
    page = await _page(site, _link(site, await runs.hostile_run(site)))
    assert "document.title" in page.text  # it is shown, as text
    assert "\u202e" not in page.html
    allowed = {"script": 1, "iframe": 0, "object": 0, "embed": 0, "base": 0, "style": 0}
    for tag, most in allowed.items():
        assert sum(name == tag for name, _ in page.tags) == most, tag
    for tag, found in page.tags:
        assert not [name for name in found if name.startswith("on") or name == "style"], (tag, found)
        for name in ("href", "src", "action"):
            address = found.get(name) or ""
            assert re.match(r"(/|#|https?://)", address) or not address, address
            if address.startswith("http"):
                assert tag == "a"
                assert set((found.get("rel") or "").split()) == {"noopener", "noreferrer", "nofollow"}
    assert "bank (evil.example)" in page.text
    assert "paypal.example (l.example)" in page.text


async def test_a_run_that_goes_on_offers_to_look_again(site: Site) -> None:
    claimed = await runs.start(site, "slow")
    url = _link(site, claimed.run_id)
    page = await _page(site, url)
    assert "▶ running" in page.text
    assert (await _page(site, page.link("Refresh"))).text == page.text
    waiting = await site.core.runs.start(ALICE, "slow")
    page = await _page(site, _link(site, waiting.run.id))
    assert "Waiting for a free session, number 1 in line." in page.text
    await claim(site.core)


async def test_who_may_see_it(site: Site, clock: MoveableClock) -> None:
    claimed = await runs.start(site, "mine")
    run_id, other = claimed.run_id, uuid4()
    async with site.browser.get(f"{site.url}/r/{run_id}", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, f"/login?next=%2Fr%2F{run_id}")
    await site.log_in(BOB)
    his = [(await _page(site, f"{site.url}/r/{each}", 404)).text for each in (run_id, other)]
    assert his[0] == his[1]  # nobody learns whether there is such a run
    await _page(site, f"{site.url}/r/nonsense", 404)
    await site.log_in(ALICE)
    page = await _page(site, f"{site.url}/r/{run_id}")
    assert "mine" in page.text
    await site.log_in(BOB, is_admin=True)
    await _page(site, f"{site.url}/r/{run_id}")


async def test_a_link_that_is_over_or_wrong_says_what_to_do(site: Site, clock: MoveableClock) -> None:
    claimed = await runs.start(site, "mine")
    url = _link(site, claimed.run_id)
    wrong = await _page(site, url[:-3] + "abc", 403)
    assert "This link is not valid here." in wrong.text
    unknown = await _page(site, f"{site.url}/r/{uuid4()}?t=" + url.partition("t=")[2], 403)
    assert unknown.text == wrong.text
    clock.advance(seconds=site.core.config.storage.link_ttl_s)
    over = await _page(site, url, 403)
    assert "This link has expired. Press View Full Report again, in Discord." in over.text


async def test_a_link_does_not_outlive_the_link_that_led_to_it(site: Site, clock: MoveableClock) -> None:
    url = _link(site, await runs.failed_run(site, clock))
    clock.advance(seconds=site.core.config.storage.link_ttl_s - 60)
    page = await _page(site, url)
    links = [page.link("Try 1"), page.link("Failure report")]
    for link in links:
        async with site.browser.get(link) as answer:
            assert answer.status == 200
    clock.advance(minutes=2)
    for link in links:
        async with site.browser.get(link) as answer:
            assert answer.status == 403


async def test_the_page_of_a_reader_who_is_logged_in_holds_no_token(site: Site, clock: MoveableClock) -> None:
    run_id = await runs.failed_run(site, clock)
    await site.log_in()
    page = await _page(site, f"{site.url}/r/{run_id}")
    addresses = [found.get("href") or found.get("src") or "" for _, found in page.tags]
    assert not [address for address in addresses if re.search(r"[?&]t=", address)]
    await _page(site, page.link("Try 1"))
    async with site.browser.get(page.link("Failure report")) as answer:
        assert answer.status == 200


async def test_the_bot_links_to_where_the_page_is(site: Site, clock: MoveableClock) -> None:
    run_id = await runs.failed_run(site, clock)
    link = site.core.links.run(run_id) or ""
    assert link.startswith("https://tasks.example.com/r/")
    await _page(site, link.replace("https://tasks.example.com", site.url))


async def test_everything_that_a_page_needs_is_there(site: Site, clock: MoveableClock) -> None:
    page = await _page(site, _link(site, await runs.good_run(site, clock, days=())))
    loaded = [
        found.get("src") or found.get("href") or "" for tag, found in page.tags if tag in ("script", "link", "img")
    ]
    assert len(loaded) >= 6
    for address in loaded:
        async with site.browser.get(urljoin(page.url, address)) as answer:
            assert answer.status == 200, address
