"""What is counted of runs, so that no page adds up a history; and clean-ups that people asked for."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Date, Float, ForeignKey, Index, Numeric, String, text
from sqlalchemy.orm import Mapped, mapped_column

from ccdtasks.db.models.base import Base, HasId, utc_now
from ccdtasks.db.types import Json, UtcDateTime


class MetricRollup(Base):
    """The sums of all runs that ended in one day or one month: of a task, of an owner, or of everybody.

    `scope`: `task:<id>`, `owner:<user id>` or `all`. `period`: `day` or `month`, which begins on `starts_on` in the
    timezone of the task (of the configuration where there is no one task). `durations`: a histogram of the seconds of
    completed runs, see `core.histogram`. `reasons`: reason -> failed runs. `models`: model -> sums of tokens and cost.
    `steps`: title -> [times, milliseconds in all, the longest, failures], the weightiest ones.
    """

    __tablename__ = "metric_rollups"

    scope: Mapped[str] = mapped_column(String(80), primary_key=True)
    period: Mapped[str] = mapped_column(String(5), primary_key=True)
    starts_on: Mapped[date] = mapped_column(Date, primary_key=True)
    runs: Mapped[int] = mapped_column(BigInteger)
    completed: Mapped[int] = mapped_column(BigInteger)
    failed: Mapped[int] = mapped_column(BigInteger)
    cancelled: Mapped[int] = mapped_column(BigInteger)
    retries: Mapped[int] = mapped_column(BigInteger)
    duration_s: Mapped[int] = mapped_column(BigInteger)
    compute_s: Mapped[int] = mapped_column(BigInteger)
    pages: Mapped[int] = mapped_column(BigInteger)
    page_load_ms: Mapped[int] = mapped_column(BigInteger)
    requests: Mapped[int] = mapped_column(BigInteger)
    failed_requests: Mapped[int] = mapped_column(BigInteger)
    transferred_bytes: Mapped[int] = mapped_column(BigInteger)
    api_calls: Mapped[int] = mapped_column(BigInteger)
    input_tokens: Mapped[int] = mapped_column(BigInteger)
    output_tokens: Mapped[int] = mapped_column(BigInteger)
    cache_read_tokens: Mapped[int] = mapped_column(BigInteger)
    cache_write_tokens: Mapped[int] = mapped_column(BigInteger)
    cost_usd: Mapped[Decimal] = mapped_column(Numeric(14, 6))
    reasons: Mapped[dict[str, int]] = mapped_column(Json)
    durations: Mapped[dict[str, int]] = mapped_column(Json)
    models: Mapped[dict[str, Any]] = mapped_column(Json)
    steps: Mapped[dict[str, Any]] = mapped_column(Json)


class RunValue(Base):
    """One number of a completed run's result, in a row of its own so that its course can be read by itself."""

    __tablename__ = "run_values"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("task_runs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    task_id: Mapped[UUID] = mapped_column(ForeignKey("tasks.id"))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    number: Mapped[float] = mapped_column(Float)
    unit: Mapped[str | None] = mapped_column(String(40))

    __table_args__ = (Index("idx_run_values_task", "task_id", "name", "at"),)


class Cleanup(HasId, Base):
    """A clean-up that somebody confirmed, and how far it has come.

    `rule`: a `core.removal.Rule` and the ids of starts that stay. `removed`: what is gone so far, by kind.
    `cursor`: time and id of the last start that was looked at.
    """

    __tablename__ = "cleanups"

    task_id: Mapped[UUID | None] = mapped_column(ForeignKey("tasks.id"))
    owner_user_id: Mapped[str | None] = mapped_column(String(64))
    requested_by: Mapped[str] = mapped_column(String(64))
    via: Mapped[str] = mapped_column(String(20))
    rule: Mapped[dict[str, Any]] = mapped_column(Json)
    cursor: Mapped[str | None] = mapped_column(String(100))
    removed: Mapped[dict[str, int]] = mapped_column(Json, default=dict)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index(
            "idx_cleanups_open",
            "created_at",
            sqlite_where=text("finished_at IS NULL"),
            postgresql_where=text("finished_at IS NULL"),
        ),
    )
