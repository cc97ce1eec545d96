"""Figures as rows: for CSV files, which `core.tables` keeps safe from spreadsheets, and for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ccdtasks.core.figures.metrics import Report, Series
from ccdtasks.core.outcome.results import Table
from ccdtasks.core.records.sums import Sums
from ccdtasks.core.runs.runs import RunRow


def period_rows(report: Report) -> Table:
    """A row for each day, or for each month of everything."""
    first = "month" if report.timeframe == "all" else "day"
    return [
        {first: f"{each.starts_on:%Y-%m}" if first == "month" else str(each.starts_on), **_figures(each.sums)}
        for each in report.periods
    ]


def run_rows(rows: Iterable[RunRow]) -> Table:
    """A row for each run."""
    return [
        {
            "run": str(row.run.id),
            "task": row.task_name,
            "status": row.run.status.value,
            "reason": row.run.reason.value if row.run.reason else None,
            "queued_at": row.run.queued_at.isoformat() if row.run.queued_at else None,
            "started_at": row.run.started_at.isoformat() if row.run.started_at else None,
            "completed_at": row.run.completed_at.isoformat() if row.run.completed_at else None,
            "duration_s": row.run.duration_seconds,
            "attempt": row.run.attempt,
            "pages": row.run.pages_loaded,
            "requests": row.run.http_requests_made,
            "bytes": row.run.data_transferred_bytes,
            "cost_usd": float(row.run.cost_usd) if row.run.cost_usd is not None else None,
            "summary": row.run.result_summary or row.run.error_message,
        }
        for row in rows
    ]


def series_rows(series: Series) -> Table:
    """A row for each point."""
    return [{"at": at.isoformat(), series.name: number, "unit": series.unit} for at, number in series.points]


def report_shape(report: Report) -> dict[str, Any]:
    """All that a report says, as JSON."""
    return {
        "task": report.task.task_name if report.task else None,
        "timeframe": report.timeframe,
        "timezone": report.timezone,
        "is_counting": report.is_counting,
        **_figures(report.total),
        "reasons": report.total.reasons,
        "models": report.total.models,
        "bottlenecks": [
            {
                "step": step.title,
                "times": step.times,
                "total_s": step.total_ms / 1000,
                "average_s": round(step.total_ms / step.times / 1000, 3),
                "longest_s": step.longest_ms / 1000,
                "failures": step.failures,
            }
            for step in report.total.bottlenecks()
        ],
        "periods": period_rows(report),
    }


def series_shape(series: Series) -> dict[str, Any]:
    """The points of a number, as JSON."""
    return {
        "task": series.task.task_name,
        "value": series.name,
        "unit": series.unit,
        "threshold": series.threshold.number if series.threshold else None,
        "is_cut": series.is_cut,
        "points": [{"at": at.isoformat(), "number": number} for at, number in series.points],
    }


def failures_text(sums: Sums) -> str:
    """`timeout 3, blocked 1`, the most frequent first."""
    frequent: Sequence[tuple[str, int]] = sorted(sums.reasons.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{reason.replace('_', ' ')} {count}" for reason, count in frequent)


def _figures(sums: Sums) -> dict[str, Any]:
    slowest = sums.bottlenecks(1)
    return {
        "runs": sums.runs,
        "completed": sums.completed,
        "failed": sums.failed,
        "cancelled": sums.cancelled,
        "retries": sums.retries,
        "success_rate": _rounded(sums.success_rate, 4),
        "duration_p50_s": _rounded(sums.percentile_s(0.5), 1),
        "duration_p95_s": _rounded(sums.percentile_s(0.95), 1),
        "compute_s": sums.compute_s,
        "pages": sums.pages,
        "page_load_s": _rounded(sums.load_s, 3),
        "requests": sums.requests,
        "failed_requests": sums.failed_requests,
        "bytes": sums.transferred_bytes,
        "api_calls": sums.api_calls,
        "input_tokens": sums.input_tokens,
        "output_tokens": sums.output_tokens,
        "cache_read_tokens": sums.cache_read_tokens,
        "cache_write_tokens": sums.cache_write_tokens,
        "cost_usd": float(sums.cost_usd),
        "failures": failures_text(sums),
        "slowest_step": slowest[0].title if slowest else None,
    }


def _rounded(number: float | None, digits: int) -> float | None:
    return None if number is None else round(number, digits)
