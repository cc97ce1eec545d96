"""What kind of chore a task is: the type that its words suggest, and the Discord category of each type."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ccdtasks.errors import Invalid


@dataclass(frozen=True, slots=True)
class Category:
    """A task type, the name of its Discord category, and words that suggest it."""

    task_type: str
    name: str
    words: frozenset[str] = frozenset()


CATEGORIES = (
    Category(
        "ticket-checker",
        "Ticket Price Monitoring",
        frozenset(
            {
                "ticket",
                "tickets",
                "flight",
                "flights",
                "airline",
                "airlines",
                "fare",
                "fares",
                "concert",
                "concerts",
                "train",
                "trains",
                "hotel",
                "hotels",
            }
        ),
    ),
    Category(
        "news-digest",
        "News Digests",
        frozenset(
            {
                "news",
                "digest",
                "newsletter",
                "headline",
                "headlines",
                "article",
                "articles",
                "blog",
                "podcast",
                "podcasts",
            }
        ),
    ),
    Category(
        "price-monitor",
        "Price Monitoring",
        frozenset(
            {
                "price",
                "prices",
                "cheapest",
                "cheap",
                "discount",
                "sale",
                "deal",
                "deals",
                "shop",
                "product",
                "products",
                "stock",
            }
        ),
    ),
    Category(
        "web-scraper",
        "Web Scraping",
        frozenset({"scrape", "scraper", "extract", "collect", "csv", "table", "dataset", "export"}),
    ),
    Category(
        "report",
        "Reports",
        frozenset({"report", "reports", "summary", "summarize", "analyze", "analyse", "analysis"}),
    ),
    Category(
        "web-monitor",
        "Web Monitoring",
        frozenset(
            {
                "monitor",
                "watch",
                "watcher",
                "change",
                "changes",
                "changed",
                "check",
                "status",
                "available",
                "availability",
            }
        ),
    ),
)
"""In order of preference when two types are suggested equally strongly."""

DEFAULT_TYPE = "web-monitor"
_TYPE = re.compile(r"[a-z0-9][a-z0-9-]{0,49}\Z")


def infer_type(name: str, prompt: str) -> str:
    """The task type whose words occur most; a word in the name counts three times. `web-monitor` when none does."""
    in_name, in_prompt = set(re.findall(r"[a-z]+", name.lower())), set(re.findall(r"[a-z]+", prompt.lower()))
    scores = {
        category.task_type: 3 * len(category.words & in_name) + len(category.words & in_prompt)
        for category in CATEGORIES
    }
    best = max(scores, key=lambda task_type: scores[task_type])  # the first of equals
    return best if scores[best] else DEFAULT_TYPE


def check_type(task_type: str) -> str:
    """The type as given, when it is one; own words make categories of their own."""
    if not _TYPE.match(task_type):
        known = ", ".join(category.task_type for category in CATEGORIES)
        raise Invalid("type", "A task type has small letters, digits and -, at most 50.", f"for example {known}")
    return task_type


def category_name(task_type: str) -> str:
    """The name of the Discord category; a type of somebody's own becomes its words: `garden-care`, Garden Care."""
    for category in CATEGORIES:
        if category.task_type == task_type:
            return category.name
    return task_type.replace("-", " ").title()
