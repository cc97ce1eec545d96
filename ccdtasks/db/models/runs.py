"""Runs, their sessions (one per attempt of a container), events and artifacts."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, Numeric, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from ccdtasks.db.enums import ArtifactKind, ArtifactState, Reason, RunStatus, Trigger
from ccdtasks.db.models.base import Base, HasId, HasTimes, utc_now
from ccdtasks.db.types import EnumText, Json, UtcDateTime


class TaskRun(HasId, HasTimes, Base):
    """One run of a task, from the wish to the final state. Only `core.runs` moves its `status`.

    `epoch` rises with each claim; every later write of that claim names it, so a late writer changes nothing.
    `chain_id`: the first run of the chain, once tasks run after it; `upstream_runs`: task name -> id of the run whose
    files and result this one gets. `parameters`: name -> value (text). `priority`: above 0 where an admin moved it.
    `live`: what the live card shows {"text", "step", "pages", "position", "held_by"}; its `underway`: titles of
    the steps that have not finished, by number.
    `news`: what a completed run says that the last good one did not, and whether that is told {"changes", "rule",
    "is_told", "why", "is_broken"}. `chart_wanted`: a chart of its values is still to be drawn.
    `page_load_ms`: how long all pages together took to load. `counted_at`: when it was added to `metric_rollups`.
    """

    __tablename__ = "task_runs"

    task_id: Mapped[UUID] = mapped_column(ForeignKey("tasks.id"))
    session_id: Mapped[UUID | None] = mapped_column(ForeignKey("sessions.id", use_alter=True))
    owner_user_id: Mapped[str] = mapped_column(String(64))
    started_by: Mapped[str | None] = mapped_column(String(64))
    status: Mapped[RunStatus] = mapped_column(EnumText(RunStatus))
    reason: Mapped[Reason | None] = mapped_column(EnumText(Reason))
    trigger: Mapped[Trigger] = mapped_column(EnumText(Trigger))
    parameters: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    epoch: Mapped[int] = mapped_column(default=0)
    attempt: Mapped[int] = mapped_column(default=1)
    priority: Mapped[int] = mapped_column(default=0)
    scheduled_for: Mapped[datetime | None] = mapped_column(UtcDateTime)
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    chain_id: Mapped[UUID | None]
    upstream_runs: Mapped[dict[str, str] | None] = mapped_column(Json)
    queued_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    deadline_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    completed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    duration_seconds: Mapped[int | None]
    stop_requested_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    stop_requested_by: Mapped[str | None] = mapped_column(String(64))
    stop_force: Mapped[bool] = mapped_column(default=False)
    live: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)

    discord_channel_id: Mapped[str | None] = mapped_column(String(64))
    discord_thread_id: Mapped[str | None] = mapped_column(String(64))
    discord_messages: Mapped[list[str] | None] = mapped_column(Json)

    result_summary: Mapped[str | None] = mapped_column(Text)
    result_data: Mapped[dict[str, Any] | None] = mapped_column(Json)
    news: Mapped[dict[str, Any] | None] = mapped_column(Json)
    chart_wanted: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    output_files: Mapped[list[str] | None] = mapped_column(Json)
    minio_artifacts: Mapped[dict[str, Any] | None] = mapped_column(Json)

    error_message: Mapped[str | None] = mapped_column(Text)
    error_stacktrace: Mapped[str | None] = mapped_column(Text)
    error_screenshot_url: Mapped[str | None] = mapped_column(Text)
    final_url: Mapped[str | None] = mapped_column(Text)
    final_title: Mapped[str | None] = mapped_column(Text)
    retry_count: Mapped[int] = mapped_column(default=0)
    retry_of: Mapped[UUID | None] = mapped_column(ForeignKey("task_runs.id"))

    required_intervention: Mapped[bool] = mapped_column(default=False)
    intervention_reason: Mapped[str | None] = mapped_column(Text)
    intervention_resolved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    vnc_session_active: Mapped[bool] = mapped_column(default=False)
    vnc_accessed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    tokens_used: Mapped[dict[str, Any] | None] = mapped_column(Json)
    cost_usd: Mapped[Decimal | None] = mapped_column(Numeric(12, 6))
    compute_time_seconds: Mapped[int | None]
    api_calls_made: Mapped[int | None]
    pages_loaded: Mapped[int | None]
    http_requests_made: Mapped[int | None]
    data_transferred_bytes: Mapped[int | None] = mapped_column(BigInteger)
    step_timings: Mapped[list[dict[str, Any]] | None] = mapped_column(Json)
    page_load_ms: Mapped[int | None] = mapped_column(BigInteger)
    failed_requests: Mapped[int | None]
    counted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        UniqueConstraint("task_id", "scheduled_for"),
        Index("idx_task_runs_task_id", "task_id", "created_at", "id"),
        Index("idx_task_runs_status", "status", "queued_at"),
        Index("idx_task_runs_status_created", "status", "created_at", "id"),
        Index("idx_task_runs_started_at", text("started_at DESC")),
        Index("idx_task_runs_discord_thread", "discord_thread_id"),
        Index(
            "idx_task_runs_intervention",
            "required_intervention",
            sqlite_where=text("required_intervention"),
            postgresql_where=text("required_intervention"),
        ),
        Index(
            "idx_task_runs_going",
            "task_id",
            "queued_at",
            sqlite_where=text("completed_at IS NULL"),
            postgresql_where=text("completed_at IS NULL"),
        ),
        Index(
            "idx_task_runs_going_owner",
            "owner_user_id",
            "queued_at",
            sqlite_where=text("completed_at IS NULL"),
            postgresql_where=text("completed_at IS NULL"),
        ),
        Index("idx_task_runs_owner", "owner_user_id", "created_at", "id"),
        Index("idx_task_runs_owner_status", "owner_user_id", "status", "created_at", "id"),
        Index("idx_task_runs_started_by", "started_by", "created_at"),
        Index("idx_task_runs_created_at", "created_at", "id"),
        Index("idx_task_runs_spent_owner", "owner_user_id", "started_at", "cost_usd"),
        Index("idx_task_runs_spent_task", "task_id", "started_at", "cost_usd"),
        Index("idx_task_runs_parameters", "parameters", postgresql_using="gin").ddl_if(dialect="postgresql"),
        Index("idx_task_runs_chain", "chain_id"),
        Index(
            "uq_task_runs_task_chain",
            "task_id",
            "chain_id",
            unique=True,
            sqlite_where=text("chain_id IS NOT NULL AND retry_of IS NULL"),
            postgresql_where=text("chain_id IS NOT NULL AND retry_of IS NULL"),
        ),
        Index("idx_task_runs_retry_of", "retry_of"),
        Index(
            "idx_task_runs_chart_wanted",
            "completed_at",
            sqlite_where=text("chart_wanted"),
            postgresql_where=text("chart_wanted"),
        ),
        Index(
            "idx_task_runs_uncounted",
            "completed_at",
            sqlite_where=text("counted_at IS NULL AND completed_at IS NOT NULL"),
            postgresql_where=text("counted_at IS NULL AND completed_at IS NOT NULL"),
        ),
    )


class Session(HasId, Base):
    """One sealed container of one claim of a run, and how far its events were read.

    `folder`: 12 hex digits below `<data_dir>/runs/`. `events_offset` (bytes) and `events_seq` move in the same
    transaction as the rows of `run_events`, so that each event is stored exactly once. `usage`: tokens by model;
    `egress`: what the gateway saw; `traffic`: what the browser counted, as in the event `metrics`.
    """

    __tablename__ = "sessions"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("task_runs.id"))
    task_id: Mapped[UUID] = mapped_column(ForeignKey("tasks.id"))
    attempt: Mapped[int]
    epoch: Mapped[int]
    container_name: Mapped[str] = mapped_column(String(100))
    container_id: Mapped[str | None] = mapped_column(String(64))
    image_id: Mapped[str | None] = mapped_column(String(80))
    folder: Mapped[str] = mapped_column(String(12))
    boot_id: Mapped[str | None] = mapped_column(String(36))
    dummy_hash: Mapped[str | None] = mapped_column(String(64))
    claude_session_id: Mapped[UUID]
    events_offset: Mapped[int] = mapped_column(BigInteger, default=0)
    events_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    usage: Mapped[dict[str, Any] | None] = mapped_column(Json)
    cost_usd: Mapped[Decimal] = mapped_column(Numeric(12, 6), default=Decimal(0))
    egress: Mapped[dict[str, Any] | None] = mapped_column(Json)
    traffic: Mapped[dict[str, int] | None] = mapped_column(Json)
    exit_code: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    removed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        UniqueConstraint("run_id", "epoch"),
        UniqueConstraint("container_name"),
        Index("idx_sessions_open", "removed_at"),
    )


class RunEvent(Base):
    """One line of the session's log, or one of our own (`source` engine) with seq below zero."""

    __tablename__ = "run_events"

    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    run_id: Mapped[UUID] = mapped_column(ForeignKey("task_runs.id"))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    type: Mapped[str] = mapped_column(String(40))
    data: Mapped[dict[str, Any]] = mapped_column(Json)

    __table_args__ = (Index("idx_run_events_run", "run_id", "at"),)


class Artifact(HasId, Base):
    """A file of a run. `location`: the key in the store; `note` says why a file is missing."""

    __tablename__ = "artifacts"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("task_runs.id"))
    session_id: Mapped[UUID | None] = mapped_column(ForeignKey("sessions.id"))
    name: Mapped[str] = mapped_column(String(255))
    kind: Mapped[ArtifactKind] = mapped_column(EnumText(ArtifactKind))
    state: Mapped[ArtifactState] = mapped_column(EnumText(ArtifactState), default=ArtifactState.LOCAL)
    caption: Mapped[str | None] = mapped_column(Text)
    content_type: Mapped[str] = mapped_column(String(100))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    location: Mapped[str | None] = mapped_column(Text)
    note: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)

    __table_args__ = (
        UniqueConstraint("run_id", "name"),
        Index(
            "idx_artifacts_unstored",
            "created_at",
            sqlite_where=text("state = 'local'"),
            postgresql_where=text("state = 'local'"),
        ),
    )


class Profile(HasId, HasTimes, Base):
    """A browser profile that outlives runs; leased to one session at a time."""

    __tablename__ = "profiles"

    name: Mapped[str] = mapped_column(String(255), unique=True)
    owner_user_id: Mapped[str] = mapped_column(String(64))
    task_id: Mapped[UUID | None] = mapped_column(ForeignKey("tasks.id"))
    leased_by: Mapped[UUID | None] = mapped_column(ForeignKey("sessions.id"))
    leased_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    size_bytes: Mapped[int] = mapped_column(BigInteger, default=0)


class VncAccess(HasId, Base):
    """Who looked at or held a session's desktop, from where, and for how long."""

    __tablename__ = "vnc_access_log"

    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"))
    user_id: Mapped[str] = mapped_column(String(64))
    address: Mapped[str | None] = mapped_column(String(45))
    action: Mapped[str] = mapped_column(String(20))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    details: Mapped[dict[str, Any] | None] = mapped_column(Json)

    __table_args__ = (Index("idx_vnc_access_log_session", "session_id"),)
