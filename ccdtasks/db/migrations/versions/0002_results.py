"""What results, notifications and metrics need beyond the first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import SchemaItem

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

PUSHES: tuple[sa.Column[object], ...] = (
    sa.Column("owner_user_id", sa.String(64)),
    sa.Column("key", sa.String(100)),
    sa.Column("event", sa.String(20)),
    sa.Column("sound", sa.String(40)),
    sa.Column("retry_s", sa.Integer()),
    sa.Column("expire_s", sa.Integer()),
    sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
    sa.Column("next_attempt_at", sa.DateTime(timezone=True)),
    sa.Column("last_error", sa.Text()),
    sa.Column("withdrawn_at", sa.DateTime(timezone=True)),
    sa.Column("receipt_state", sa.String(20)),
    sa.Column("acknowledged_at", sa.DateTime(timezone=True)),
    sa.Column("acknowledged_by", sa.String(64)),
)

ROLLUPS: tuple[SchemaItem, ...] = (
    sa.Column("scope", sa.String(80), primary_key=True),
    sa.Column("period", sa.String(5), primary_key=True),
    sa.Column("starts_on", sa.Date(), primary_key=True),
    *(
        sa.Column(name, sa.BigInteger(), nullable=False)
        for name in (
            *("runs", "completed", "failed", "cancelled", "retries", "duration_s", "compute_s", "pages"),
            *("page_load_ms", "requests", "failed_requests", "transferred_bytes", "api_calls"),
            *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"),
        )
    ),
    sa.Column("cost_usd", sa.Numeric(14, 6), nullable=False),
    *(sa.Column(name, JSON, nullable=False) for name in ("reasons", "durations", "models", "steps")),
)

RUN_VALUES: tuple[SchemaItem, ...] = (
    sa.Column("run_id", sa.Uuid(), sa.ForeignKey("task_runs.id"), primary_key=True),
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("task_id", sa.Uuid(), sa.ForeignKey("tasks.id"), nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("number", sa.Float(), nullable=False),
    sa.Column("unit", sa.String(40)),
    sa.Index("idx_run_values_task", "task_id", "name", "at"),
)

CLEANUPS: tuple[SchemaItem, ...] = (
    sa.Column("id", sa.Uuid(), primary_key=True),
    sa.Column("task_id", sa.Uuid(), sa.ForeignKey("tasks.id")),
    sa.Column("owner_user_id", sa.String(64)),
    sa.Column("requested_by", sa.String(64), nullable=False),
    sa.Column("via", sa.String(20), nullable=False),
    sa.Column("rule", JSON, nullable=False),
    sa.Column("cursor", sa.String(100)),
    sa.Column("removed", JSON, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("finished_at", sa.DateTime(timezone=True)),
)


def upgrade() -> None:
    """Each part adds what it needs; the tables of the first schema stay as they are otherwise."""
    _add_pushes()
    _add_metrics()
    _add_news()


def _add_pushes() -> None:
    """The outbox of pushes. Tasks take part unless switched off: until now the switch had no effect."""
    for column in PUSHES:
        op.add_column("pushover_notifications", column)
    op.create_index("uq_pushover_notifications_key", "pushover_notifications", ["owner_user_id", "key"], unique=True)
    for name, table, condition in (
        ("idx_pushover_notifications_pending", "pushover_notifications", "success IS NULL"),
        ("idx_pushover_notifications_ringing", "pushover_notifications", "receipt_state = 'ringing'"),
        ("idx_discord_messages_failed", "discord_messages", "state = 'failed'"),
    ):
        where = sa.text(condition)
        op.create_index(name, table, ["created_at"], sqlite_where=where, postgresql_where=where)
    op.execute(sa.table("tasks", sa.column("pushover_enabled", sa.Boolean())).update().values(pushover_enabled=True))


def _add_metrics() -> None:
    """Sums by day and month, numbers of results, clean-ups. Older runs are counted later, while the service runs."""
    for added in (
        sa.Column("page_load_ms", sa.BigInteger()),
        sa.Column("failed_requests", sa.Integer()),
        sa.Column("counted_at", sa.DateTime(timezone=True)),
    ):
        op.add_column("task_runs", added)
    op.add_column("sessions", sa.Column("traffic", JSON))
    for name, items in (("metric_rollups", ROLLUPS), ("run_values", RUN_VALUES), ("cleanups", CLEANUPS)):
        op.create_table(name, *items)
    for name, table, column, condition in (
        ("idx_task_runs_uncounted", "task_runs", "completed_at", "counted_at IS NULL AND completed_at IS NOT NULL"),
        ("idx_cleanups_open", "cleanups", "created_at", "finished_at IS NULL"),
    ):
        where = sa.text(condition)
        op.create_index(name, table, [column], sqlite_where=where, postgresql_where=where)


def _add_news() -> None:
    """What a result says that the one before did not, and the charts that are still to be drawn."""
    op.add_column("task_runs", sa.Column("news", JSON))
    op.add_column("task_runs", sa.Column("chart_wanted", sa.Boolean(), nullable=False, server_default=sa.text("false")))
    where = sa.text("chart_wanted")
    op.create_index(
        "idx_task_runs_chart_wanted", "task_runs", ["completed_at"], sqlite_where=where, postgresql_where=where
    )
