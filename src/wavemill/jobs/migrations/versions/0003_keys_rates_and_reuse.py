"""Keys of submissions, marks for the recent rate, columns that find reusable outputs, and pruning.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from wavemill.jobs.schema import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BATCH_COLUMNS = ("key", "content_sha256", "mark_at", "mark_final", "newer_mark_at", "newer_mark_final", "pruned_at")


def upgrade() -> None:
    with op.batch_alter_table("batches") as table:
        table.add_column(sa.Column("key", sa.String(200)))
        table.add_column(sa.Column("content_sha256", sa.String(64)))
        for name in ("mark_at", "newer_mark_at", "pruned_at"):
            table.add_column(sa.Column(name, UtcDateTime()))
        for name in ("mark_final", "newer_mark_final"):
            table.add_column(sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text("0")))
        table.create_unique_constraint("uq_batches_key", ["key"])
    op.add_column("jobs", sa.Column("inputs_sha256", sa.String(64)))
    done = sa.text("state = 'done'")
    op.create_index("ix_jobs_done", "jobs", ["spectrogram_id"], sqlite_where=done, postgresql_where=done)


def downgrade() -> None:
    op.drop_index("ix_jobs_done", "jobs")
    with op.batch_alter_table("jobs") as table:
        table.drop_column("inputs_sha256")
    with op.batch_alter_table("batches") as table:
        table.drop_constraint("uq_batches_key", type_="unique")
        for name in _BATCH_COLUMNS:
            table.drop_column(name)
