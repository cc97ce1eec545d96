"""What passes between a running session and people: its questions with their answers, and what people say to it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from ccdtasks.db.models.base import Base, HasId
from ccdtasks.db.types import Json, UtcDateTime


class Intervention(HasId, Base):
    """A session's call for a person, and what came of it.

    `request_id`: the session's own name of it. `reason`: question, captcha, mfa, login or unclear. `outcome`: answered,
    done or skipped, as a person chose; left, timeout or cancelled, as the session saw it; ended, when the run was over
    first. A person's answer is kept at `answered_at`, taken by the session at `told_at`; all is over at `settled_at`.
    """

    __tablename__ = "interventions"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("task_runs.id"))
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"))
    request_id: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(String(40))
    text: Mapped[str] = mapped_column(Text)
    choices: Mapped[list[str]] = mapped_column(Json, default=list)
    url: Mapped[str | None] = mapped_column(Text)
    screenshot: Mapped[str | None] = mapped_column(String(200))
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deadline_at: Mapped[datetime] = mapped_column(UtcDateTime)
    outcome: Mapped[str | None] = mapped_column(String(20))
    answer: Mapped[str | None] = mapped_column(Text)
    answered_by: Mapped[str | None] = mapped_column(String(64))
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    told_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        UniqueConstraint("session_id", "request_id"),
        Index("idx_interventions_run", "run_id", "asked_at"),
        Index(
            "idx_interventions_open",
            "session_id",
            sqlite_where=sql("settled_at IS NULL"),
            postgresql_where=sql("settled_at IS NULL"),
        ),
    )


class SessionMessage(HasId, Base):
    """What a person says to a running agent: not yet taken by the session while `told_at` is empty."""

    __tablename__ = "session_messages"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("task_runs.id"))
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"))
    author_user_id: Mapped[str] = mapped_column(String(64))
    author: Mapped[str] = mapped_column(String(40))
    text: Mapped[str] = mapped_column(Text)
    said_at: Mapped[datetime] = mapped_column(UtcDateTime)
    told_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index("idx_session_messages_run", "run_id", "said_at"),
        Index(
            "idx_session_messages_untold",
            "session_id",
            sqlite_where=sql("told_at IS NULL"),
            postgresql_where=sql("told_at IS NULL"),
        ),
    )
