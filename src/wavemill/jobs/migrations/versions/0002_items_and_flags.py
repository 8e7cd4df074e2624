"""Jobs that start from more than one spectrogram, and flags for their outputs.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("item", sa.JSON(), nullable=True))
    op.add_column("jobs", sa.Column("flags", sa.Text(), nullable=True))
    op.create_index(
        "ix_jobs_flagged",
        "jobs",
        ["batch_id", "id"],
        sqlite_where=sa.text("flags IS NOT NULL"),
        postgresql_where=sa.text("flags IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_flagged", "jobs")
    with op.batch_alter_table("jobs") as table:
        table.drop_column("flags")
        table.drop_column("item")
