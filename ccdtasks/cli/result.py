"""How a run that has ended looks in a terminal: the answer first, then the table, then where the files are."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markdown import Markdown
from rich.text import Text

from ccdtasks.amounts import amount_text, counted
from ccdtasks.cli.look import AMBER, places, plain_table, status_text
from ccdtasks.cli.wording import in_the_shell
from ccdtasks.config import Config
from ccdtasks.core.outcome.changes import stored_changes, unchanged_text
from ccdtasks.core.outcome.results import Result, columns_of, stored_result
from ccdtasks.core.outcome.results import Table as Rows
from ccdtasks.core.records.reasons import WORDS, hint_for
from ccdtasks.core.runs.runs import RunView
from ccdtasks.core.runs.shapes import file_path
from ccdtasks.db.enums import ArtifactState
from ccdtasks.db.models import PushoverNotification, TaskRun
from ccdtasks.times import duration_text, size_text

_MAX_ROWS = 30


def picture(
    view: RunView, config: Config, *, with_files: bool = True, pushes: Sequence[PushoverNotification] = ()
) -> RenderableType:
    """Everything that a person wants to know of a run."""
    run, result = view.run, stored_result(view.run.result_data)
    head = Text.assemble(status_text(run.status, run.reason), f" · {view.task.task_name} · {figures(run)}")
    parts: list[RenderableType] = [head]
    if run.reason:
        hint = in_the_shell(hint_for(run, view.task))
        parts.append(Text(f"{run.error_message or WORDS[run.reason]}{f' ({hint})' if hint else ''}"))
    if result:
        parts.append(Markdown(result.summary, hyperlinks=False))
        parts += [Text(f"! {alert.text}", style=AMBER) for alert in result.alerts]
        if result.items:
            parts += [Text(""), _rows(result.items)]
        if result.values:
            values = (f"{name} {amount_text(value.number, value.unit)}" for name, value in result.values.items())
            parts += [Text(""), Text(" · ".join(values))]
        parts += _news(view, result)
    if run.final_url:
        parts += [Text(""), Text(f"Last page: {run.final_url}")]
    parts += [
        Text(f"! The phone was not told: {push.last_error}", style=AMBER)
        for push in pushes
        if push.success is False and push.withdrawn_at is None
    ]
    if view.artifacts and with_files:
        parts += [Text(""), _files(view, config)]
    return Group(*parts)


def _news(view: RunView, result: Result) -> list[RenderableType]:
    """What is new since the last good run, and what the task's rule says of it."""
    run, news = view.run, view.run.news or {}
    changes = stored_changes(run.news)
    said = []
    if changes is not None and run.completed_at is not None:
        same = unchanged_text(changes, result, run.completed_at, view.task.schedule_timezone)
        said = [same] if changes.is_empty else [f"↔ {line}" for line in changes.lines()]
    if news.get("why"):
        said.append(news["why"] if news.get("is_told") else f"Not told, by its rule: {news['why']}")
    return [Text(""), *map(Text, said)] if said else []


def figures(run: TaskRun) -> str:
    """`2 m 38 s · 12 pages · 247 requests · 8.3 MB · 61,204 tokens · about $0.21`"""
    parts = [duration_text(run.duration_seconds or 0), counted(run.pages_loaded or 0, "page")]
    if run.http_requests_made:
        parts.append(counted(run.http_requests_made, "request"))
    if run.data_transferred_bytes:
        parts.append(size_text(run.data_transferred_bytes))
    if run.cost_usd is not None:
        parts.append(f"about ${run.cost_usd:.4f}")
    return " · ".join(parts)


def _rows(rows: Rows) -> RenderableType:
    table = plain_table(*columns_of(rows))
    for row in rows[:_MAX_ROWS]:
        table.add_row(*("" if row.get(name) is None else str(row.get(name)) for name in columns_of(rows)))
    more = len(rows) - _MAX_ROWS
    return Group(table, Text(f"and {counted(more, 'more row')} in the file")) if more > 0 else table


def _files(view: RunView, config: Config) -> Text:
    rows = []
    for artifact in view.artifacts:
        if artifact.state is ArtifactState.MISSING:
            where = f"lost: {artifact.note or 'no reason is known'}"
        elif artifact.state is ArtifactState.LOCAL:
            where = "not in the store yet"
        else:
            where = str(file_path(artifact, config) or artifact.location)
        rows.append((artifact.name, f"{size_text(artifact.size_bytes):<8}  {where}"))
    return places(rows)
