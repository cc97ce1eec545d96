"""The states of a run and every legal move between them.

    waiting_dependency -> queued -> starting -> running <-> needs_human
                            ^          |           |            |
                            |          v           v            v
                         (not before)  +-----> collecting -> completed | failed | cancelled

A move is an UPDATE guarded by the old state and by the run's `epoch`; what the table below does not list cannot happen.
"""

from __future__ import annotations

from ccdtasks.db.enums import RunStatus

ACTIVE = frozenset({RunStatus.STARTING, RunStatus.RUNNING, RunStatus.NEEDS_HUMAN, RunStatus.COLLECTING})
"""States in which a session may exist."""

BY_INTEREST = (
    RunStatus.SCHEDULED,
    RunStatus.WAITING_DEPENDENCY,
    RunStatus.QUEUED,
    RunStatus.STARTING,
    RunStatus.COLLECTING,
    RunStatus.RUNNING,
    RunStatus.NEEDS_HUMAN,
)
"""States of runs that have not ended. Of a task with several such runs people hear the state that stands last here."""

FINAL = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
"""States that nothing leaves."""

MOVES: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.SCHEDULED: frozenset({RunStatus.QUEUED, RunStatus.WAITING_DEPENDENCY, RunStatus.CANCELLED}),
    RunStatus.WAITING_DEPENDENCY: frozenset({RunStatus.QUEUED, RunStatus.FAILED, RunStatus.CANCELLED}),
    RunStatus.QUEUED: frozenset({RunStatus.STARTING, RunStatus.FAILED, RunStatus.CANCELLED}),
    RunStatus.STARTING: frozenset(
        {RunStatus.RUNNING, RunStatus.QUEUED, RunStatus.COLLECTING, RunStatus.FAILED, RunStatus.CANCELLED}
    ),
    RunStatus.RUNNING: frozenset(
        {RunStatus.NEEDS_HUMAN, RunStatus.QUEUED, RunStatus.COLLECTING, RunStatus.FAILED, RunStatus.CANCELLED}
    ),
    RunStatus.NEEDS_HUMAN: frozenset({RunStatus.RUNNING, RunStatus.COLLECTING, RunStatus.FAILED, RunStatus.CANCELLED}),
    RunStatus.COLLECTING: frozenset({RunStatus.QUEUED, RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED}),
    RunStatus.COMPLETED: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.CANCELLED: frozenset(),
}


def sources_of(target: RunStatus) -> frozenset[RunStatus]:
    """The states from which `target` may be reached: the guard of the UPDATE."""
    return frozenset(status for status, targets in MOVES.items() if target in targets)
