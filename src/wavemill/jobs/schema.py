"""The tables. The database holds all state; messages in the broker only point to its rows."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)

from wavemill.jobs.states import State


class UtcDateTime(TypeDecorator[dt.datetime]):
    """An aware UTC time: `timestamptz` on PostgreSQL, sortable text on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:  # noqa: ARG002  its caller is SQLAlchemy
        """Store UTC."""
        return None if value is None else value.astimezone(dt.UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> dt.datetime | None:  # noqa: ARG002  its caller is SQLAlchemy
        """Return UTC: SQLite returns naive UTC values, PostgreSQL aware ones in the session's zone."""
        if value is None:
            return None
        time: dt.datetime = value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
        return time


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite's automatic keys are INTEGER only


def _counter(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text("0"))


def _flag_indexes() -> list[Index]:
    """Return the indexes of flagged jobs, which are few: per batch or over all, with and without a state."""
    where = text("flags IS NOT NULL")
    columns = {
        "ix_jobs_odd": ("flags", "id"),
        "ix_jobs_odd_state": ("flags", "state", "id"),
        "ix_jobs_flagged": ("batch_id", "flags", "id"),
        "ix_jobs_flagged_state": ("batch_id", "flags", "state", "id"),
    }
    return [Index(name, *of, sqlite_where=where, postgresql_where=where) for name, of in columns.items()]


def _rating_indexes() -> list[Index]:
    """Return the indexes of what people added: ratings per batch and over all, and callers' IDs."""
    rated, named = text("rating IS NOT NULL"), text("custom_id IS NOT NULL")
    return [
        Index("ix_jobs_batch_id_rating_id", "batch_id", "rating", "id", sqlite_where=rated, postgresql_where=rated),
        Index("ix_jobs_rating_id", "rating", "id", sqlite_where=rated, postgresql_where=rated),
        Index("ix_jobs_custom_id_id", "custom_id", "id", sqlite_where=named, postgresql_where=named),
    ]


batches = Table(
    "batches",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", Text),
    Column("operation", String(32), nullable=False),
    Column("model", Text),
    Column("model_digest", String(64)),
    Column("dataset", Text),
    Column("output", Text, nullable=False),
    Column("params", JSON, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("chunk_size", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    # Jobs per state, updated in the transaction that changes the jobs, so that a status never counts rows.
    *[_counter(state.value) for state in State],
    # A unique key, and the digest that a later submission with the same key must match.
    Column("key", String(200), unique=True),
    Column("content_sha256", String(64)),
    # Two marks for the recent rate: each is a time and the number of final jobs then.
    Column("mark_at", UtcDateTime),
    Column("mark_final", Integer, nullable=False, server_default=text("0")),
    Column("newer_mark_at", UtcDateTime),
    Column("newer_mark_final", Integer, nullable=False, server_default=text("0")),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("paused_at", UtcDateTime),
    Column("cancelled_at", UtcDateTime),
    Column("pruned_at", UtcDateTime),  # hidden from then on; its files are deleted, then its rows
    Column("torn_at", UtcDateTime),  # last counted worker death; NULL once its leftover files are removed
    Column("turn_at", UtcDateTime),  # last claim, or submission; among equal priorities the earliest goes next
    _counter("deaths"),  # worker deaths in a row since one of its jobs was last done
    Column("stopped", Text),  # why it was stopped: its jobs killed one worker after another
    Column("tags", JSON(none_as_null=True)),  # {key: value}, as `batch_tags` holds them for filters
    Column("webhook_url", Text),  # called when the batch ends, see `deliveries`
    Index("ix_batches_created_at", "created_at"),
    Index(
        "ix_batches_finished_at",
        "finished_at",
        sqlite_where=text("finished_at IS NOT NULL"),
        postgresql_where=text("finished_at IS NOT NULL"),
    ),
    Index(
        "ix_batches_cancelled",
        "id",
        sqlite_where=text("cancelled_at IS NOT NULL"),
        postgresql_where=text("cancelled_at IS NOT NULL"),
    ),
    Index(
        "ix_batches_pruned",
        "id",
        sqlite_where=text("pruned_at IS NOT NULL"),
        postgresql_where=text("pruned_at IS NOT NULL"),
    ),
    Index(
        "ix_batches_torn",
        "id",
        sqlite_where=text("torn_at IS NOT NULL"),
        postgresql_where=text("torn_at IS NOT NULL"),
    ),
    Index(
        "ix_batches_open",
        "priority",
        "turn_at",
        sqlite_where=text("finished_at IS NULL"),
        postgresql_where=text("finished_at IS NULL"),
    ),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("batch_id", ForeignKey(batches.c.id, ondelete="CASCADE"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("spectrogram_id", Text, nullable=False),
    Column("item", JSON(none_as_null=True)),  # the operation's input besides the ID, e.g. both ends of a morph
    Column("state", String(16), nullable=False, server_default=State.QUEUED.value),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    _counter("claims"),  # claims, including those whose attempt did not count; the fencing token
    Column("max_attempts", Integer, nullable=False),
    Column("lease_until", UtcDateTime),
    Column("worker_id", String(200)),
    Column("error_code", String(64)),
    Column("error", Text),
    Column("generated_path", Text),
    Column("original_path", Text),
    Column("latent_path", Text),
    Column("inputs_sha256", String(64)),  # of what was read, as `wavemill.operations.requests.inputs_digest` makes it
    Column("sha256", String(64)),  # of the file at generated_path
    Column("original_sha256", String(64)),
    Column("latent_sha256", String(64)),
    Column("quality", JSON(none_as_null=True)),
    Column("flags", Text),  # of `wavemill.jobs.flags.Flag`, separated by spaces; NULL for none
    Column("timings", JSON(none_as_null=True)),
    Column("custom_id", String(200)),  # the caller's own name for it
    Column("metadata", JSON(none_as_null=True)),  # the caller's own values, returned in every listing and export
    Column("rating", SmallInteger),  # 1 to 5, by a listener; NULL for none
    Column("rated_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    UniqueConstraint("batch_id", "seq"),
    CheckConstraint(f"state IN ({', '.join(repr(state.value) for state in State)})", name="ck_jobs_state"),
    Index("ix_jobs_batch_id_state_id", "batch_id", "state", "id"),
    # Partial indexes: they stay small, as they hold only the few jobs that users look for.
    Index("ix_jobs_failed", "id", sqlite_where=text("state = 'failed'"), postgresql_where=text("state = 'failed'")),
    Index(
        "ix_jobs_cancelled",
        "id",
        sqlite_where=text("state = 'cancelled'"),
        postgresql_where=text("state = 'cancelled'"),
    ),
    *_flag_indexes(),
    *_rating_indexes(),
    Index("ix_jobs_running", "id", sqlite_where=text("state = 'running'"), postgresql_where=text("state = 'running'")),
    # Filled as jobs are done, so they do not slow down a submission.
    Index("ix_jobs_done_id", "id", sqlite_where=text("state = 'done'"), postgresql_where=text("state = 'done'")),
    Index(
        "ix_jobs_done",
        "spectrogram_id",
        sqlite_where=text("state = 'done'"),
        postgresql_where=text("state = 'done'"),
    ),
    Index(
        "ix_jobs_lease_until",
        "lease_until",
        sqlite_where=text("state = 'running'"),
        postgresql_where=text("state = 'running'"),
    ),
)

job_attempts = Table(
    "job_attempts",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("job_id", ForeignKey(jobs.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column("worker_id", String(200)),
    Column("outcome", String(16), nullable=False),
    Column("error_code", String(64)),
    Column("error", Text),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime, nullable=False),
)

# The outbox: each row is a message that is in the broker or should be. A claim deletes the row.
chunks = Table(
    "chunks",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("batch_id", ForeignKey(batches.c.id, ondelete="CASCADE"), nullable=False),
    Column("first", Integer, nullable=False),
    Column("last", Integer, nullable=False),
    Column("available_at", UtcDateTime, nullable=False),
    Column("published_at", UtcDateTime),
    Column(
        "again", Boolean, nullable=False, server_default=false()
    ),  # begun before; goes ahead of the rest of its batch
    Index("ix_chunks_batch_id_first", "batch_id", "first"),
    Index("ix_chunks_again", "batch_id", "first", sqlite_where=text("again"), postgresql_where=text("again")),
    Index("ix_chunks_published_at", "published_at"),
)

workers = Table(
    "workers",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("device", String(64), nullable=False),
    Column("jobs_done", BigInteger, nullable=False, server_default=text("0")),
    Column("jobs_per_second", Double),
    Column("started_at", UtcDateTime, nullable=False),
    Column("heartbeat_at", UtcDateTime, nullable=False),
    Column("stopped_at", UtcDateTime),
    Column("trouble", Text),  # the problem of its heartbeat thread; NULL for none
)

supervisors = Table(
    "supervisors",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("heartbeat_at", UtcDateTime, nullable=False),
    Column("stopped_at", UtcDateTime),
    Column("trouble", Text),  # the problem of its reaper; NULL for none
)

# Models that a worker needed and does not have; deleted some time after the worker was last seen.
refusals = Table(
    "refusals",
    metadata,
    Column("worker_id", String(200), primary_key=True),
    Column("model_digest", String(64), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("refused_at", UtcDateTime, nullable=False),
)

# One row: since when the database has answered without a gap, and when the last sweep began.
pulse = Table(
    "pulse",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("beat_at", UtcDateTime, nullable=False),
    Column("steady_since", UtcDateTime, nullable=False),
    Column("swept_at", UtcDateTime),
)
