"""The tables that workers never read: tags, bulk actions, and the tokens and webhooks of the HTTP API."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from wavemill.jobs.schema import Id, UtcDateTime, batches, metadata

all_tables = metadata  # complete once this module is imported

batch_tags = Table(
    "batch_tags",
    metadata,
    Column("batch_id", ForeignKey(batches.c.id, ondelete="CASCADE"), primary_key=True),
    Column("key", String(100), primary_key=True),
    Column("value", String(200), nullable=False),
    Index("ix_batch_tags_key_value", "key", "value"),
)

# Bearer tokens of the HTTP API. Only digests are stored.
tokens = Table(
    "tokens",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("role", String(16), nullable=False),  # of `wavemill_producer.web.access.Role`
    Column("sha256", String(64), nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
)

# Webhooks: one row for each end of a batch that has a `webhook_url`, until it was delivered or given up.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("batch_id", ForeignKey(batches.c.id, ondelete="CASCADE"), nullable=False),
    Column("finished_at", UtcDateTime, nullable=False),  # of the batch: a retried batch ends again
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("due_at", UtcDateTime),  # of the next attempt; NULL once delivered or given up
    Column("delivered_at", UtcDateTime),
    Column("error", Text),  # of the last attempt
    UniqueConstraint("batch_id", "finished_at"),
    Index(
        "ix_deliveries_due",
        "due_at",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
)

# Actions on all jobs that match a filter. They run a page at a time and go on after a restart.
bulk_actions = Table(
    "bulk_actions",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("action", String(16), nullable=False),
    Column("batch_id", ForeignKey(batches.c.id, ondelete="CASCADE")),  # NULL: jobs of all batches
    Column("conditions", JSON, nullable=False),  # texts, as `wavemill.jobs.filters` parses them
    Column("params", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("total", Integer, nullable=False),  # jobs that matched at the start, or more: see `is_exact`
    Column("is_exact", Boolean, nullable=False),
    Column("changed", Integer, nullable=False, server_default=text("0")),
    Column("seen", Integer, nullable=False, server_default=text("0")),  # matching jobs, changed or passed over
    Column("after_id", BigInteger, nullable=False, server_default=text("0")),  # the last job that was looked at
    Column("files", JSON(none_as_null=True)),  # outputs of deleted jobs that are yet to be removed
    Column("result", JSON(none_as_null=True)),  # such as the path of an export or the ID of a new batch
    Column("error", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("beat_at", UtcDateTime),  # of the process that runs it; NULL until one does
    Column("finished_at", UtcDateTime),
    Index(
        "ix_bulk_actions_running",
        "id",
        sqlite_where=text("state = 'running'"),
        postgresql_where=text("state = 'running'"),
    ),
)
