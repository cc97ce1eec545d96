"""What runs after what: the change just made, the tree, and the summary of a chain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ccdtasks.amounts import listed
from ccdtasks.bot import text
from ccdtasks.bot.cards.card import Button, Card, File, join
from ccdtasks.bot.cards.result import report
from ccdtasks.bot.cards.status import BLUE, GREEN, GREY, LOOKS, RED, look_of
from ccdtasks.core.ending.chains import ChainRow, ChainView
from ccdtasks.core.tasks.dependencies import Added, Tree, TreeEdge, TreeTask
from ccdtasks.core.tasks.outline import extent, outline, together
from ccdtasks.db.enums import RunStatus
from ccdtasks.times import duration_text

PICTURE = "dependencies.png"
MOST_DRAWN = 60
"""Tasks in one picture, those nearest to the one that was asked about."""
_NEVER = "◌"


def added(change: Added) -> Card:
    """`analyze-news will run after scrape-news completes.`"""
    task, upstream = _bold(change.task.task_name), _bold(change.upstream.task_name)
    how = "completes" if change.required else "ends, even if it fails"
    return Card(
        title=f"✓ {text.plain(change.task.task_name, 200)}: dependency added",
        body=join(f"{task} will run each time that {upstream} {how}.", text.plain(together(change), 1000)),
        colour=GREEN,
    )


def removed(change: Added) -> Card:
    """The reply to a removal."""
    task, upstream = _bold(change.task.task_name), _bold(change.upstream.task_name)
    return Card(
        title=f"■ {text.plain(change.task.task_name, 200)}: dependency removed",
        body=join(f"{task} no longer runs after {upstream}.", text.plain(together(change), 1000)),
        colour=GREY,
    )


def tree(found: Tree, picture: bytes | None) -> Card:
    """The tree as text, and as a picture when there is one."""
    name = text.plain(found.task.task_name, 200)
    if not found.edges:
        hint = text.code(f"/task-depends-on {found.task.task_name}", 200)
        return Card(title=name, body=f"It runs after nothing, and nothing runs after it. {hint} changes that.")
    is_cut = picture is not None and len(found.tasks) > MOST_DRAWN
    left_out = [f"drawn are the nearest {MOST_DRAWN} of {len(found.tasks)} tasks"] if is_cut else []
    lines = outline(found, lambda status: LOOKS[status].sign if status else _NEVER)
    return Card(
        title=f"{name}: what runs after what",
        body=text.block("\n".join(lines), 3500),
        colour=BLUE,
        footer=" · ".join([*extent(found), *left_out]),
        files=(File(PICTURE, picture),) if picture else (),
        image=PICTURE if picture else None,
    )


def drawn(found: Tree) -> dict[str, Any]:
    """The tree as the drawing program takes it."""
    nearest = {each.task.task_name for each in sorted(found.tasks, key=lambda each: abs(each.level))[:MOST_DRAWN]}
    nodes = []
    for each in found.tasks:
        if each.task.task_name not in nearest:
            continue
        look = LOOKS[each.last_status] if each.last_status else None
        nodes.append(
            {
                "name": each.task.task_name,
                "level": each.level,
                "sign": look.sign if look else _NEVER,
                "word": "paused" if each.task.paused else look.word if look else "never run",
                "colour": f"#{look.colour if look else GREY:06X}",
                "note": _note(each, found.upstreams(each.task.task_name)),
                "is_asked": each.level == 0 and each.task.id == found.task.id,
            }
        )
    edges = [[e.upstream, e.task, e.required] for e in found.edges if {e.upstream, e.task} <= nearest]
    return {"nodes": nodes, "edges": edges}


def summary(view: ChainView) -> Card:
    """How a chain ended: each task with sign, status and duration; the main files of the last ones come along."""
    good = [row for row in view.rows if row.run.status is RunStatus.COMPLETED]
    count, is_good = len(view.rows), len(good) == len(view.rows)
    first = text.plain(view.rows[0].task_name, 80)
    last = listed(_some([text.plain(row.task_name, 80) for row in view.ends], 2))
    spent_s = sum(row.run.duration_seconds or 0 for row in view.rows)
    overall = f"All {count} tasks are done" if is_good else f"{len(good)} of {count} tasks are done"
    return Card(
        title=f"{'✓' if is_good else '✕'} {first} → {last}: {'all done' if is_good else 'not all done'}",
        body=join(
            text.clamp("\n".join(_answers(view.ends)), 1500) if is_good else "",
            f"{overall}, {duration_text(spent_s)} of work.",
            text.clamp("\n".join(_line(row) for row in view.rows), 2500),
        ),
        colour=GREEN if is_good else RED,
        artifacts=tuple(view.files),
        buttons=(Button("Run Again", f"run:again:{view.chain_id}", "primary"), report(view.ends[-1].run)),
    )


def _answers(ends: Sequence[ChainRow]) -> Iterator[str]:
    """What each of the last tasks says; which one it is, where there are several."""
    for row in ends:
        said = text.plain(_said(row), 300)
        if said:
            yield f"{_bold(row.task_name)}: {said}" if len(ends) > 1 else said


def _some(names: Sequence[str], most: int) -> list[str]:
    return [*names] if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more"]


def _note(each: TreeTask, edges: Sequence[TreeEdge]) -> str:
    """What the lines to a task do not show: that any of them is enough, and that there are more beside the tree."""
    count = len(each.beside)
    is_any = each.task.dependency_mode == "any" and len(edges) + count > 1
    others = f"{'or' if is_any else 'and'} after {count} not shown" if count else ""
    return ", ".join(part for part in ("after any" if is_any else "", others) if part)


def _line(row: ChainRow) -> str:
    run, look = row.run, look_of(row.run)
    worked = duration_text(run.duration_seconds) if run.duration_seconds is not None else None
    why = text.plain(run.error_message, 150) if run.error_message and run.status is not RunStatus.COMPLETED else None
    thread = f"<#{run.discord_thread_id}>" if run.discord_thread_id else None
    parts = (f"{look.sign} {_bold(row.task_name)}", look.word, worked, why, thread)
    return " · ".join(part for part in parts if part)


def _said(row: ChainRow) -> str:
    lines = (line.strip(" #*_>-") for line in (row.run.result_summary or "").splitlines())
    return next((line for line in lines if line), "")


def _bold(name: str) -> str:
    return f"**{text.plain(name, 100)}**"
