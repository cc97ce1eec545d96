"""What a run found: `submit_result` as the guest sent it, checked again, since everything from inside is hostile."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ccdtasks.amounts import counted
from ccdtasks.core.text import clean_line, clean_text, clean_url
from ccdtasks.errors import Invalid

MAX_ROWS = 20_000
MAX_COLUMNS = 60
MAX_CELL = 2000
MAX_SUMMARY = 20_000
MAX_TABLES = 20
MAX_VALUES = 200
MAX_ALERTS = 50
MAX_FILES = 100
SUMMARY_SHOWN = 1500
"""So much of the summary fits a message in Discord; a longer one is a file too."""
_EXACT = 2**53
_LONGEST_BITS = 1024
SEVERITIES = ("info", "warning", "critical")

Cell = str | int | float | bool | None
Table = list[dict[str, Cell]]


@dataclass(frozen=True, slots=True)
class Value:
    """A number with its unit (`USD`, `°C`) or none."""

    number: float | int
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that somebody should know. `severity`: info, warning, critical."""

    text: str
    severity: str = "info"


@dataclass(frozen=True, slots=True)
class Result:
    """A checked result. `items` is the main table; `cut` says what was too large and is missing here."""

    summary: str = ""
    items: Table = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    alerts: tuple[Alert, ...] = ()
    files: tuple[str, ...] = ()
    evidence_url: str | None = None
    cut: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing that a person could use: such a run is unclear, never completed."""
        has_rows = bool(self.items) or any(self.tables.values())
        return not (self.summary.strip() or has_rows or self.values or self.alerts or self.files)

    def as_json(self) -> dict[str, Any]:
        """The content of `results.json` and of the column `result_data`.

        `columns` and `order` keep the order of tables, columns and values, which Postgres does not.
        """
        return {
            "summary": self.summary,
            "items": self.items,
            "tables": self.tables,
            "columns": [[name, columns_of(rows)] for name, rows in ((None, self.items), *self.tables.items())],
            "values": {name: {"number": value.number, "unit": value.unit} for name, value in self.values.items()},
            "order": [*self.values],
            "alerts": [{"text": alert.text, "severity": alert.severity} for alert in self.alerts],
            "files": list(self.files),
            "evidence_url": self.evidence_url,
            "cut": list(self.cut),
        }


def read_result(given: Mapping[str, Any]) -> Result:
    """Checks the arguments of `submit_result`: wrong kinds raise Invalid("result"), what is too large is cut, noted."""
    cut: list[str] = []
    summary = given.get("summary") or ""
    if not isinstance(summary, str):
        raise _wrong("summary", "text")
    if len(summary) > MAX_SUMMARY:
        cut.append(f"the summary beyond {MAX_SUMMARY:,} characters")
    tables = given.get("tables") or {}
    if not isinstance(tables, Mapping):
        raise _wrong("tables", "an object of tables by name")
    named: dict[str, Table] = {}
    for name, rows in _some(tables, MAX_TABLES, "table", cut):
        named[_free_name(name, 100, named)] = _table(rows, f"tables.{name}"[:60], cut)
    evidence_url = given.get("evidence_url")
    return Result(
        summary=clean_text(summary, MAX_SUMMARY),
        items=_table(given.get("items") or [], "items", cut),
        tables=named,
        values=_values(given.get("values") or {}, cut),
        alerts=tuple(_alerts(given.get("alerts") or [], cut)),
        files=tuple(_files(given.get("files") or [], cut)),
        evidence_url=clean_url(evidence_url) if evidence_url else None,
        cut=tuple(dict.fromkeys(cut)),
    )


def stored_result(data: Mapping[str, Any] | None) -> Result | None:
    """The result in a run's `result_data`, or None when the run has none. It was checked when it was stored."""
    if not data:
        return None
    values = {name: Value(value["number"], value.get("unit")) for name, value in (data.get("values") or {}).items()}
    order = [name for name in data.get("order") or () if name in values]
    return Result(
        summary=data.get("summary") or "",
        items=data.get("items") or [],
        tables=data.get("tables") or {},
        values={**{name: values[name] for name in order}, **values},
        alerts=tuple(Alert(alert["text"], alert["severity"]) for alert in data.get("alerts") or ()),
        files=tuple(data.get("files") or ()),
        evidence_url=data.get("evidence_url"),
        cut=tuple(str(note) for note in data.get("cut") or ()),
    )


def columns_of(rows: Table) -> list[str]:
    """The columns of a table in order of first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _table(rows: object, where: str, cut: list[str]) -> Table:
    if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
        raise _wrong(where, "a list of rows")
    if len(rows) > MAX_ROWS:
        cut.append(f"{counted(len(rows) - MAX_ROWS, 'row')} of {clean_line(where, 60)}")
    columns: dict[object, str] = {}
    table: Table = []
    for row in rows[:MAX_ROWS]:
        if not isinstance(row, Mapping):
            raise _wrong(f"each row of {where}", "an object of column names and values")
        cells: dict[str, Cell] = {}
        for name, value in row.items():
            if name not in columns:
                if len(columns) >= MAX_COLUMNS:
                    cut.append(f"columns of {clean_line(where, 60)} beyond {MAX_COLUMNS}")
                    continue
                columns[name] = _free_name(name, 80, columns.values())
            if isinstance(value, str) and len(value) > MAX_CELL:
                cut.append(f"texts of {clean_line(where, 60)} beyond {MAX_CELL:,} characters")
            cells[columns[name]] = _cell(value)
        table.append(cells)
    return table


def _cell(value: object) -> Cell:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):  # the long numbers of parcels and posts: as text every JSON reader keeps all digits
        return value if abs(value) < _EXACT else _digits(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return clean_text(value, MAX_CELL)


def _digits(value: int) -> str:
    return str(value) if value.bit_length() <= _LONGEST_BITS else "(a huge number)"


def _number(value: object) -> int | float | None:
    """A number that every JSON reader reads the same: from 2**53 on a float; None for what is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        if abs(value) < _EXACT:
            return value
        return float(value) if value.bit_length() < _LONGEST_BITS else None
    return value if math.isfinite(value) else None


def _values(given: object, cut: list[str]) -> dict[str, Value]:
    if not isinstance(given, Mapping):
        raise _wrong("values", "an object of numbers by name")
    values: dict[str, Value] = {}
    for name, value in _some(given, MAX_VALUES, "value", cut):
        given_number, unit = (value.get("number"), value.get("unit")) if isinstance(value, Mapping) else (value, None)
        number = _number(given_number)
        if number is None:
            raise _wrong(f"values.{name}", "a finite number, or {number, unit}")
        values[_free_name(name, 80, values)] = Value(number, clean_line(unit, 20) if unit else None)
    return values


def _alerts(given: object, cut: list[str]) -> list[Alert]:
    if not isinstance(given, list | tuple):
        raise _wrong("alerts", "a list")
    if len(given) > MAX_ALERTS:
        cut.append(counted(len(given) - MAX_ALERTS, "alert"))
    alerts = []
    for alert in given[:MAX_ALERTS]:
        text, severity = (alert.get("text"), alert.get("severity")) if isinstance(alert, Mapping) else (alert, "info")
        if not isinstance(text, str):
            raise _wrong("each alert", "text, or {text, severity}")
        alerts.append(Alert(clean_text(text, 1000), severity if severity in SEVERITIES else "info"))
    return alerts


def _files(given: object, cut: list[str]) -> list[str]:
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        raise _wrong("files", "a list of file names")
    if len(given) > MAX_FILES:
        cut.append(counted(len(given) - MAX_FILES, "file"))
    return [clean_line(name, 255) for name in given[:MAX_FILES]]


def _some(given: Mapping[Any, Any], most: int, thing: str, cut: list[str]) -> list[tuple[Any, Any]]:
    if len(given) > most:
        cut.append(counted(len(given) - most, thing))
    return list(given.items())[:most]


def _free_name(given: object, limit: int, taken: Collection[str]) -> str:
    """The name on one line; one that looks like another is numbered, so that neither takes the other's place."""
    name = free = clean_line(given, limit)
    number = 1
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def _wrong(where: str, wanted: str) -> Invalid:
    return Invalid("result", f"`{clean_line(where, 80)}` of the result must be {wanted}.")
