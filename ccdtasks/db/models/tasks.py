"""Tasks, what they depend on, their templates and the history of their schedules."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Numeric, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from ccdtasks.db.enums import Effect
from ccdtasks.db.models.base import Base, HasId, HasTimes, utc_now
from ccdtasks.db.types import EnumText, Json, UtcDateTime


class Task(HasId, HasTimes, Base):
    """A chore in plain words, with placeholders, a schedule and its place in Discord.

    `required_parameters`: [{"name", "description", "pattern", "choices"}]; `optional_parameters` have "default" too.
    `config`: per-task settings by name (timeout_s, budget_usd, model, allowed_domains, ...), see `core.tasks`.
    `budget_warned`: the day and the share of its budget that were told last, `2026-01-17 80`.
    `schedule_cron`: cron text, or `at <moment>` for a time that happens once; `schedule_set_at`: since when it counts;
    `schedule_parameters`: the values of scheduled runs; `schedule_failures`: how many of them failed in a row.
    """

    __tablename__ = "tasks"

    task_name: Mapped[str] = mapped_column(String(255))
    task_type: Mapped[str] = mapped_column(String(50))
    description: Mapped[str | None] = mapped_column(Text)
    template_prompt: Mapped[str] = mapped_column(Text)
    required_parameters: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)
    optional_parameters: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)
    schedule_cron: Mapped[str | None] = mapped_column(String(100))
    schedule_timezone: Mapped[str] = mapped_column(String(50), default="UTC")
    enabled: Mapped[bool] = mapped_column(default=True)
    paused: Mapped[bool] = mapped_column(default=False)
    paused_reason: Mapped[str | None] = mapped_column(String(200))
    schedule_set_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    schedule_parameters: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    schedule_failures: Mapped[int] = mapped_column(default=0)
    next_run_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_run_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    config: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    effect: Mapped[Effect] = mapped_column(EnumText(Effect), default=Effect.READS)
    discord_channel_id: Mapped[str | None] = mapped_column(String(64))
    discord_category_id: Mapped[str | None] = mapped_column(String(64))
    discord_thread_id_current: Mapped[str | None] = mapped_column(String(64))
    owner_user_id: Mapped[str] = mapped_column(String(64))
    dependency_mode: Mapped[str] = mapped_column(String(20), default="all")
    pushover_enabled: Mapped[bool] = mapped_column(default=True)
    pushover_user_key: Mapped[str | None] = mapped_column(String(64))
    notify_on_complete: Mapped[bool] = mapped_column(default=True)
    notify_on_error: Mapped[bool] = mapped_column(default=True)
    run_count: Mapped[int] = mapped_column(default=0)
    success_count: Mapped[int] = mapped_column(default=0)
    failure_count: Mapped[int] = mapped_column(default=0)
    avg_duration_seconds: Mapped[int | None]
    budget_warned: Mapped[str | None] = mapped_column(String(20))
    created_by: Mapped[str] = mapped_column(String(64))
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index(
            "uq_tasks_task_name_live",
            "task_name",
            unique=True,
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index("idx_tasks_owner", "owner_user_id"),
        Index(
            "idx_tasks_next_run",
            "next_run_at",
            sqlite_where=text("enabled AND NOT paused"),
            postgresql_where=text("enabled AND NOT paused"),
        ),
        Index("idx_tasks_discord_channel", "discord_channel_id"),
    )


class TaskDependency(HasId, Base):
    """`task_id` runs after `depends_on_task_id`; `required`: the other must succeed, not just end.

    `parameters`: values of the runs that start so, by name; `@other-task/file` stands for a file of that task's run.
    """

    __tablename__ = "task_dependencies"

    task_id: Mapped[UUID] = mapped_column(ForeignKey("tasks.id"))
    depends_on_task_id: Mapped[UUID] = mapped_column(ForeignKey("tasks.id"))
    required: Mapped[bool] = mapped_column(default=True)
    parameters: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    created_by: Mapped[str | None] = mapped_column(String(64))

    __table_args__ = (
        UniqueConstraint("task_id", "depends_on_task_id"),
        Index("idx_task_dependencies_task", "task_id"),
        Index("idx_task_dependencies_depends", "depends_on_task_id"),
    )


class ScheduleHistory(HasId, Base):
    """Every change and every firing of a schedule, and every time that came without one.

    `action`: created, updated, removed, paused, resumed, triggered, skipped, missed, late, repaired.
    `scheduled_for`: the time of the schedule that a firing, or the lack of one, is about.
    """

    __tablename__ = "schedule_history"

    task_id: Mapped[UUID] = mapped_column(ForeignKey("tasks.id"))
    action: Mapped[str] = mapped_column(String(50))
    schedule_before: Mapped[str | None] = mapped_column(String(100))
    schedule_after: Mapped[str | None] = mapped_column(String(100))
    triggered_by: Mapped[str] = mapped_column(String(20))
    user_id: Mapped[str | None] = mapped_column(String(64))
    scheduled_for: Mapped[datetime | None] = mapped_column(UtcDateTime)
    timestamp: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    details: Mapped[dict[str, Any] | None] = mapped_column("metadata", Json)

    __table_args__ = (
        Index("idx_schedule_history_task", "task_id"),
        Index("idx_schedule_history_fire", "task_id", "scheduled_for"),
        Index("idx_schedule_history_action", "action"),
    )


class TaskTemplate(HasId, HasTimes, Base):
    """A reusable task in the shared library; its texts by version are in `template_versions`."""

    __tablename__ = "task_templates"

    template_name: Mapped[str] = mapped_column(String(255), unique=True)
    template_type: Mapped[str] = mapped_column(String(50))
    description: Mapped[str | None] = mapped_column(Text)
    template_prompt: Mapped[str] = mapped_column(Text)
    required_parameters: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)
    optional_parameters: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)
    default_config: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    author_user_id: Mapped[str] = mapped_column(String(64))
    is_public: Mapped[bool] = mapped_column(default=False)
    use_count: Mapped[int] = mapped_column(default=0)
    rating_average: Mapped[Decimal | None] = mapped_column(Numeric(3, 2))
    version: Mapped[int] = mapped_column(default=1)

    __table_args__ = (
        Index("idx_task_templates_type", "template_type"),
        Index(
            "idx_task_templates_public",
            "is_public",
            sqlite_where=text("is_public"),
            postgresql_where=text("is_public"),
        ),
        Index("idx_task_templates_author", "author_user_id"),
    )


class TemplateVersion(HasId, Base):
    """One version of a template, kept for ever."""

    __tablename__ = "template_versions"

    template_id: Mapped[UUID] = mapped_column(ForeignKey("task_templates.id"))
    version: Mapped[int]
    template_prompt: Mapped[str] = mapped_column(Text)
    required_parameters: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)
    optional_parameters: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)
    default_config: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    created_by: Mapped[str] = mapped_column(String(64))

    __table_args__ = (UniqueConstraint("template_id", "version"),)


class TemplateRating(HasId, Base):
    """One user's stars (1 to 5) for a template."""

    __tablename__ = "template_ratings"

    template_id: Mapped[UUID] = mapped_column(ForeignKey("task_templates.id"))
    user_id: Mapped[str] = mapped_column(String(64))
    stars: Mapped[int]
    rated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)

    __table_args__ = (UniqueConstraint("template_id", "user_id"),)
