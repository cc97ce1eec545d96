"""Rows, values and counters of a run in words and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ccdtasks.bot import text
from ccdtasks.db.models import TaskRun
from ccdtasks.times import duration_text, size_text

ROWS_SHOWN = 5
_COLUMNS_SHOWN = 6
_CELL = 80


def rows_text(items: Any) -> str:
    """At most five rows as a numbered list; the first column is bold, the others carry their names."""
    if not isinstance(items, list):
        return ""
    rows = [row for row in items if isinstance(row, Mapping) and row]
    shown = [f"{number}\\. {_row(row)}" for number, row in enumerate(rows[:ROWS_SHOWN], 1)]
    rest = len(rows) - ROWS_SHOWN
    if rest > 0:
        shown.append(f"{rest:,} more {'row' if rest == 1 else 'rows'} in results.csv")
    return "\n".join(shown)


def _row(row: Mapping[str, Any]) -> str:
    cells = [(str(name), value) for name, value in row.items() if value not in (None, "")][:_COLUMNS_SHOWN]
    if not cells:
        return "—"
    head = f"**{text.plain(value_text(cells[0][1]), _CELL) or '—'}**"
    return " · ".join(
        [head, *(f"{text.plain(name, 40)}: {text.plain(value_text(value), _CELL)}" for name, value in cells[1:])]
    )


def value_text(value: Any) -> str:
    """A cell: numbers with thousands separators, text as it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    return str(value)


def values_text(values: Any) -> str:
    """`lowest_price 342 USD · options 47`."""
    if not isinstance(values, Mapping):
        return ""
    said = []
    for name, value in list(values.items())[:10]:
        number = value.get("number") if isinstance(value, Mapping) else value
        unit = value.get("unit") if isinstance(value, Mapping) else None
        amount = f"{value_text(number)} {unit}" if unit else value_text(number)
        said.append(f"{text.plain(name, 60)} **{text.plain(amount, 60)}**")
    return " · ".join(said)


def alerts_text(alerts: Any) -> str:
    """One line an alert."""
    if not isinstance(alerts, list):
        return ""
    lines = [alert.get("text", "") if isinstance(alert, Mapping) else alert for alert in alerts[:5]]
    return "\n".join(f"🔔 {text.plain(line, 300)}" for line in lines if str(line).strip())


def parameters_text(parameters: Mapping[str, Any]) -> str:
    """One bullet a parameter."""
    lines = [f"• {text.plain(name, 60)}: {text.plain(value, 120)}" for name, value in list(parameters.items())[:15]]
    if len(parameters) > len(lines):
        lines.append(f"• and {len(parameters) - len(lines)} more")
    return "\n".join(lines)


def small_print(run: TaskRun) -> str:
    """Duration, pages, requests, data, tokens, estimated cost: what is known of them."""
    tokens = _tokens(run.tokens_used)
    known: Iterable[str | None] = (
        duration_text(run.duration_seconds) if run.duration_seconds is not None else None,
        counted(run.pages_loaded, "page"),
        counted(run.http_requests_made, "request"),
        size_text(run.data_transferred_bytes) if run.data_transferred_bytes else None,
        f"{tokens:,} tokens" if tokens else None,
        f"about ${run.cost_usd:.2f}" if run.cost_usd else None,
        f"run {str(run.id)[:8]}",
    )
    return " · ".join(part for part in known if part)


def counted(number: int | None, thing: str) -> str | None:
    """`1 page`, `2,847 pages`; None when nothing was counted."""
    if not number:
        return None
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _tokens(used: Mapping[str, Any] | None) -> int:
    """What was sent and answered; what was read from the cache is left out."""
    numbers = [(used or {}).get(name) for name in ("input", "output", "cache_write")]
    return sum(number for number in numbers if isinstance(number, int) and not isinstance(number, bool))
