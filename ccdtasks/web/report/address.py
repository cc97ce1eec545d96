"""The address of a report: what of it a reader wants to see, and links to the same page with a bit of it changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from ccdtasks.core.outcome.resulttables import Order
from ccdtasks.core.records.runlog import KINDS, MAX_WORDS, Wanted
from ccdtasks.core.runs.reports import ReportWanted, TableView

_TABLE = re.compile(r"table(\d{1,3})\Z")
_VIEW = re.compile(r"(?:(\d{1,3})([ad]))?(?:-(\d{1,8}))?\Z")
_NUMBER = re.compile(r"\d{1,17}\Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LATEST = 253_402_300_799_000_000  # the end of the year 9999
_LOG = ("kind", "words", "after", "before", "end")
_STARTS = ("steps", "files", "shots")


@dataclass(frozen=True, slots=True)
class Address:
    """A page: its path, and the query, in which only what we know is kept.

    t          the token of a signed link
    table<n>   order and first row of table n: `2d-100`, by column 2, largest first, from row 100 on
    kind words after before end        the log
    steps files shots                  the first one of these that is shown
    """

    path: str
    query: Mapping[str, str]

    @classmethod
    def of(cls, path: str, query: Mapping[str, str]) -> Address:
        """The address that somebody asked for."""
        known = {
            name: value
            for name, value in query.items()
            if (name in ("t", *_LOG, *_STARTS) or _TABLE.match(name)) and len(value) <= 1000
        }
        return cls(path, dict([*known.items()][:60]))

    def to(self, fragment: str, **changes: str | int | None) -> str:
        """The link to this page with some of the query changed (None takes away), at a section of it."""
        query = {**self.query, **{name: str(value) for name, value in changes.items() if value is not None}}
        kept = {name: value for name, value in query.items() if changes.get(name, "") is not None and value != ""}
        return f"{self.path}{'?' if kept else ''}{urlencode(kept)}#{fragment}"

    def rest(self, *names: str) -> list[tuple[str, str]]:
        """The query without some names: what a form has to send along."""
        return [(name, value) for name, value in self.query.items() if name not in names]

    def start(self, name: str) -> int:
        """The number of the first one that is shown of the steps, the files or the screenshots."""
        value = self.query.get(name, "")
        return min(int(value), 1_000_000) if _NUMBER.match(value) else 0

    @property
    def token(self) -> str | None:
        """The token of the signed link; None for somebody who is logged in."""
        return self.query.get("t")

    def wanted(self) -> ReportWanted:
        """What the core is to load."""
        tables = {}
        for name, value in self.query.items():
            table, view = _TABLE.match(name), _VIEW.match(value)
            if table and view:
                column, direction, start = view.groups()
                order = Order(int(column) if column else None, direction == "d")
                tables[int(table[1])] = TableView(order, int(start or 0))
        kind = self.query.get("kind", "")
        log = Wanted(
            kind=kind if kind in KINDS else "",
            words=self.query.get("words", "")[:MAX_WORDS],
            after=_moment(self.query.get("after", "")),
            before=_moment(self.query.get("before", "")),
            from_end={"1": True, "0": False}.get(self.query.get("end", "")),
        )
        return ReportWanted(tables, log)


def view_text(order: Order, start: int) -> str:
    """How an address says in which order, and from which row on, a table is shown."""
    by = "" if order.column is None else f"{order.column}{'d' if order.is_descending else 'a'}"
    return f"{by}-{start}" if start or not by else by


def moment_text(at: datetime) -> str:
    """A time of a line in an address, in microseconds."""
    return str((at - _EPOCH) // _MICROSECOND)


def _moment(text: str) -> datetime | None:
    return _EPOCH + min(int(text), _LATEST) * _MICROSECOND if _NUMBER.match(text) else None
