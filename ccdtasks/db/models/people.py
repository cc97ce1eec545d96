"""What belongs to people and to the instance: settings, tokens, the audit log, facts about this database."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from ccdtasks.db.models.base import Base, HasId, HasTimes, utc_now
from ccdtasks.db.types import Json, UtcDateTime


class UserSettings(HasTimes, Base):
    """What a user chose with /settings; `budget_warned`: the month and share of the budget told last, `2026-01 80`."""

    __tablename__ = "user_settings"

    user_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    timezone: Mapped[str | None] = mapped_column(String(50))
    pushover_user_key: Mapped[str | None] = mapped_column(String(255))
    pushover_priority: Mapped[int] = mapped_column(default=0)
    budget_warned: Mapped[str | None] = mapped_column(String(20))
    pushover_events: Mapped[list[str]] = mapped_column(Json, default=lambda: ["error", "intervention"])
    settings: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)


class ApiToken(HasId, Base):
    """A token for the REST API; only its hash is kept."""

    __tablename__ = "api_tokens"

    name: Mapped[str] = mapped_column(String(100))
    user_id: Mapped[str] = mapped_column(String(64))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    is_admin: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AuditEntry(HasId, Base):
    """Who did what to which thing, by which way in. Written in the transaction of the act."""

    __tablename__ = "audit_log"

    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    actor_id: Mapped[str] = mapped_column(String(64))
    via: Mapped[str] = mapped_column(String(20))
    action: Mapped[str] = mapped_column(String(50))
    object_type: Mapped[str] = mapped_column(String(20))
    object_id: Mapped[str] = mapped_column(String(64))
    details: Mapped[dict[str, Any] | None] = mapped_column(Json)

    __table_args__ = (
        Index("idx_audit_log_at", "at"),
        Index("idx_audit_log_object", "object_type", "object_id"),
    )


class InstanceFact(Base):
    """A fact about this database that outlives the process: instance id, hash of the synced commands, holds."""

    __tablename__ = "instance_facts"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, onupdate=utc_now)
