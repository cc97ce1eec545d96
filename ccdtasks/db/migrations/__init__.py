"""The Alembic environment; run only by `ccdtasks.db.migrate`."""
