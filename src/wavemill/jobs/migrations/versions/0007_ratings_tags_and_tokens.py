"""Ratings, callers' IDs and metadata, tags, webhooks, tokens, and actions on all jobs that match a filter.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON(none_as_null=True)
_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_COLUMNS: dict[str, list[sa.Column[Any]]] = {
    "jobs": [
        sa.Column("custom_id", sa.String(200)),
        sa.Column("metadata", _JSON),
        sa.Column("rating", sa.SmallInteger()),
        sa.Column("rated_at", _TIME),
    ],
    "batches": [sa.Column("tags", _JSON), sa.Column("webhook_url", sa.Text())],
}
# Table, index, columns, rows that it holds.
_INDEXES = (
    ("jobs", "ix_jobs_batch_id_rating_id", ["batch_id", "rating", "id"], "rating IS NOT NULL"),
    ("jobs", "ix_jobs_rating_id", ["rating", "id"], "rating IS NOT NULL"),
    ("jobs", "ix_jobs_custom_id_id", ["custom_id", "id"], "custom_id IS NOT NULL"),
    ("deliveries", "ix_deliveries_due", ["due_at"], "due_at IS NOT NULL"),
    ("bulk_actions", "ix_bulk_actions_running", ["id"], "state = 'running'"),
)
_TABLES = ("batch_tags", "tokens", "deliveries", "bulk_actions")


def upgrade() -> None:
    for table, added in _COLUMNS.items():
        for column in added:
            op.add_column(table, column)
    op.create_table(
        "batch_tags",
        _batch_id(primary_key=True),
        sa.Column("key", sa.String(100), primary_key=True),
        sa.Column("value", sa.String(200), nullable=False),
    )
    op.create_index("ix_batch_tags_key_value", "batch_tags", ["key", "value"])
    op.create_table(
        "tokens",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(100), nullable=False, unique=True),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME),
        sa.Column("revoked_at", _TIME),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", _BIG_ID, primary_key=True, autoincrement=True),
        _batch_id(nullable=False),
        sa.Column("finished_at", _TIME, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("due_at", _TIME),
        sa.Column("delivered_at", _TIME),
        sa.Column("error", sa.Text()),
        sa.UniqueConstraint("batch_id", "finished_at"),
    )
    op.create_table(
        "bulk_actions",
        sa.Column("id", _BIG_ID, primary_key=True, autoincrement=True),
        sa.Column("action", sa.String(16), nullable=False),
        _batch_id(),
        sa.Column("conditions", sa.JSON(), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("is_exact", sa.Boolean(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("seen", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("after_id", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("files", _JSON),
        sa.Column("result", _JSON),
        sa.Column("error", sa.Text()),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("beat_at", _TIME),
        sa.Column("finished_at", _TIME),
    )
    for table, name, columns, rows in _INDEXES:
        op.create_index(name, table, columns, sqlite_where=sa.text(rows), postgresql_where=sa.text(rows))


def _batch_id(**options: Any) -> sa.Column[str]:
    return sa.Column("batch_id", sa.String(40), sa.ForeignKey("batches.id", ondelete="CASCADE"), **options)


def downgrade() -> None:
    for table, name, _, _ in _INDEXES:
        op.drop_index(name, table)
    for name in _TABLES:
        op.drop_table(name)
    for name, added in _COLUMNS.items():
        with op.batch_alter_table(name) as batch:
            for column in added:
                batch.drop_column(column.name)
