"""What a run found, and its buttons: the answer first, then the rows, then what is new."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ccdtasks.bot import text
from ccdtasks.bot.cards import figures
from ccdtasks.bot.cards.card import Button, Card, join
from ccdtasks.bot.cards.status import look_of
from ccdtasks.core.outcome.changes import stored_changes, unchanged_text
from ccdtasks.core.outcome.results import SUMMARY_SHOWN
from ccdtasks.core.runs.runs import RunView
from ccdtasks.db.enums import ArtifactKind
from ccdtasks.db.models import Artifact, TaskRun

_FORMATTING = re.compile(r"[*`~|]+|__")
_CHANGES, _SECTION = 5, 700
_OURS = ("results.csv", "results.json", "summary.md")
"""What a result always brings along goes before what else there is, for a message takes ten files."""
_SENT = (
    ArtifactKind.CHART, ArtifactKind.TABLE, ArtifactKind.SCREENSHOT, ArtifactKind.RESULT, ArtifactKind.DOWNLOAD
)  # fmt: skip


def again(run: TaskRun, *, first: bool = True) -> Button:
    """Starts the same task with the same values."""
    return Button("Run Again", f"run:again:{run.id}", "primary" if first else "secondary")


def adjust(run: TaskRun) -> tuple[Button, ...]:
    """Opens a form with this run's values; a task without values has nothing to adjust."""
    return (Button("Adjust", f"run:adjust:{run.id}"),) if run.parameters else ()


def details(run: TaskRun) -> Button:
    """Shows values, rows, steps and figures to whoever asks."""
    return Button("View Details", f"run:details:{run.id}")


def report(run: TaskRun) -> Button:
    """Gives a fresh link to the report page to whoever asks: links expire, buttons do not."""
    return Button("View Full Report", f"run:report:{run.id}")


def retry(run: TaskRun) -> Button:
    """Tries a failed run again in its thread."""
    return Button("Retry", f"run:retry:{run.id}", "primary")


def log(run: TaskRun) -> Button:
    """Shows the log to whoever asks."""
    return Button("Log", f"run:log:{run.id}")


def stop(run: TaskRun) -> Button:
    """Ends the run in good order."""
    return Button("Stop", f"run:stop:{run.id}", "danger")


def told(view: RunView, payload: Mapping[str, Any], _now: datetime) -> Card:
    """The result as a message of its own, which calls the owner."""
    run = view.run
    chart, shot = chart_of(view.artifacts), last_screenshot(view.artifacts)
    image = chart or shot
    return Card(
        title=title(view, look_of(run).sign, look_of(run).word),
        body=_body(view),
        ending=_ending(view),
        colour=look_of(run).colour,
        footer=figures.small_print(run),
        ping=run.owner_user_id if payload.get("ping", view.task.notify_on_complete) else None,
        content=text.clamp(answer(run), 200),
        buttons=_buttons(run),
        artifacts=sendable(view.artifacts, shot),
        image=image.name if image else None,
    )


def is_quiet(run: TaskRun) -> bool:
    """Whether the task's rule keeps the result to the live card, which is edited and calls nobody."""
    return run.news is not None and not run.news.get("is_told", True)


def quiet(view: RunView) -> Card:
    """The result in place of the live card: an edit, which notifies nobody."""
    run, chart = view.run, chart_of(view.artifacts)
    why = str((run.news or {}).get("why") or "")
    return Card(
        title=title(view, look_of(run).sign, look_of(run).word),
        body=_body(view),
        ending=join(
            _ending(view), text.plain(f"Not told, by your rule: {why[:1].lower()}{why[1:]}", 400) if why else ""
        ),
        colour=look_of(run).colour,
        footer=figures.small_print(run),
        buttons=_buttons(run),
        artifacts=(chart,) if chart else (),
        image=chart.name if chart else None,
    )


def _buttons(run: TaskRun) -> tuple[Button, ...]:
    return (again(run), *adjust(run), details(run), report(run))


def _body(view: RunView) -> str:
    run, found = view.run, view.result
    summary = run.result_summary or "It finished, and said nothing more."
    is_cut = len(summary) > SUMMARY_SHOWN or (found is not None and len(found.summary) > SUMMARY_SHOWN)
    return join(
        text.markdown(summary, SUMMARY_SHOWN),
        "All of it is in summary.md." if is_cut else "",
        figures.tables_text(view.tables),
    )


def _ending(view: RunView) -> str:
    """What must be seen however long summary and rows are: values, what is new, alerts, and where."""
    run, found = view.run, view.result
    news = text.clamp("\n".join(news_lines(view)), _SECTION)
    alerts = text.clamp(figures.alerts_text(found.alerts), _SECTION) if found else ""
    return join(
        text.clamp(figures.values_text(found.values), _SECTION) if found else "",
        join(news, alerts, gap="\n"),
        text.plain(f"Too long, and left out: {', '.join(found.cut)}.", 300) if found and found.cut else "",
        source(found.evidence_url if found and found.evidence_url else run.final_url),
    )


def news_lines(view: RunView) -> list[str]:
    """What is new since the last good run, or that nothing is; and what the rule says of it."""
    news, changes = view.run.news or {}, stored_changes(view.run.news)
    said = [f"⚠ {text.plain(news.get('why', ''), 400)}"] if news.get("is_broken") else []
    if changes is not None and changes.is_empty and view.result and view.run.completed_at:
        same = unchanged_text(changes, view.result, view.run.completed_at, view.task.schedule_timezone)
        said.append(text.plain(same, 200))
    elif changes is not None:
        lines = changes.lines()
        said += [f"↔ {text.plain(line, 300)}" for line in lines[:_CHANGES]]
        if len(lines) > _CHANGES:
            said.append(f"and {len(lines) - _CHANGES} more changes in View Details")
    if not news.get("is_broken") and news.get("is_told") and news.get("why"):
        said.append(f"🔔 {text.plain(news['why'], 400)}")
    return said


def title(view: RunView, sign: str, what: str) -> str:
    """`✓ ticket-checker: done`."""
    name = text.plain(view.task.task_name, 200)
    return f"{sign} {name}: {what}" if what else f"{sign} {name}"


def answer(run: TaskRun) -> str:
    """The first line that says something: what a person would tell a friend."""
    for line in (run.result_summary or "").splitlines():
        said = _FORMATTING.sub("", text.sentence(line)).strip(" #_>-")
        if said:
            return text.plain(said, 300)
    return ""


def source(url: Any, word: str = "Seen at") -> str:
    """Where it was seen."""
    return f"{word}: {text.address(url)}" if url else ""


def last_screenshot(artifacts: Sequence[Artifact]) -> Artifact | None:
    """The picture of the last page."""
    shots = [each for each in artifacts if each.kind is ArtifactKind.SCREENSHOT]
    return next((each for each in shots if each.name.startswith("final")), shots[-1] if shots else None)


def chart_of(artifacts: Sequence[Artifact]) -> Artifact | None:
    """The chart of the values, once it is drawn."""
    return next((each for each in artifacts if each.kind is ArtifactKind.CHART), None)


def sendable(artifacts: Sequence[Artifact], shot: Artifact | None) -> tuple[Artifact, ...]:
    """The files a result brings along, what people look at first in front. Those that are too many are named."""
    chosen = [a for a in artifacts if a is shot or (a.kind in _SENT and a.kind is not ArtifactKind.SCREENSHOT)]
    return tuple(sorted(chosen, key=_place))


def _place(artifact: Artifact) -> tuple[int, int]:
    """The chart, our table, the picture, our other files; then the further tables and files of the run."""
    if artifact.name in _OURS:
        return (1 if artifact.name == _OURS[0] else 3), _OURS.index(artifact.name)
    own = {ArtifactKind.CHART: 0, ArtifactKind.SCREENSHOT: 2}
    return own.get(artifact.kind, 4), _SENT.index(artifact.kind)
