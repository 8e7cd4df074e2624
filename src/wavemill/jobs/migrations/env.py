"""Run by Alembic; the connection comes from `wavemill.jobs.migrate`."""

from __future__ import annotations

from alembic import context

from wavemill.jobs.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
