"""Checks what the agent hands in with `submit_result`. Every complaint is a sentence the agent can act on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

MAX_SUMMARY = 20_000  # characters
MAX_ROWS = 20_000
MAX_COLUMNS = 50
MAX_VALUES = 100
MAX_ALERTS = 50
MAX_FILES = 50
SEVERITIES = ("info", "warning", "critical")

# Copies a file out and returns its path below out/; raises an error whose text names the problem.
GiveFile = Callable[[str], str]


class ResultError(Exception):
    """The result was not taken; the message lists what to correct."""


def check(arguments: dict[str, Any], give_file: GiveFile) -> dict[str, Any]:
    """The result in the form of the run folder's contract. Raises ResultError with all mistakes at once."""
    mistakes: list[str] = []
    known = {"summary", "items", "tables", "values", "alerts", "files", "evidence_url"}
    mistakes += [f"{key!r} is not a field of the result" for key in sorted(set(arguments) - known)]
    result = {
        "summary": _summary(arguments.get("summary"), mistakes),
        "items": _rows("items", arguments.get("items"), mistakes),
        "tables": _tables(arguments.get("tables"), mistakes),
        "values": _values(arguments.get("values"), mistakes),
        "alerts": _alerts(arguments.get("alerts"), mistakes),
        "evidence_url": _evidence(arguments.get("evidence_url"), mistakes),
    }
    names = _names(arguments.get("files"), mistakes)
    if mistakes:  # nothing is copied out for a result that is refused
        raise ResultError("The result was not taken. " + "; ".join(mistakes[:10]) + ".")
    try:
        return {**result, "files": [give_file(name) for name in names]}
    except Exception as error:
        raise ResultError(f"The result was not taken. files: {error}.") from error


def _summary(value: Any, mistakes: list[str]) -> str:
    if not isinstance(value, str) or not value.strip():
        mistakes.append("summary must be a text that says what was found")
        return ""
    if len(value) > MAX_SUMMARY:
        mistakes.append(f"summary has {len(value)} characters; at most {MAX_SUMMARY}: put long texts into a file")
    return value.strip()


def _rows(name: str, value: Any, mistakes: list[str]) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        mistakes.append(f"{name} must be a list of objects, one per row")
        return []
    if len(value) > MAX_ROWS:
        mistakes.append(f"{name} has {len(value)} rows; at most {MAX_ROWS}: put the rest into a CSV file")
        return []
    columns = list(value[0]) if value else []
    if not all(column.strip() for column in columns) or len(columns) > MAX_COLUMNS or (value and not columns):
        mistakes.append(f"{name} needs 1 to {MAX_COLUMNS} named columns")
    for number, row in enumerate(value):
        _row(f"{name}[{number}]", row, columns, mistakes)
    return value


def _row(where: str, row: dict[str, Any], columns: list[str], mistakes: list[str]) -> None:
    missing = [column for column in columns if column not in row]
    extra = [column for column in row if column not in columns]
    if missing:
        mistakes.append(f"{where} lacks the column {missing[0]!r} (write null where nothing is known)")
    if extra:
        mistakes.append(f"{where} has the column {extra[0]!r}, which the first row lacks")
    for column, cell in row.items():
        if isinstance(cell, dict | list):
            mistakes.append(f"{where}.{column} must be a text, number, true, false or null, not a list or object")
        elif isinstance(cell, float) and not math.isfinite(cell):
            mistakes.append(f"{where}.{column} is not a number; write null")


def _tables(value: Any, mistakes: list[str]) -> dict[str, list[dict[str, Any]]]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > 10:
        mistakes.append("tables must be an object of at most 10 names, each with a list of rows")
        return {}
    return {name: _rows(f"tables.{name}", rows, mistakes) for name, rows in value.items()}


def _values(value: Any, mistakes: list[str]) -> dict[str, dict[str, Any]]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_VALUES:
        mistakes.append(f"values must be an object of at most {MAX_VALUES} names, each with a number")
        return {}
    checked = {}
    for name, entry in value.items():
        number, unit = (entry.get("number"), entry.get("unit")) if isinstance(entry, dict) else (entry, None)
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            mistakes.append(f"values.{name} must be a number without unit or quotes, not {number!r}")
        elif unit is not None and not isinstance(unit, str):
            mistakes.append(f"values.{name}.unit must be a text")
        checked[name] = {"number": number, "unit": unit}
    return checked


def _alerts(value: Any, mistakes: list[str]) -> list[dict[str, str]]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_ALERTS:
        mistakes.append(f"alerts must be a list of at most {MAX_ALERTS}")
        return []
    checked = []
    for number, alert in enumerate(value):
        entry = {"text": alert} if isinstance(alert, str) else alert
        text = entry.get("text") if isinstance(entry, dict) else None
        severity = entry.get("severity", "info") if isinstance(entry, dict) else None
        if not isinstance(text, str) or not text.strip() or severity not in SEVERITIES:
            mistakes.append(f"alerts[{number}] needs a text and a severity out of {', '.join(SEVERITIES)}")
        else:
            checked.append({"text": text.strip(), "severity": severity})
    return checked


def _evidence(value: Any, mistakes: list[str]) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).netloc:
        mistakes.append("evidence_url must be the full address of a page, starting with https:// or http://")
        return None
    return value


def _names(value: Any, mistakes: list[str]) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_FILES or not all(isinstance(name, str) for name in value):
        mistakes.append(f"files must be a list of at most {MAX_FILES} paths in the working folder")
        return []
    return value
