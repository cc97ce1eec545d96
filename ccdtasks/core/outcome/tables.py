"""Results as files: CSV that no spreadsheet executes."""

from __future__ import annotations

import csv
import io
import re

from ccdtasks.core.outcome.results import Cell, Table, columns_of

_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "＝", "＋", "－", "＠")
# Where lists are separated by ";", a spreadsheet splits cells there, and at the line feeds within one.
_DANGEROUS_INSIDE = re.compile(r"([;\t\r\n] *)(?=[=@＝＠]|[-+－＋][^\d\s])")
_NUMBER = re.compile(r"[+-]?(\d[\d.,]*)(%|e[+-]?\d+)?\Z", re.IGNORECASE)


def csv_text(rows: Table) -> str:
    """The table as RFC 4180 text. Cells that a spreadsheet would run as a formula get a leading apostrophe."""
    out = io.StringIO(newline="")
    columns = columns_of(rows)
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([_guarded(column) for column in columns])
    writer.writerows([[_csv_cell(row.get(column)) for column in columns] for row in rows])
    return out.getvalue()


def _csv_cell(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return _guarded(cell) if isinstance(cell, str) else str(cell)


def _guarded(text: str) -> str:
    text = _DANGEROUS_INSIDE.sub(r"\1'", text)
    return "'" + text if text.lstrip(" ").startswith(_DANGEROUS) and not _NUMBER.match(text) else text
