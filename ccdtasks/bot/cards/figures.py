"""Rows, values and counters of a run in words and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ccdtasks import amounts
from ccdtasks.amounts import amount_text, cell_text
from ccdtasks.bot import text
from ccdtasks.core.outcome.results import Alert, Value
from ccdtasks.core.outcome.resulttables import Rows
from ccdtasks.db.models import TaskRun
from ccdtasks.times import duration_text, size_text

ROWS_SHOWN = 5
_ROW = 380
_COLUMNS_SHOWN = 6
_CELL = 80


def tables_text(tables: Sequence[Rows]) -> str:
    """The first rows of the main table, and how many more there are of it and in others."""
    if not tables:
        return ""
    first, *others = tables
    rest = first.outline.count - ROWS_SHOWN
    more = [f"{_rows(rest, 'more ')} in View Details"] if rest > 0 else []
    more += [f"{text.plain(each.outline.name or 'more', 60)}: {_rows(each.outline.count)}" for each in others[:10]]
    title = [f"__{text.plain(first.outline.name, 60)}__"] if first.outline.name else []
    return "\n".join([*title, *rows_lines(first.rows[:ROWS_SHOWN], 1), *([" · ".join(more)] if more else [])])


def _rows(count: int, what: str = "") -> str:
    return amounts.counted(count, f"{what}row")


def rows_lines(rows: Sequence[Mapping[str, Any]], first_number: int) -> list[str]:
    """A numbered line a row, of bounded length; the first column is bold, the others carry their names."""
    return [f"{number}\\. {_row(row)}" for number, row in enumerate(rows, first_number)]


def _row(row: Mapping[str, Any]) -> str:
    cells = [(str(name), value) for name, value in row.items() if value not in (None, "")]
    if not cells:
        return "—"
    said = f"**{text.plain(value_text(cells[0][1]), _CELL) or '—'}**"
    for place, (name, value) in enumerate(cells[1:], 2):
        cell = f" · {text.plain(name, 40)}: {text.plain(value_text(value), _CELL)}"
        if place > _COLUMNS_SHOWN or len(said) + len(cell) > _ROW:
            return f"{said} · …"
        said += cell
    return said


def value_text(value: Any) -> str:
    """A cell: numbers as people write them, text as it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return cell_text(value) if isinstance(value, int | float) else str(value)


def values_text(values: Mapping[str, Value], most: int = 10) -> str:
    """`lowest_price $342 · options 47`."""
    said = [
        f"{text.plain(name, 60)} **{text.plain(amount_text(value.number, value.unit), 60)}**"
        for name, value in [*values.items()][:most]
    ]
    more = len(values) - most
    return " · ".join([*said, f"{more} more"] if more > 0 else said)


def alerts_text(alerts: Sequence[Alert]) -> str:
    """One line an alert."""
    lines = [f"🔔 {text.plain(alert.text, 300)}" for alert in alerts[:5] if alert.text.strip()]
    more = len(alerts) - 5
    return "\n".join([*lines, f"and {counted(more, 'more alert')}"] if more > 0 else lines)


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
        counted(tokens, "token"),
        f"about ${run.cost_usd:.2f}" if run.cost_usd else None,
        f"run {str(run.id)[:8]}",
    )
    return " · ".join(part for part in known if part)


def counted(number: int | None, thing: str) -> str | None:
    """`1 page`, `2,847 pages`; None when nothing was counted."""
    return amounts.counted(number, thing) if number else None


def _tokens(used: Mapping[str, Any] | None) -> int:
    """What was sent and answered; what was read from the cache is left out."""
    numbers = [(used or {}).get(name) for name in ("input", "output", "cache_write")]
    return sum(number for number in numbers if isinstance(number, int) and not isinstance(number, bool))
