"""`ccdtasks history`, `ccdtasks metrics`, `ccdtasks chart`"""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
from rich.console import Group, RenderableType
from rich.text import Text

from ccdtasks.adapters.painter import Painter
from ccdtasks.amounts import amount_text, change_text, counted
from ccdtasks.cli.look import plain_table, status_text, when
from ccdtasks.cli.service import opened
from ccdtasks.cli.shell import Shell, verb
from ccdtasks.core.access import SHELL
from ccdtasks.core.figures.metrics import Report, Series, Timeframe
from ccdtasks.core.figures.metrictables import (
    failures_text,
    period_rows,
    report_shape,
    run_rows,
    series_rows,
    series_shape,
)
from ccdtasks.core.outcome.results import Table
from ccdtasks.core.outcome.tables import csv_text
from ccdtasks.core.pages import Page
from ccdtasks.core.records.sums import Sums
from ccdtasks.core.runs.runs import RunRow
from ccdtasks.core.runs.shapes import run_row_shape
from ccdtasks.times import duration_text, size_text

_SPARKS = "▁▂▃▄▅▆▇█"
_WIDTH = 60

_as_csv = click.option("--csv", "as_csv", is_flag=True, help="Answer as CSV, for a spreadsheet.")
_timeframe = click.option(
    "--timeframe",
    type=click.Choice(["day", "week", "month", "all"]),
    default="month",
    show_default=True,
    help="Today, the last 7 days, the last 30 days, or all time.",
)


@click.command()
@click.argument("task")
@click.option("--limit", type=click.IntRange(1, 200), default=10, show_default=True, help="How many runs.")
@click.option("--after", help="Go on behind this run: the last one of the page before.")
@_as_csv
@verb
@click.pass_obj
def history(shell: Shell, task: str, limit: int, after: str | None, as_csv: bool) -> None:
    """Show the runs of TASK, the newest first."""
    page = asyncio.run(_history(shell, task, limit, after))
    if as_csv:
        _print_csv(run_rows(page.rows))
        return
    shell.show(
        {"runs": [run_row_shape(row) for row in page.rows], "next_after": page.next_after}, lambda: _runs(page, task)
    )


@click.command()
@click.argument("task", required=False)
@_timeframe
@_as_csv
@verb
@click.pass_obj
def metrics(shell: Shell, task: str | None, timeframe: Timeframe, as_csv: bool) -> None:
    """Show how well TASK does, how long it takes and what it uses; all tasks when it is left out."""
    report = asyncio.run(_report(shell, task, timeframe))
    if as_csv:
        _print_csv(period_rows(report))
        return
    shell.show(report_shape(report), lambda: _figures(report))


@click.command()
@click.argument("task")
@click.argument("value")
@_timeframe
@_as_csv
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Draw it into this PNG file.")
@verb
@click.pass_obj
def chart(  # noqa: PLR0917 - click passes them by name
    shell: Shell, task: str, value: str, timeframe: Timeframe, as_csv: bool, output: Path | None
) -> None:
    """Show the number VALUE of the results of TASK over time."""
    series, picture = asyncio.run(_series(shell, task, value, timeframe, drawn=output is not None))
    if output is not None and picture is not None:
        output.write_bytes(picture)
    if as_csv:
        _print_csv(series_rows(series))
        return
    shell.show(series_shape(series), lambda: _course(series, output))


async def _history(shell: Shell, task: str, limit: int, after: str | None) -> Page[RunRow]:
    async with opened(shell) as core:
        return await core.runs.page(SHELL, task, after=after, limit=limit)


async def _report(shell: Shell, task: str | None, timeframe: Timeframe) -> Report:
    async with opened(shell) as core:
        return await core.metrics.of(SHELL, task, timeframe)


async def _series(
    shell: Shell, task: str, value: str, timeframe: Timeframe, *, drawn: bool
) -> tuple[Series, bytes | None]:
    async with opened(shell) as core:
        series = await core.metrics.series(SHELL, task, value, timeframe)
        if not drawn:
            return series, None
        from ccdtasks.adapters.charts import paint
        from ccdtasks.bot.cards.metrics import series_chart

        painter = Painter(core.config.paths.data_dir / "cache" / "pictures")
        return series, await paint(painter, series_chart(series, timeframe))


def _print_csv(rows: Table) -> None:
    click.echo(csv_text(rows), nl=False)


def _runs(page: Page[RunRow], task: str) -> RenderableType:
    if not page.rows:
        return Text(f"{task} has no runs here.")
    table = plain_table("run", "status", "started", "took", "what")
    for row in page.rows:
        run = row.run
        took = duration_text(run.duration_seconds) if run.duration_seconds is not None else ""
        what = " ".join((run.result_summary or run.error_message or "").split())[:60]
        at = when(run.started_at or run.created_at)
        table.add_row(run.id.hex[:8], status_text(run.status, run.reason), at, took, what)
    more = f"\nOlder ones: ccdtasks history {task} --after {page.rows[-1].run.id.hex[:8]}" if page.next_after else ""
    return Group(table, Text(more)) if more else table


def _figures(report: Report) -> RenderableType:
    sums, name = report.total, report.task.task_name if report.task else "All tasks"
    note = ["Older runs are still being counted."] if report.is_counting else []
    if not sums.runs:
        return Text("\n".join([f"{name}: no run ended in that time.", *note]))
    half, most, rate = sums.percentile_s(0.5), sums.percentile_s(0.95), sums.success_rate
    facts = (
        ("runs", f"{sums.runs:,}: {sums.completed:,} completed, {sums.failed:,} failed, {sums.cancelled:,} stopped"),
        ("good", f"{rate:.0%}" if rate is not None else None),
        ("failures", failures_text(sums)),
        ("took", f"usually {duration_text(half)}, 95 % within {duration_text(most)}" if half and most else None),
        ("pages", _pages(sums)),
        ("data", _data(sums)),
        ("tokens", f"{sums.input_tokens:,} in, {sums.output_tokens:,} out" if sums.tokens else None),
        ("cost", f"about ${sums.cost_usd:,.2f}" if sums.cost_usd else None),
    )
    lines = [Text(f"{name}, {report.timeframe} ({report.timezone})", style="bold")]
    lines += [Text(f"{word:<9} {said}") for word, said in facts if said]
    lines += [Text(said) for said in note]
    steps = plain_table("slowest steps", "times", "average", "longest", "failed")
    for step in sums.bottlenecks():
        average, longest = (
            amount_text(round(ms / 1000, 1), "s") for ms in (step.total_ms / step.times, step.longest_ms)
        )
        steps.add_row(step.title, f"{step.times:,}", average, longest, f"{step.failures:,}")
    return Group(*lines, Text(""), steps) if sums.steps else Group(*lines)


def _pages(sums: Sums) -> str | None:
    each = f", {sums.load_s:.1f} s each" if sums.load_s else ""
    return f"{sums.pages:,}{each}" if sums.pages else None


def _data(sums: Sums) -> str | None:
    return f"{counted(sums.requests, 'request')}, {size_text(sums.transferred_bytes)}" if sums.requests else None


def _course(series: Series, output: Path | None) -> RenderableType:
    numbers = [number for _, number in series.points]
    low, high = min(numbers), max(numbers)
    last = numbers[-_WIDTH:]
    line = "".join(_SPARKS[round((number - low) / (high - low) * 7) if high > low else 3] for number in last)
    said = [
        f"{series.task.task_name}: {series.name}",
        line,
        f"{change_text(numbers[0], numbers[-1], series.unit)}, lowest {amount_text(low, series.unit)}, "
        f"highest {amount_text(high, series.unit)}, {counted(len(numbers), 'point')}",
    ]
    return Text("\n".join([*said, *([f"Drawn: {output}"] if output else [])]))
