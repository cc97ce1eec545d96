"""Histories and figures of tasks, and the charts that go with them."""

from __future__ import annotations

from ccdtasks.adapters import charts
from ccdtasks.amounts import amount_text, change_text
from ccdtasks.bot import text
from ccdtasks.bot.cards import figures
from ccdtasks.bot.cards.card import Button, Card, File, join
from ccdtasks.bot.cards.status import AMBER, BLUE, GREEN, GREY, RED
from ccdtasks.bot.cards.task import run_line
from ccdtasks.core.figures.metrics import Period, Report, Series, Timeframe
from ccdtasks.core.figures.metrictables import failures_text, period_rows, series_rows
from ccdtasks.core.outcome.tables import csv_text
from ccdtasks.core.pages import Page
from ccdtasks.core.records.sums import Sums
from ccdtasks.core.runs.runs import RunRow
from ccdtasks.db.models import Task
from ccdtasks.times import duration_text, size_text

HISTORY = 10
CHART = "chart.png"
"""The name under which a card shows its chart."""

_BOM = "\ufeff"  # without it spreadsheets take UTF-8 for something else
_WORDS: dict[Timeframe, str] = {"day": "today", "week": "last 7 days", "month": "last 30 days", "all": "all time"}
_LABELS: dict[Timeframe, str] = {"day": "Today", "week": "Week", "month": "Month", "all": "All"}
_GOOD, _FAIR = 0.9, 0.5


def history(task: Task, found: Page[RunRow], *, limit: int, is_first: bool) -> Card:
    """One page of a task's runs, the newest first."""
    forward = () if found.next_after is None else (Button("More", f"history:{task.id}:{limit}:{found.next_after}"),)
    back = () if is_first else (Button("First page", f"history:{task.id}:{limit}:start"),)
    return Card(
        title=f"{text.plain(task.task_name, 100)}: history",
        body="\n".join(run_line(row) for row in found.rows)
        or ("It has never run." if is_first else "There are no older runs."),
        colour=BLUE if found.rows else GREY,
        footer=_counts(task),
        buttons=(*forward, *back),
    )


def _counts(task: Task) -> str:
    ended = task.success_count + task.failure_count
    rate = f"{task.success_count / ended:.0%} good" if ended else None
    return " · ".join(part for part in (figures.counted(task.run_count, "run"), rate) if part)


def report(found: Report) -> Card:
    """The figures of a timeframe: what a person would tell a friend comes first."""
    sums, name = found.total, _name(found)
    where = f"metrics:{{}}:{found.task.id if found.task else 'all'}"
    others = tuple(Button(label, where.format(frame)) for frame, label in _LABELS.items() if frame != found.timeframe)
    if not sums.runs:
        return Card(
            title=f"{name}: {_WORDS[found.timeframe]}", body=join("No run ended in that time.", _pending(found)),
            colour=GREY, buttons=others,
        )  # fmt: skip
    return Card(
        title=f"{name}: {_WORDS[found.timeframe]}",
        body=join(_headline(sums), _durations(sums), _failures(sums), _steps(sums), _use(sums), _pending(found)),
        colour=_colour(sums),
        footer=f"Days of {found.timezone} · costs are estimates by list prices",
        buttons=(*others, Button("CSV", where.format(f"csv:{found.timeframe}"))),
    )


def _name(found: Report) -> str:
    return text.plain(found.task.task_name, 100) if found.task else "All tasks"


def _colour(sums: Sums) -> int:
    rate = sums.success_rate
    return GREY if rate is None else GREEN if rate >= _GOOD else AMBER if rate >= _FAIR else RED


def _headline(sums: Sums) -> str:
    runs, ended, rate = figures.counted(sums.runs, "run") or "", sums.completed + sums.failed, sums.success_rate
    stopped = f", {sums.cancelled:,} stopped" if sums.cancelled else ""
    if rate is None:
        return f"**{runs}**{stopped}"
    return f"**{rate:.0%} good**: {sums.completed:,} of {ended:,} completed{stopped}"


def _durations(sums: Sums) -> str:
    half, most = sums.percentile_s(0.5), sums.percentile_s(0.95)
    if half is None or most is None:
        return ""
    return f"Usually {duration_text(half)}; 95 % are done within {duration_text(most)}."


def _failures(sums: Sums) -> str:
    return f"Failures: {failures_text(sums)}" if sums.reasons else ""


def _steps(sums: Sums) -> str:
    lines = [
        f"{number}\\. {text.plain(step.title, 80)}: {_took(step.total_ms / step.times)} on average, "
        f"{figures.counted(step.times, 'time')}" + (f", {step.failures:,} failed" if step.failures else "")
        for number, step in enumerate(sums.bottlenecks(3), 1)
    ]
    return "\n".join(["Where the time goes:", *lines]) if lines else ""


def _took(milliseconds: float) -> str:
    return amount_text(round(milliseconds / 1000, 1), "s")


def _use(sums: Sums) -> str:
    load = f", {_took(sums.load_s * 1000)} each" if sums.load_s else ""
    pages = figures.counted(sums.pages, "page")
    parts = (
        f"{pages}{load}" if pages else None,
        figures.counted(sums.requests, "request"),
        size_text(sums.transferred_bytes) if sums.transferred_bytes else None,
        figures.counted(sums.tokens, "token"),
        f"about ${sums.cost_usd:,.2f}" if sums.cost_usd else None,
    )
    return " · ".join(part for part in parts if part)


def _pending(found: Report) -> str:
    return "Older runs are still being counted; look again in a few minutes." if found.is_counting else ""


def report_chart(found: Report) -> charts.ColumnChart:
    """How the runs of each day, or month, ended."""
    sums, name = found.total, found.task.task_name if found.task else "All tasks"
    rate = f": {sums.success_rate:.0%} good" if sums.success_rate is not None else ""
    endings: tuple[tuple[str, charts.Tone], ...] = (("completed", "good"), ("failed", "bad"), ("cancelled", "quiet"))
    parts = (
        charts.Part(word, tuple(getattr(each.sums, word) for each in found.periods), tone)
        for word, tone in endings
        if any(getattr(each.sums, word) for each in found.periods)
    )
    return charts.ColumnChart(
        title=f"{name}, {_WORDS[found.timeframe]}{rate}",
        columns=tuple(_column(each, found.timeframe) for each in found.periods),
        parts=tuple(parts),
    )


def _column(period: Period, timeframe: Timeframe) -> str:
    return f"{period.starts_on:%b %Y}" if timeframe == "all" else f"{period.starts_on:%-d %b}"


def report_file(found: Report) -> Card:
    """The figures as a file for a spreadsheet."""
    name = found.task.task_name if found.task else "all-tasks"
    data = (_BOM + csv_text(period_rows(found))).encode()
    return Card(content="One row a day, or a month.", files=(File(f"{name[:60]}-{found.timeframe}.csv", data),))


def series(found: Series, timeframe: Timeframe) -> Card:
    """A number over time, in words: the chart says the rest."""
    name = text.plain(found.task.task_name, 100)
    return Card(
        title=text.clamp(f"{name}: {text.plain(found.name, 80)}, {_WORDS[timeframe]}", text.EMBED_TITLE),
        body=join(_finding(found), "Only the latest 2,000 points are shown." if found.is_cut else ""),
        colour=BLUE,
        footer=figures.counted(len(found.points), "point") or "",
        files=(File(f"{text.channel_name(found.name)[:60]}.csv", (_BOM + csv_text(series_rows(found))).encode()),),
    )


def _finding(found: Series) -> str:
    numbers = [number for _, number in found.points]
    last = text.plain(amount_text(numbers[-1], found.unit), 60)
    if len(numbers) < 2:
        return f"**{last}**. One point so far; more runs make a line."
    low, high = (text.plain(amount_text(each, found.unit), 60) for each in (min(numbers), max(numbers)))
    change = text.plain(change_text(numbers[0], numbers[-1], found.unit), 120)
    limit = found.threshold
    side = ""
    if limit is not None:
        word = "below" if numbers[-1] < limit.number else "above" if numbers[-1] > limit.number else "at"
        amount = text.plain(amount_text(limit.number, found.unit), 40)
        side = f", {word} {text.plain(limit.name, 60)} ({amount})" if limit.name else f", {word} {amount}"
    return f"Now **{last}**{side}.\n{change}\nLowest {low}, highest {high}."


def series_chart(found: Series, timeframe: Timeframe) -> charts.LineChart:
    """A number over time; the title says where it stands."""
    numbers = [number for _, number in found.points]
    place = " lowest" if numbers[-1] == min(numbers) else " highest" if numbers[-1] == max(numbers) else ""
    said = f": now{place}" if place and len(set(numbers)) > 1 else ""
    limit = found.threshold
    return charts.LineChart(
        title=f"{found.name.replace('_', ' ')}, {_WORDS[timeframe]}{said}",
        lines=(charts.Line(found.name, tuple(found.points), found.unit or ""),),
        threshold=charts.Threshold(limit.number, limit.name, found.unit or "") if limit else None,
        timezone=found.task.schedule_timezone,
    )
