"""A run looked at closely: values, what is new, rows, steps, figures, addresses, attempts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from ccdtasks.bot import text
from ccdtasks.bot.cards import figures
from ccdtasks.bot.cards.card import Button, Card, join
from ccdtasks.bot.cards.result import log, report, source
from ccdtasks.bot.cards.status import GREY, LOOKS, look_of
from ccdtasks.core.outcome.changes import stored_changes
from ccdtasks.core.outcome.resulttables import Outline, Rows
from ccdtasks.core.runs.reports import Report, Try
from ccdtasks.db.models import TaskRun
from ccdtasks.times import duration_text, size_text

PAGE = 10
_SECTION = 900
_STEPS, _CHANGES, _TRIES = 8, 12, 6


def details(found: Report) -> Card:
    """All sections that have something to say, each within its bounds."""
    run, look = found.run, look_of(found.run)
    began = f"<t:{int((run.started_at or run.created_at).timestamp())}:f>"
    took = duration_text(run.duration_seconds) if run.duration_seconds is not None else ""
    rows = (Button("Rows", f"rows:{run.id}:0:0", "primary"),) if found.tables else ()
    return Card(
        title=f"{look.sign} {text.plain(found.task.task_name, 150)}: {look.word}",
        body=join(
            " · ".join(part for part in (began, took) if part),
            _section("Values", figures.parameters_text(run.parameters), 600),
            _section("Found", figures.values_text(found.result.values, 20) if found.result else "", 600),
            _section("New", _news(run)),
            _section("Steps", _steps(run.step_timings or ())),
            _section("Figures", _figures(run), 400),
            _section("Addresses", _addresses(found), 700),
            _section("Attempts", _attempts(found.attempts), 500) if len(found.attempts) > 1 else "",
        ),
        colour=look.colour,
        footer=f"run {run.id}",
        buttons=(*rows, log(run), report(run)),
    )


def rows_page(run_id: UUID, table: int, run: TaskRun, outlines: Sequence[Outline], found: Rows) -> Card:
    """One page of a table; the buttons turn it, and go on to the next table."""
    count, start = found.outline.count, found.start
    last = start + len(found.rows)
    name = f"{text.plain(found.outline.name, 60)}, " if found.outline.name else ""
    ahead = last < count
    first = [Button("First", f"rows:{run_id}:{table}:0")] if start > PAGE else []  # where Back leads elsewhere
    turning = [
        *first,
        Button("Back", f"rows:{run_id}:{table}:{max(0, start - PAGE)}", disabled=start == 0),
        Button("Next", f"rows:{run_id}:{table}:{last}", "primary", disabled=not ahead),
    ]
    other = (table + 1) % len(outlines)
    more = Button(f"Table {other + 1} of {len(outlines)}", f"rows:{run_id}:{other}:0")
    return Card(
        title=f"{name}rows {start + 1:,} to {last:,} of {count:,}",
        body="\n".join(figures.rows_lines(found.rows, start + 1)),
        colour=look_of(run).colour,
        footer="All of them are in the CSV file of the result.",
        buttons=(*turning, more) if len(outlines) > 1 else tuple(turning),
    )


def report_link(run: TaskRun, link: str | None) -> Card:
    """A link that works for a while; without an address of the box, where the same can be seen."""
    if link is None:
        return Card(
            title="No report page",
            body="This box has no address that your browser could open. Whoever runs it can set `[server] public_url`; "
            f"until then View Details, /task-logs and the files of the run have the same: {text.code(str(run.id))}.",
            colour=GREY,
        )
    return Card(
        title="The full report",
        body="The link is for you, and works for a while; press the button again for a new one.",
        colour=look_of(run).colour,
        buttons=(Button("Open", url=link),),
    )


def _section(name: str, body: str, most: int = _SECTION) -> str:
    return f"**{name}**\n{text.clamp(body, most)}" if body else ""


def _news(run: TaskRun) -> str:
    news, changes = run.news or {}, stored_changes(run.news)
    said = []
    if changes is not None:
        lines = changes.lines() or ["Nothing new."]
        said = [f"↔ {text.plain(line, 200)}" for line in lines[:_CHANGES]]
        said.append(f"since <t:{int(changes.since_at.timestamp())}:f>")
    if news.get("rule") not in (None, "always"):
        what = "told" if news.get("is_told") else "not told"
        said.append(f"Rule {text.code(news['rule'], 120)}: {what}. {text.plain(news.get('why') or '', 200)}".strip())
    return "\n".join(said)


def _steps(timings: Sequence[dict[str, Any]]) -> str:
    """The longest steps in the order in which they came; the slowest is marked."""
    longest = sorted(range(len(timings)), key=lambda at: -(timings[at].get("duration_ms") or 0))[:_STEPS]
    lines = []
    for place in sorted(longest):
        step = timings[place]
        took = duration_text((step.get("duration_ms") or 0) / 1000)
        mark = " · slowest" if len(timings) > 1 and place == longest[0] else ""
        sign = "" if step.get("ok") else " · failed"
        lines.append(f"{place + 1}\\. {text.plain(step.get('title') or 'step', 80)}: {took}{sign}{mark}")
    rest = len(timings) - len(lines)
    return "\n".join([*lines, f"and {figures.counted(rest, 'shorter step')}"] if rest > 0 else lines)


def _figures(run: TaskRun) -> str:
    tokens = run.tokens_used or {}
    known = (
        figures.counted(run.pages_loaded, "page"),
        figures.counted(run.http_requests_made, "request"),
        f"{run.failed_requests:,} failed" if run.failed_requests else None,
        size_text(run.data_transferred_bytes) if run.data_transferred_bytes else None,
        f"pages took {duration_text(run.page_load_ms / 1000)} to load" if run.page_load_ms else None,
        f"{figures.counted(run.api_calls_made, 'call')} to Claude" if run.api_calls_made else None,
        *(
            figures.counted(tokens.get(kind), f"{kind.replace('_', ' ')} token")
            for kind in ("input", "output", "cache_read")
        ),
        f"about ${run.cost_usd:.4f}" if run.cost_usd else None,
    )
    return " · ".join(part for part in known if part)


def _addresses(found: Report) -> str:
    run, evidence = found.run, found.result.evidence_url if found.result else None
    return "\n".join(
        part
        for part in (source(evidence), source(run.final_url, "Last page") if run.final_url != evidence else "")
        if part
    )


def _attempts(tries: Sequence[Try]) -> str:
    lines = []
    for each in tries[-_TRIES:]:
        look = LOOKS[each.status]
        why = f": {text.plain(each.error_message, 100)}" if each.error_message else ""
        lines.append(f"{look.sign} try {each.attempt} {look.word}{why}")
    return "\n".join(lines)
