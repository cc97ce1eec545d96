"""The projection into Discord: channels, threads, the outbox of messages, interactions; and pushes."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from ccdtasks.db.enums import Delivery, MessageType
from ccdtasks.db.models.base import Base, HasId, HasTimes, utc_now
from ccdtasks.db.types import EnumText, Json, UtcDateTime


class DiscordChannel(HasId, Base):
    """A channel or category that we made. `channel_type`: task, task-category, admin."""

    __tablename__ = "discord_channels"

    channel_id: Mapped[str] = mapped_column(String(64), unique=True)
    channel_name: Mapped[str] = mapped_column(String(100))
    category_id: Mapped[str | None] = mapped_column(String(64))
    category_name: Mapped[str | None] = mapped_column(String(100))
    channel_type: Mapped[str] = mapped_column(String(20))
    task_id: Mapped[UUID | None] = mapped_column(ForeignKey("tasks.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    archived_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    details: Mapped[dict[str, Any] | None] = mapped_column("metadata", Json)

    __table_args__ = (
        Index("idx_discord_channels_task", "task_id"),
        Index("idx_discord_channels_category", "category_id"),
    )


class DiscordThread(HasId, Base):
    """The thread of a run. `status`: running, complete, failed, cancelled; `named` is the title that Discord has."""

    __tablename__ = "discord_threads"

    thread_id: Mapped[str] = mapped_column(String(64), unique=True)
    thread_name: Mapped[str] = mapped_column(String(100))
    parent_channel_id: Mapped[str] = mapped_column(String(64))
    task_run_id: Mapped[UUID | None] = mapped_column(ForeignKey("task_runs.id"))
    session_id: Mapped[UUID | None] = mapped_column(ForeignKey("sessions.id"))
    status: Mapped[str] = mapped_column(String(20))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    archived_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    details: Mapped[dict[str, Any] | None] = mapped_column("metadata", Json)

    __table_args__ = (
        Index("idx_discord_threads_task_run", "task_run_id"),
        Index("idx_discord_threads_status", "status"),
    )


class DiscordMessage(HasId, HasTimes, Base):
    """The outbox and the log in one: a row is what Discord should show; `delivered` means we hold its message id.

    `key` names the message within its run (`opening`, `card`, `result`, `ask:<request>`): writing it again raises
    `revision`, and delivery edits the message. `payload` is what to tell, as data; delivery renders it and keeps
    what it sent in `content`, `embeds`, `attachments`, `buttons`. `nonce` makes a repeated send harmless.
    `lane` is the first run of the thread (or the row itself); `position` orders the rows of a lane.
    """

    __tablename__ = "discord_messages"

    message_id: Mapped[str | None] = mapped_column(String(64), unique=True)
    channel_id: Mapped[str | None] = mapped_column(String(64))
    thread_id: Mapped[str | None] = mapped_column(String(64))
    task_id: Mapped[UUID | None] = mapped_column(ForeignKey("tasks.id"))
    task_run_id: Mapped[UUID | None] = mapped_column(ForeignKey("task_runs.id"))
    interaction_id: Mapped[UUID | None] = mapped_column(ForeignKey("discord_interactions.id"))
    key: Mapped[str] = mapped_column(String(100))
    message_type: Mapped[MessageType] = mapped_column(EnumText(MessageType))
    payload: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    content: Mapped[str | None] = mapped_column(Text)
    embeds: Mapped[list[dict[str, Any]] | None] = mapped_column(Json)
    attachments: Mapped[list[dict[str, Any]] | None] = mapped_column(Json)
    buttons: Mapped[list[dict[str, Any]] | None] = mapped_column(Json)
    lane: Mapped[UUID]
    position: Mapped[int] = mapped_column(BigInteger)
    revision: Mapped[int] = mapped_column(default=1)
    delivered_revision: Mapped[int] = mapped_column(default=0)
    state: Mapped[Delivery] = mapped_column(EnumText(Delivery), default=Delivery.PENDING)
    nonce: Mapped[str] = mapped_column(String(25))
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_error: Mapped[str | None] = mapped_column(Text)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        UniqueConstraint("task_run_id", "key"),
        Index("idx_discord_messages_task_run", "task_run_id", "position"),
        Index("idx_discord_messages_channel", "channel_id"),
        Index("idx_discord_messages_type", "message_type"),
        Index("idx_discord_messages_lane", "lane", "position"),
        Index(
            "idx_discord_messages_failed",
            "created_at",
            sqlite_where=text("state = 'failed'"),
            postgresql_where=text("state = 'failed'"),
        ),
        Index(
            "idx_discord_messages_pending",
            "created_at",
            "position",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
    )


class DiscordInteraction(HasId, Base):
    """A slash command, button or modal that somebody used: the audit of what Discord asked of us."""

    __tablename__ = "discord_interactions"

    interaction_id: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[str] = mapped_column(String(64))
    guild_id: Mapped[str | None] = mapped_column(String(64))
    channel_id: Mapped[str | None] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(100))
    options: Mapped[dict[str, Any] | None] = mapped_column(Json)
    outcome: Mapped[str | None] = mapped_column(String(40))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)

    __table_args__ = (Index("idx_discord_interactions_user", "user_id", "at"),)


class PushoverNotification(HasId, Base):
    """The outbox and the log of pushes in one: pending while `success` is empty.

    `user_key` is a hash of the key that it went to, never the key. `event`: error, intervention, complete, test, api or
    unsaid (what Discord did not take). `key` names it among those of its owner: written again it changes nothing.
    `withdrawn_at`: nobody needs it any more. `receipt_state` of an emergency that Pushover took: ringing, acknowledged,
    expired or cancelled; `acknowledged_by`: a user's id, or `someone`.
    """

    __tablename__ = "pushover_notifications"

    task_run_id: Mapped[UUID | None] = mapped_column(ForeignKey("task_runs.id"))
    owner_user_id: Mapped[str | None] = mapped_column(String(64))
    key: Mapped[str | None] = mapped_column(String(100))
    event: Mapped[str | None] = mapped_column(String(20))
    user_key: Mapped[str] = mapped_column(String(64))
    message: Mapped[str] = mapped_column(Text)
    title: Mapped[str | None] = mapped_column(String(250))
    url: Mapped[str | None] = mapped_column(String(512))
    url_title: Mapped[str | None] = mapped_column(String(100))
    priority: Mapped[int] = mapped_column(default=0)
    sound: Mapped[str | None] = mapped_column(String(40))
    retry_s: Mapped[int | None]
    expire_s: Mapped[int | None]
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    next_attempt_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_error: Mapped[str | None] = mapped_column(Text)
    withdrawn_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    receipt: Mapped[str | None] = mapped_column(String(64))
    receipt_state: Mapped[str | None] = mapped_column(String(20))
    acknowledged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    acknowledged_by: Mapped[str | None] = mapped_column(String(64))
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    pushover_response: Mapped[dict[str, Any] | None] = mapped_column(Json)
    success: Mapped[bool | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)

    __table_args__ = (
        Index("idx_pushover_notifications_task_run", "task_run_id"),
        Index("idx_pushover_notifications_sent_at", text("sent_at DESC")),
        Index("uq_pushover_notifications_key", "owner_user_id", "key", unique=True),
        Index(
            "idx_pushover_notifications_pending",
            "created_at",
            sqlite_where=text("success IS NULL"),
            postgresql_where=text("success IS NULL"),
        ),
        Index(
            "idx_pushover_notifications_ringing",
            "created_at",
            sqlite_where=text("receipt_state = 'ringing'"),
            postgresql_where=text("receipt_state = 'ringing'"),
        ),
    )
