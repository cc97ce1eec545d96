"""The revisions, oldest first; `ccdtasks.db.migrate.REVISIONS` lists them too."""
