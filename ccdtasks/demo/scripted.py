"""A stand-in for the model that can do one chore: find the cheapest product of a kind in the demonstration shop.

It knows no price and no page: it decides by what the tools answered so far, as a model does, and reads the offers from
what the browser saw. If the browser saw none, it says so and hands in nothing.
"""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ccdtasks.amounts import counted
from ccdtasks.demo.conversation import Conversation
from ccdtasks.demo.messages_api import Reply, ToolCall

TABLE_FILE = "prices.csv"
PICTURE_FILE = "offers.png"
_MAX_FAILURES = 3
_MAX_PATIENCE = 5
_COMPACT = "CRITICAL: Respond with TEXT ONLY"
"""How the CLI asks for a summary when a conversation becomes too long."""

_SEARCH_BOX = re.compile(r"(?:searchbox|textbox)[^\n]*\[ref=(\w+)\]")
_HEADING = re.compile(r"^ *- heading ", re.MULTILINE)
_NAME = re.compile(r'"([^"]+)"')
_PRICE = re.compile(r"\$(\d[\d,]*\.\d\d)")
_LINK = re.compile(r"/url: (\S+)")
_PAGE = re.compile(r"Page URL: (\S+)")


@dataclass(frozen=True, slots=True)
class Offer:
    """One product as a page showed it."""

    name: str
    price: float
    url: str


def offers_in(snapshot: str) -> list[Offer]:
    """The products of a page's accessibility snapshot, cheapest first: a heading with a price below it."""
    offers = []
    for part in _HEADING.split(snapshot)[1:]:
        name, price, link = _NAME.search(part), _PRICE.search(part), _LINK.search(part)
        if name and price:
            offers.append(Offer(name[1], float(price[1].replace(",", "")), link[1] if link else ""))
    return sorted(offers, key=lambda offer: offer.price)


def reply_to(conversation: Conversation) -> Reply:
    """What to do next."""
    if conversation.last.startswith(_COMPACT):
        return Reply("<summary>Comparing offers in the demonstration shop; see the calls so far.</summary>")
    if conversation.results("submit_result"):
        return Reply("The result is handed in.")
    if sum(call.failed for call in conversation.calls) >= _MAX_FAILURES:
        return _give_up(conversation, conversation.calls[-1].result)
    for step in _STEPS:
        reply = step(conversation)
        if reply is not None:
            return reply
    return Reply("There is nothing left to do.")


def _step(conversation: Conversation, text: str, *calls: tuple[str, dict[str, Any]]) -> Reply:
    """A reply with calls of tools by their short names; without one of the tools the task cannot be done."""
    wishes = []
    for name, arguments in calls:
        full = conversation.tool(name)
        if full is None:
            return Reply(f"I have no tool named {name}, so I cannot do this.")
        wishes.append(ToolCall(full, arguments))
    return Reply(text, tuple(wishes))


def _done(conversation: Conversation, name: str, times: int = 1) -> bool:
    return sum(not call.failed for call in conversation.results(name)) >= times


def _open_shop(c: Conversation) -> Reply | None:
    if _done(c, "browser_navigate"):
        return None
    return _step(
        c,
        "I start at the shop's front page.",
        ("report_progress", {"text": f"Opening {c.values.get('shop', 'the shop')}"}),
        ("browser_navigate", {"url": c.values.get("shop", "")}),
    )


def _look_at_front(c: Conversation) -> Reply | None:
    return None if _done(c, "browser_snapshot") else _step(c, "", ("browser_snapshot", {}))


def _search(c: Conversation) -> Reply | None:
    if _done(c, "browser_type"):
        return None
    product = c.values.get("product", "")
    box = _SEARCH_BOX.search(c.results("browser_snapshot")[-1].result)
    if box is None:
        return _give_up(c, "the front page shows no search field")
    return _step(
        c,
        "There is a search field; I use it.",
        ("report_progress", {"text": f"Searching for {product}"}),
        ("browser_type", {"element": "search field", "target": box[1], "text": product, "submit": True}),
    )


def _look_at_offers(c: Conversation) -> Reply | None:
    if _offers_page(c) is not None:
        return None
    if _done(c, "browser_snapshot", 2 + _MAX_PATIENCE):
        return _give_up(c, "the search never showed its results")
    if _done(c, "browser_snapshot", 2):
        return _step(c, "The results are not there yet.", ("browser_wait_for", {"time": 1}), ("browser_snapshot", {}))
    return _step(c, "", ("browser_snapshot", {}))


def _offers_page(c: Conversation) -> str | None:
    """The first snapshot of another page than the one that the search began on."""
    front, *later = [call.result for call in c.results("browser_snapshot") if not call.failed]
    return next((snapshot for snapshot in later if _url(snapshot) != _url(front)), None)


def _url(snapshot: str) -> str:
    page = _PAGE.search(snapshot)
    return page[1] if page else ""


def _keep_offers(c: Conversation) -> Reply | None:
    if c.results("browser_take_screenshot"):
        return None
    offers = offers_in(_offers_page(c) or "")
    if not offers:
        return _give_up(c, "the search gave no offers with prices")
    count = counted(len(offers), "offer")
    text = f"{count}, from ${offers[0].price:.2f} ({offers[0].name}) to ${offers[-1].price:.2f}."
    return _step(
        c,
        text,
        ("report_progress", {"text": f"Comparing {count}"}),
        ("browser_take_screenshot", {"filename": PICTURE_FILE, "type": "png"}),
        ("Bash", {"command": _write_table(offers), "description": f"Write {TABLE_FILE}"}),
    )


def _show_cheapest(c: Conversation) -> Reply | None:
    if _done(c, "browser_navigate", 2):
        return None
    cheapest = offers_in(_offers_page(c) or "")[0]
    return _step(
        c,
        f"I open {cheapest.name} and check its price there.",
        ("report_progress", {"text": f"Checking the price of {cheapest.name}"}),
        ("browser_navigate", {"url": _absolute(c, cheapest.url)}),
        ("browser_snapshot", {}),
    )


def _hand_in(c: Conversation) -> Reply:
    last = c.results("browser_snapshot")[-1].result
    offers = offers_in(_offers_page(c) or "")
    confirmed = offers_in(last)
    lowest = confirmed[0] if confirmed else offers[0]
    found = (
        f"Cheapest {c.values.get('product')}: **{lowest.name}** for **${lowest.price:.2f}**, of {len(offers)} offers."
    )
    result: dict[str, Any] = {
        "summary": found,
        "items": [{"product": offer.name, "price": offer.price, "currency": "USD"} for offer in offers],
        "values": {"lowest_price": {"number": lowest.price, "unit": "USD"}},
        "files": [TABLE_FILE, PICTURE_FILE],
        "evidence_url": _url(last) or _absolute(c, offers[0].url),
    }
    threshold = _number(c.values.get("price_threshold", ""))
    if threshold is not None and lowest.price < threshold:
        alert = f"{lowest.name} costs ${lowest.price:.2f}, less than ${threshold:.2f}."
        result["alerts"] = [{"text": alert, "severity": "info"}]
    return _step(c, "", ("save_file", {"path": TABLE_FILE, "caption": "All offers"}), ("submit_result", result))


_STEPS: tuple[Callable[[Conversation], Reply | None], ...] = (
    _open_shop,
    _look_at_front,
    _search,
    _look_at_offers,
    _keep_offers,
    _show_cheapest,
    _hand_in,
)


def _give_up(c: Conversation, why: str) -> Reply:
    summary = f"I could not compare the offers: {' '.join(why.split())[:300]}"
    return _step(c, "", ("submit_result", {"summary": summary}))


def _write_table(offers: list[Offer]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["product", "price_usd"])
    table.writerows([offer.name, f"{offer.price:.2f}"] for offer in offers)
    return f"printf %s {shlex.quote(text.getvalue())} > {TABLE_FILE} && wc -l {TABLE_FILE}"


def _absolute(c: Conversation, url: str) -> str:
    shop = c.values.get("shop", "").rstrip("/")
    return url if url.startswith(("http://", "https://")) else f"{shop}/{url.lstrip('/')}"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
