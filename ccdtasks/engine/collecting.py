"""Gathers what a session left: its last word, its files, and the results as tables; then says how the run ended."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from ccdtasks.core.ending.endings import Outcome, judged
from ccdtasks.core.filenames import folder_name
from ccdtasks.core.outcome.results import SUMMARY_SHOWN, Result
from ccdtasks.core.outcome.tables import csv_text
from ccdtasks.core.records.artifacts import ArtifactDraft
from ccdtasks.core.records.reasons import WORDS
from ccdtasks.core.runs.claims import Claim
from ccdtasks.core.runs.report import REPORT, Evidence, failure_report
from ccdtasks.core.states import FINAL
from ccdtasks.db.enums import ArtifactKind, ArtifactState, Reason, RunStatus
from ccdtasks.db.models import RunEvent
from ccdtasks.engine.folder import RunFolder
from ccdtasks.engine.guest import Trap
from ccdtasks.engine.job import Brief
from ccdtasks.engine.outcome import Verdict
from ccdtasks.engine.parts import Parts
from ccdtasks.errors import CcdError, Invalid

_log = logging.getLogger(__name__)

_LAST_WORD_BYTES_MAX = 1 << 20
_RESULT, _RESULT_BYTES_MAX = "result.json", 32 << 20
_CAPTIONS_MAX = 1000
_PAGE_TEXT, _PAGE_TEXT_BYTES_MAX = "out/logs/page.txt", 64 << 10
_REPORTED_EVENTS = 200
_DETAIL = 8000
_CRASHES = frozenset({Reason.SESSION_CRASHED, Reason.OUT_OF_MEMORY, Reason.LOST})
"""Of these the container's own output tells more than the logs of the programs inside."""
_COMPLAINTS, _COMPLAINTS_BYTES_MAX = ("agent-errors.log", "chromium.log"), 8 << 20
_BOM = "\ufeff"  # without it spreadsheets take UTF-8 for something else


async def read_last_word(parts: Parts, folder: RunFolder) -> dict[str, Any] | None:
    """`exit.json` of the session, None when there is none that can be read."""
    try:
        return await parts.offload(folder.guest.read_json, "exit.json", _LAST_WORD_BYTES_MAX)
    except FileNotFoundError:
        return None
    except Trap as trap:
        _log.warning("the last word of %s is not one: %s", folder.path.name, trap)
        return None


async def collect(
    parts: Parts, brief: Brief, folder: RunFolder, verdict: Verdict, word: Mapping[str, Any] | None
) -> Outcome:
    """Takes the session's files into the store and returns what is to be written about the run's end.

    Never raises for a store that is away or a guest that lies: what cannot be kept is noted in its row.
    """
    claim = brief.claim
    view = await parts.core.runs.load(claim.run_id)
    await _take_whole_result(parts, claim, folder)
    prefix = f"{folder_name(view.task.task_name)}/{claim.run_id}/{claim.epoch}"
    captions = await _captions(parts, claim)
    kept = await parts.keeper.keep_folder(folder.guest, prefix, captions, brief.out_bytes_max)
    taken = {draft.name for draft in kept.values()}
    drafts = [*await _result_files(parts, claim, prefix, taken), *kept.values()]
    output = await _container_output(parts, claim) if word is None or verdict.reason in _CRASHES else ""
    if output:
        said = output.encode()
        drafts.append(await parts.keeper.keep_bytes("container.log", said, prefix, ArtifactKind.LOG, taken))
    word = word or {}
    final = kept.get(str(word.get("final_screenshot")).removeprefix("out/"))
    metrics = word.get("metrics")
    outcome = Outcome(
        status=verdict.status,
        reason=verdict.reason,
        message=verdict.words,
        detail=output[-_DETAIL:] or await _last_lines(parts, folder, verdict),
        final_url=_text(word.get("final_url")),
        final_title=_text(word.get("final_title")),
        final_screenshot=final.name if final and final.state is not ArtifactState.MISSING else None,
        artifacts=drafts,
        metrics=metrics if isinstance(metrics, dict) else {},
    )
    return await _with_report(parts, claim, folder, prefix, outcome)


async def _take_whole_result(parts: Parts, claim: Claim, folder: RunFolder) -> None:
    """Long results do not fit a line of the log: the session keeps the whole one beside it."""
    if (await parts.core.runs.brief(claim.run_id)).result is None:
        return
    try:
        whole = await parts.offload(folder.guest.read_json, _RESULT, _RESULT_BYTES_MAX)
        await parts.core.claims.take_result(claim, whole)
    except FileNotFoundError:
        return
    except (Trap, Invalid) as error:
        _log.warning("the whole result of %s is not one, what the log holds of it stays: %s", folder.path.name, error)


async def _with_report(parts: Parts, claim: Claim, folder: RunFolder, prefix: str, outcome: Outcome) -> Outcome:
    """The outcome with a report beside its files when the run has failed; ours comes first and so keeps its name."""
    if outcome.status not in FINAL:  # it is put back into the queue
        return outcome
    view = await parts.core.runs.load(claim.run_id)
    seen = judged(view.run, outcome)
    if seen.status is not RunStatus.FAILED:
        return outcome
    reason = seen.reason or Reason.AGENT_ERROR
    evidence = Evidence(
        task_name=view.task.task_name,
        timezone=view.task.schedule_timezone,
        reason=reason,
        message=seen.message or WORDS[reason],
        final_url=outcome.final_url or view.run.final_url,
        final_title=outcome.final_title or view.run.final_title,
        screenshot=outcome.final_screenshot,
        page_text=await _page_text(parts, folder),
        detail=outcome.detail or "",
        events=await _last_events(parts, claim),
    )
    text = failure_report(view.run, evidence)
    report = await parts.keeper.keep_bytes(REPORT, text.encode(), f"{prefix}/report", ArtifactKind.LOG)
    return replace(outcome, artifacts=[report, *outcome.artifacts])


async def _last_lines(parts: Parts, folder: RunFolder, verdict: Verdict) -> str | None:
    """What the programs of a failed session complained of last; a browser complains of much, so only of a crash."""
    if verdict.status is not RunStatus.FAILED:
        return None
    found = []
    for name in _COMPLAINTS if verdict.reason in _CRASHES else _COMPLAINTS[:1]:
        try:
            data = await parts.offload(folder.guest.read, f"out/logs/{name}", _COMPLAINTS_BYTES_MAX)
        except (FileNotFoundError, Trap):
            continue
        said = data.decode("utf-8", "replace")[-_DETAIL // 2 :].strip()
        if said:
            found.append(f"{name}:\n{said}")
    return "\n\n".join(found) or None


async def _page_text(parts: Parts, folder: RunFolder) -> str:
    try:
        data = await parts.offload(folder.guest.read, _PAGE_TEXT, _PAGE_TEXT_BYTES_MAX)
    except (FileNotFoundError, Trap):
        return ""
    return data.decode("utf-8", "replace")


async def _last_events(parts: Parts, claim: Claim) -> Sequence[RunEvent]:
    query = select(RunEvent).where(RunEvent.run_id == claim.run_id).order_by(RunEvent.at.desc()).limit(_REPORTED_EVENTS)
    async with parts.core.db.read() as session:
        return list(reversed((await session.scalars(query)).all()))


async def _captions(parts: Parts, claim: Claim) -> dict[str, str]:
    """What the agent said about the files that it saved, by path below `out/`."""
    query = (
        select(RunEvent.data)
        .where(RunEvent.session_id == claim.session_id, RunEvent.type == "file_saved")
        .order_by(RunEvent.seq)
        .limit(_CAPTIONS_MAX)
    )
    async with parts.core.db.read() as session:
        saved = (await session.scalars(query)).all()
    return {
        str(data.get("path")).removeprefix("out/"): data["caption"]
        for data in saved
        if isinstance(data.get("caption"), str) and data["caption"]
    }


async def _result_files(parts: Parts, claim: Claim, prefix: str, taken: set[str]) -> list[ArtifactDraft]:
    """`results.csv` and `results.json`, made from the checked result and never by the model."""
    result = await parts.core.runs.result(claim.run_id)
    if result is None:
        return []
    made = await asyncio.to_thread(_as_files, result)
    return [
        await parts.keeper.keep_bytes(name, text.encode(), prefix, kind, taken) for name, (text, kind) in made.items()
    ]


def _as_files(result: Result) -> dict[str, tuple[str, ArtifactKind]]:
    """The result for spreadsheets and programs, and a summary that no card holds for readers."""
    files = {"results.json": (json.dumps(result.as_json(), ensure_ascii=False, indent=1), ArtifactKind.RESULT)}
    if result.items:
        files["results.csv"] = (_BOM + csv_text(result.items), ArtifactKind.TABLE)
    for name, rows in result.tables.items():
        if rows:
            files[f"results-{name}.csv"] = (_BOM + csv_text(rows), ArtifactKind.TABLE)
    if len(result.summary) > SUMMARY_SHOWN:
        files["summary.md"] = (result.summary, ArtifactKind.RESULT)
    return files


async def _container_output(parts: Parts, claim: Claim) -> str:
    try:
        return await parts.podman.logs(claim.container_name)
    except CcdError:
        return ""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
