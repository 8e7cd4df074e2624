"""Fences of outputs, turns of batches, deaths, models that a worker lacks, and the pulse of the table.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_FLAGGED = "flags IS NOT NULL"
# Table, index, columns, rows that it holds.
_INDEXES = (
    ("batches", "ix_batches_open", ["priority", "turn_at"], "finished_at IS NULL"),
    ("batches", "ix_batches_finished_at", ["finished_at"], "finished_at IS NOT NULL"),
    ("batches", "ix_batches_cancelled", ["id"], "cancelled_at IS NOT NULL"),
    ("batches", "ix_batches_pruned", ["id"], "pruned_at IS NOT NULL"),
    ("batches", "ix_batches_torn", ["id"], "torn_at IS NOT NULL"),
    ("jobs", "ix_jobs_failed", ["id"], "state = 'failed'"),
    ("jobs", "ix_jobs_cancelled", ["id"], "state = 'cancelled'"),
    ("jobs", "ix_jobs_running", ["id"], "state = 'running'"),
    ("jobs", "ix_jobs_done_id", ["id"], "state = 'done'"),
    ("jobs", "ix_jobs_odd", ["flags", "id"], _FLAGGED),
    ("jobs", "ix_jobs_odd_state", ["flags", "state", "id"], _FLAGGED),
    ("jobs", "ix_jobs_flagged", ["batch_id", "flags", "id"], _FLAGGED),
    ("jobs", "ix_jobs_flagged_state", ["batch_id", "flags", "state", "id"], _FLAGGED),
    ("chunks", "ix_chunks_again", ["batch_id", "first"], "again"),
)
_COLUMNS = {"jobs": ["claims"], "batches": ["turn_at", "deaths", "stopped"], "workers": ["trouble"]}
_TABLES = ("supervisors", "refusals", "pulse")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("claims", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("batches", sa.Column("turn_at", _TIME))
    op.add_column("batches", sa.Column("deaths", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("batches", sa.Column("stopped", sa.Text()))
    op.add_column("workers", sa.Column("trouble", sa.Text()))
    # Jobs that were begun before: their next fence must be higher than that of the current claim.
    op.execute("UPDATE jobs SET claims = attempt WHERE attempt > 0")
    op.execute("UPDATE batches SET turn_at = created_at")
    op.create_table(
        "supervisors",
        sa.Column("id", sa.String(200), primary_key=True),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("heartbeat_at", _TIME, nullable=False),
        sa.Column("stopped_at", _TIME),
        sa.Column("trouble", sa.Text()),
    )
    op.create_table(
        "refusals",
        sa.Column("worker_id", sa.String(200), primary_key=True),
        sa.Column("model_digest", sa.String(64), primary_key=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("refused_at", _TIME, nullable=False),
    )
    op.create_table(
        "pulse",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("beat_at", _TIME, nullable=False),
        sa.Column("steady_since", _TIME, nullable=False),
        sa.Column("swept_at", _TIME),
    )
    op.drop_index("ix_jobs_flagged", "jobs")  # created again below, with more columns
    for table, name, columns, rows in _INDEXES:
        op.create_index(name, table, columns, sqlite_where=sa.text(rows), postgresql_where=sa.text(rows))
    op.create_index("ix_batches_created_at", "batches", ["created_at"])


def downgrade() -> None:
    op.drop_index("ix_batches_created_at", "batches")
    for table, name, _, _ in _INDEXES:
        op.drop_index(name, table)
    where = sa.text(_FLAGGED)
    op.create_index("ix_jobs_flagged", "jobs", ["batch_id", "id"], sqlite_where=where, postgresql_where=where)
    for name in _TABLES:
        op.drop_table(name)
    for name, columns in _COLUMNS.items():
        with op.batch_alter_table(name) as batch:
            for column in columns:
                batch.drop_column(column)
