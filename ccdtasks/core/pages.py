"""A page of a long list, walked by the last row's key and never by counting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Row = TypeVar("Row")

MAX_PAGE = 200
"""No list hands out more rows at once."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Some rows, and the `after` that continues behind them; None when these were the last."""

    rows: Sequence[Row]
    next_after: str | None = None


def page_size(limit: int) -> int:
    """A limit that somebody asked for, brought between 1 and `MAX_PAGE`."""
    return max(1, min(limit, MAX_PAGE))
