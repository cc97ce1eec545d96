"""What results, notifications and metrics need beyond the first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

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


def upgrade() -> None:
    """Each part adds what it needs; the tables of the first schema stay as they are otherwise."""
    _add_pushes()


def _add_pushes() -> None:
    """The outbox of pushes. Tasks take part unless switched off: until now the switch had no effect."""
    for column in PUSHES:
        op.add_column("pushover_notifications", column)
    op.create_index("uq_pushover_notifications_key", "pushover_notifications", ["owner_user_id", "key"], unique=True)
    for name, condition in (
        ("idx_pushover_notifications_pending", "success IS NULL"),
        ("idx_pushover_notifications_ringing", "receipt_state = 'ringing'"),
    ):
        where = sa.text(condition)
        op.create_index(name, "pushover_notifications", ["created_at"], sqlite_where=where, postgresql_where=where)
    op.execute(sa.table("tasks", sa.column("pushover_enabled", sa.Boolean())).update().values(pushover_enabled=True))
