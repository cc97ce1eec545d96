"""Steps of a run's life that many tests begin with."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select

from ccdtasks.core import Core
from ccdtasks.core.access import Actor
from ccdtasks.core.ending.endings import Ended, Outcome
from ccdtasks.core.records.artifacts import ArtifactDraft
from ccdtasks.core.runs.claims import Claim
from ccdtasks.core.runs.runs import StartedRun
from ccdtasks.core.tasks.tasks import TaskDraft
from ccdtasks.db.enums import ArtifactKind, Reason, RunStatus
from ccdtasks.db.models import DiscordMessage, Task
from tests.people import ANN

BOOT = "0b5c7a52-boot"
FINAL_PNG = ArtifactDraft("final.png", ArtifactKind.SCREENSHOT, "image/png", 345_000)
RESULT = {"summary": "Cheapest: $342 (United)", "items": [{"airline": "United", "price": 342}]}


async def make_task(
    core: Core, name: str = "ticket-checker", prompt: str = "Check flights", *, actor: Actor = ANN, **config: Any
) -> Task:
    """A task with the given settings."""
    return await core.tasks.create(actor, TaskDraft(name, prompt, config=config))


async def queue(core: Core, name: str = "ticket-checker", *, actor: Actor = ANN, **config: Any) -> StartedRun:
    """A queued run of a task, which is made when there is none."""
    if name not in await core.tasks.names(actor, name):
        await make_task(core, name, actor=actor, **config)
    return await core.runs.start(actor, name)


async def claim(core: Core, limit: int = 10) -> Claim:
    """The claim of the run whose turn it is; there must be one."""
    claimed = await core.claims.claim_next(core.clock.now(), BOOT, limit)
    assert claimed is not None
    return claimed


async def running(core: Core, name: str = "ticket-checker", *, actor: Actor = ANN, **config: Any) -> Claim:
    """The claim of a run whose session is up."""
    await queue(core, name, actor=actor, **config)
    claimed = await claim(core)
    await core.claims.created(claimed, "c" * 64)
    await core.claims.running(claimed)
    return claimed


def lines(*events: dict[str, Any], first: int = 1) -> list[bytes]:
    """Lines of events.jsonl, numbered from `first`."""
    return [json.dumps({"seq": first + place, **event}).encode() for place, event in enumerate(events)]


def completed(**more: Any) -> Outcome:
    """An outcome with all the evidence that a completed run needs, besides its result."""
    evidence: dict[str, Any] = {
        "final_url": "https://flights.example/",
        "final_title": "Flights",
        "final_screenshot": "final.png",
        "artifacts": [FINAL_PNG],
        "exit_code": 0,
    }
    return Outcome(RunStatus.COMPLETED, **{**evidence, **more})


async def complete(core: Core, claimed: Claim) -> Ended:
    """Ends a running run with a result."""
    await core.claims.record(claimed, lines({"type": "result", **RESULT}), 100)
    await core.claims.collecting(claimed)
    return await core.claims.finish(claimed, completed())


async def fail(core: Core, claimed: Claim, reason: Reason = Reason.SESSION_CRASHED) -> Ended:
    """Ends a run with a failure, and its container is gone."""
    ended = await core.claims.finish(claimed, Outcome(RunStatus.FAILED, reason))
    await core.claims.removed(claimed)
    return ended


async def status_of(core: Core, run_id: Any) -> RunStatus:
    """The state in the row."""
    return (await core.runs.load(run_id)).run.status


async def told(core: Core, run_id: Any) -> dict[str, dict[str, Any]]:
    """What the outbox says of a run: key -> payload."""
    rows = [row for row in await all_messages(core) if row.task_run_id == run_id]
    return {row.key: row.payload for row in rows}


async def all_messages(core: Core) -> list[DiscordMessage]:
    """Every row of the outbox, thread by thread in order."""
    query = select(DiscordMessage).order_by(DiscordMessage.created_at, DiscordMessage.lane, DiscordMessage.position)
    async with core.db.read() as session:
        return list(await session.scalars(query))
