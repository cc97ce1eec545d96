"""Results as files and as text: CSV that no spreadsheet executes, and Markdown."""

from __future__ import annotations

import csv
import io
import re

from ccdtasks.amounts import counted
from ccdtasks.core.results import Cell, Result, Table, columns_of

_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"[+-]?(\d[\d.,]*)(%|e[+-]?\d+)?\Z", re.IGNORECASE)


def csv_text(rows: Table) -> str:
    """The table as RFC 4180 text. Cells that a spreadsheet would run as a formula get a leading apostrophe."""
    out = io.StringIO(newline="")
    columns = columns_of(rows)
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([_guarded(column) for column in columns])
    writer.writerows([[_csv_cell(row.get(column)) for column in columns] for row in rows])
    return out.getvalue()


def markdown_text(result: Result, rows: int = 20) -> str:
    """The summary, then the first `rows` rows of the main table, then values and alerts."""
    parts = [result.summary.strip()] if result.summary.strip() else []
    if result.items:
        parts.append(_markdown_table(result.items[:rows]))
        if len(result.items) > rows:
            parts.append(f"{counted(len(result.items) - rows, 'more row')}.")
    if result.values:
        parts.append(
            "\n".join(
                f"- {_inline(name)}: {value_text(value.number, value.unit)}" for name, value in result.values.items()
            )
        )
    if result.alerts:
        parts.append("\n".join(f"- **{alert.severity}** {_inline(alert.text)}" for alert in result.alerts))
    return "\n\n".join(parts)


def value_text(number: float | int, unit: str | None) -> str:
    """`342 USD`, `2,847`, `21.5 °C`."""
    text = f"{number:,}" if isinstance(number, int) else f"{number:,.6g}"
    return f"{text} {unit}" if unit else text


def _csv_cell(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return _guarded(cell) if isinstance(cell, str) else str(cell)


def _guarded(text: str) -> str:
    return "'" + text if text.lstrip(" ").startswith(_DANGEROUS) and not _NUMBER.match(text) else text


def _markdown_table(rows: Table) -> str:
    columns = columns_of(rows)
    lines = ["| " + " | ".join(map(_inline, columns)) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_inline(_csv_cell(row.get(column))) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def _inline(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
