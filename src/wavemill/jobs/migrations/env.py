"""Run by Alembic; the connection comes from `wavemill.jobs.migrate`."""

from __future__ import annotations

from alembic import context

from wavemill.jobs.management_schema import all_tables

context.configure(connection=context.config.attributes["connection"], target_metadata=all_tables, render_as_batch=True)
context.run_migrations()
