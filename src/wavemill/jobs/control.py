"""Cancel, pause, resume and retry: row state, so they survive any restart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from wavemill.errors import NotFoundError
from wavemill.jobs.counters import move_counts
from wavemill.jobs.database import Database, now
from wavemill.jobs.locks import own_batch
from wavemill.jobs.outbox import add_queued_jobs
from wavemill.jobs.schema import batches, chunks, jobs
from wavemill.jobs.states import State


def cancel_batch(database: Database, batch_id: str) -> int:
    """Cancel what is queued; workers give up what is running at their next look. Return how many were queued."""
    with database.transaction() as connection:
        own_batch(connection, batch_id)
        _require(connection, batch_id)
        cancelled = connection.execute(
            update(jobs)
            .where(jobs.c.batch_id == batch_id, jobs.c.state == State.QUEUED)
            .values(state=State.CANCELLED, finished_at=now())
        ).rowcount
        connection.execute(delete(chunks).where(chunks.c.batch_id == batch_id))
        connection.execute(update(batches).where(batches.c.id == batch_id).values(cancelled_at=now()))
        move_counts(connection, batch_id, {State.QUEUED: -cancelled, State.CANCELLED: cancelled})
    return cancelled


def pause_batch(database: Database, batch_id: str) -> None:
    """Start no more jobs of a batch; workers finish the sub-batch in hand and give the rest of their chunk back."""
    with database.transaction() as connection:
        _require(connection, batch_id)
        connection.execute(update(batches).where(batches.c.id == batch_id).values(paused_at=now()))


def resume_batch(database: Database, batch_id: str) -> None:
    """Go on with a paused batch; the messages that workers turned away are due again, the others still wait."""
    with database.transaction() as connection:
        _require(connection, batch_id)
        connection.execute(update(batches).where(batches.c.id == batch_id).values(paused_at=None))


def retry_batch(database: Database, batch_id: str, *, states: Sequence[State], extra_attempts: int) -> int:
    """Queue a batch's failed or cancelled jobs again, with `extra_attempts` more each; return how many."""
    moved = {}
    with database.transaction() as connection:
        own_batch(connection, batch_id)
        batch = _require(connection, batch_id)
        for state in states:
            moved[state] = connection.execute(
                update(jobs)
                .where(jobs.c.batch_id == batch_id, jobs.c.state == state)
                .values(
                    state=State.QUEUED,
                    max_attempts=jobs.c.attempt + extra_attempts,
                    error_code=None,
                    error=None,
                    worker_id=None,
                    finished_at=None,
                )
            ).rowcount
        total = sum(moved.values())
        if total:
            connection.execute(update(batches).where(batches.c.id == batch_id).values(cancelled_at=None))
            connection.execute(delete(chunks).where(chunks.c.batch_id == batch_id))
            add_queued_jobs(connection, batch_id, batch.chunk_size)
            move_counts(connection, batch_id, {State.QUEUED: total} | {state: -n for state, n in moved.items()})
    return total


def is_stopped(database: Database, batch_id: str) -> State | None:
    """Tell a worker between sub-batches to cancel or give back (QUEUED) what is left of its chunk, or None: go on."""
    with database.reading() as connection:
        row = connection.execute(
            select(batches.c.cancelled_at, batches.c.paused_at).where(batches.c.id == batch_id)
        ).one_or_none()
    if row is None or row.cancelled_at is not None:
        return State.CANCELLED
    return State.QUEUED if row.paused_at is not None else None


def _require(connection: Connection, batch_id: str) -> Row[Any]:
    batch = connection.execute(select(batches).where(batches.c.id == batch_id)).one_or_none()
    if batch is None:
        raise NotFoundError(f"there is no batch {batch_id!r}; list them with: wavemill status")
    return batch
