"""What `--json` and the API say: the shapes that docs/shell.md promises."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from ccdtasks.config import Config
from ccdtasks.core.calendar.timing import Preview
from ccdtasks.core.ending.interventions import Asked
from ccdtasks.core.runs.runs import RunRow, RunView
from ccdtasks.core.tasks.editing import Edited
from ccdtasks.core.tasks.schedules import Scheduled, Shown
from ccdtasks.core.tasks.tasks import TaskRow
from ccdtasks.db.enums import ArtifactState
from ccdtasks.db.models import Artifact, PushoverNotification, RunEvent, Task, TaskRun

Json = dict[str, Any]

SPOOL = "spool"
"""The folder below the data folder in which files wait for a remote store."""


def task_shape(task: Task) -> Json:
    """A task."""
    return {
        "name": task.task_name,
        "type": task.task_type,
        "description": task.description,
        "prompt": task.template_prompt,
        "parameters": [
            {"required": required, **parameter}
            for required, parameters in ((True, task.required_parameters), (False, task.optional_parameters))
            for parameter in parameters
        ],
        "config": task.config,
        "effect": task.effect.value,
        "owner": task.owner_user_id,
        "enabled": task.enabled,
        "paused": task.paused,
        "paused_reason": task.paused_reason,
        "schedule": task.schedule_cron,
        "timezone": task.schedule_timezone,
        "schedule_values": task.schedule_parameters,
        "next_run_at": _moment(task.next_run_at),
        "runs": task.run_count,
        "succeeded": task.success_count,
        "failed": task.failure_count,
        "last_run_at": _moment(task.last_run_at),
        "created_at": _moment(task.created_at),
    }


def schedule_shape(found: Scheduled | Shown) -> Json:
    """A task with its next times."""
    return {**task_shape(found.task), "preview": preview_shape(found.preview) if found.preview else None}


def shown_shape(found: Shown) -> Json:
    """A task with its next times and what became of its schedule, newest first."""
    rows = [
        {
            "at": _moment(row.timestamp),
            "action": row.action,
            "scheduled_for": _moment(row.scheduled_for),
            "before": row.schedule_before,
            "after": row.schedule_after,
            "by": row.user_id or row.triggered_by,
            "details": row.details,
        }
        for row in found.history
    ]
    return {**schedule_shape(found), "history": rows}


def preview_shape(preview: Preview) -> Json:
    """What a schedule means."""
    zone = preview.timing.zone
    return {
        "schedule": preview.timing.text,
        "timezone": zone.key,
        "words": preview.words,
        "times": [_moment(each) for each in preview.times],
        "local_times": [_moment(each.astimezone(zone)) for each in preview.times],
        "remarks": list(preview.remarks),
    }


def edited_shape(made: Edited) -> Json:
    """A task with what was changed of it."""
    changes = [{"field": each.field, "before": each.before, "after": each.after} for each in made.changes]
    return {**task_shape(made.task), "changes": changes}


def task_row_shape(row: TaskRow) -> Json:
    """A line of the list of tasks."""
    return {
        **task_shape(row.task),
        "active": row.active,
        "last_status": row.last_status.value if row.last_status else None,
        "success_rate": row.success_rate,
    }


def run_shape(run: TaskRun, task_name: str, position: int | None = None) -> Json:
    """A run without its files."""
    return {
        "id": str(run.id),
        "task": task_name,
        "status": run.status.value,
        "reason": run.reason.value if run.reason else None,
        "position": position,
        "trigger": run.trigger.value,
        "attempt": run.attempt,
        "retry_of": str(run.retry_of) if run.retry_of else None,
        "parameters": run.parameters,
        "queued_at": _moment(run.queued_at),
        "not_before": _moment(run.not_before),
        "started_at": _moment(run.started_at),
        "completed_at": _moment(run.completed_at),
        "duration_s": run.duration_seconds,
        "doing": (run.live or {}).get("text"),
        "asks": _asks(run),
        "summary": run.result_summary,
        "error": run.error_message,
        "final_url": run.final_url,
        "final_title": run.final_title,
        "pages_loaded": run.pages_loaded,
        "http_requests": run.http_requests_made,
        "bytes_transferred": run.data_transferred_bytes,
        "tokens": run.tokens_used,
        "cost_usd": float(run.cost_usd) if run.cost_usd is not None else None,
    }


def asked_shape(asked: Asked) -> Json:
    """A run with what it asked and what was answered."""
    request = asked.request
    return {
        **run_shape(asked.run, asked.task_name),
        "request": {
            "reason": request.reason,
            "text": request.text,
            "outcome": request.outcome,
            "answer": request.answer,
            "answered_by": request.answered_by,
        },
    }


def run_row_shape(row: RunRow) -> Json:
    """A line of the list of runs."""
    return run_shape(row.run, row.task_name, row.position)


def view_shape(view: RunView, config: Config) -> Json:
    """A run with its result and its files."""
    return {
        **run_shape(view.run, view.task.task_name, view.position),
        "result": view.run.result_data,
        "files": [file_shape(artifact, config) for artifact in view.artifacts],
    }


def file_shape(artifact: Artifact, config: Config) -> Json:
    """A file of a run; `path` is None when it does not lie on this machine."""
    path = file_path(artifact, config)
    return {
        "id": str(artifact.id),
        "name": artifact.name,
        "kind": artifact.kind.value,
        "caption": artifact.caption,
        "content_type": artifact.content_type,
        "size_bytes": artifact.size_bytes,
        "sha256": artifact.sha256,
        "state": artifact.state.value,
        "path": str(path) if path else None,
        "location": artifact.location,
        "note": artifact.note,
    }


def file_path(artifact: Artifact, config: Config) -> Path | None:
    """Where a file lies on this machine: in the local store, or while it waits for a remote one."""
    if artifact.state is ArtifactState.MISSING or not artifact.location:
        return None
    if config.storage.kind != "local":
        return config.paths.data_dir / SPOOL / artifact.location if artifact.state is ArtifactState.LOCAL else None
    return (config.storage.path or config.paths.data_dir / "artifacts") / artifact.location


def push_shape(push: PushoverNotification) -> Json:
    """A push to a phone; `state`: pending, sent, failed or withdrawn (nobody needed it any more)."""
    state = "pending" if push.success is None else "sent" if push.success else "failed"
    return {
        "id": str(push.id),
        "event": push.event,
        "state": "withdrawn" if push.withdrawn_at and not push.success else state,
        "title": push.title,
        "message": push.message,
        "priority": push.priority,
        "url": push.url,
        "task_run_id": str(push.task_run_id) if push.task_run_id else None,
        "created_at": _moment(push.created_at),
        "sent_at": _moment(push.sent_at),
        "note": push.last_error,
        "receipt_state": push.receipt_state,
        "acknowledged_at": _moment(push.acknowledged_at),
        "acknowledged_by": push.acknowledged_by,
    }


def event_shape(event: RunEvent) -> Json:
    """A line of a run's log."""
    return {"at": _moment(event.at), "type": event.type, **event.data}


def _asks(run: TaskRun) -> Json | None:
    """What a run waits for that nobody answered yet."""
    asked = (run.live or {}).get("human")
    return {name: asked[name] for name in ("reason", "text", "choices", "url", "deadline_at")} if asked else None


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
