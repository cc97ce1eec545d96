"""Runs migrations on the connection that `ccdtasks.db.migrate` hands over, all in one transaction."""

from __future__ import annotations

from alembic import context

from ccdtasks.db.models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
