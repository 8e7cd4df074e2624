"""Cancel, pause, resume and retry. Each is stored in rows, so it survives any restart.

A million rows cannot be updated in a second, and on SQLite a transaction that tries blocks every
worker's heartbeat. So a cancel updates one row: a queued job of a cancelled batch counts as
cancelled wherever jobs are claimed, counted or listed. The jobs' own rows are updated later, a page
at a time. A retry moves rows and counters a page at a time; each page can be claimed at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from time import monotonic
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, select, update

from wavemill.errors import NotFoundError, UsageError, WorkerLostError
from wavemill.jobs.counters import move_counts
from wavemill.jobs.database import Database, is_among, now
from wavemill.jobs.locks import own_batch
from wavemill.jobs.outbox import add_chunks
from wavemill.jobs.schema import batches, chunks, jobs
from wavemill.jobs.states import State

_PAGE = 10_000  # rows in one transaction: a second's work on a slow disk, so that no heartbeat waits long


def cancel_batch(database: Database, batch_id: str, *, budget_s: float = 1.0) -> int:
    """Cancel a batch's queued jobs and return how many; workers soon stop those that run.

    Updates the jobs' rows for at most `budget_s`. The next `settle_cancelled`, called by a reaper
    or a retry, does the rest.
    """
    with database.transaction() as connection:
        own_batch(connection, batch_id)
        batch = _require(connection, batch_id)
        if batch.finished_at is not None:
            return 0
        queued = batch.queued
        connection.execute(delete(chunks).where(chunks.c.batch_id == batch_id))
        connection.execute(update(batches).where(batches.c.id == batch_id).values(cancelled_at=now()))
        move_counts(connection, {batch_id: {State.QUEUED: -queued, State.CANCELLED: queued}})
    _in_pages(database, [batch_id], _settle_page, budget_s)
    return int(queued)


def settle_cancelled(database: Database, *, batch_id: str | None = None, budget_s: float | None = None) -> int:
    """Mark queued rows of cancelled batches cancelled, for `budget_s` at most; return how many."""
    unsettled = select(batches.c.id).where(batches.c.cancelled_at.is_not(None), _has_queued_rows())
    if batch_id is not None:
        unsettled = unsettled.where(batches.c.id == batch_id)
    with database.reading() as connection:
        batch_ids = list(connection.scalars(unsettled.order_by(batches.c.id)))
    return _in_pages(database, batch_ids, _settle_page, budget_s)


def _in_pages(
    database: Database, batch_ids: Iterable[str], move_page: Callable[[Database, str], int], budget_s: float | None
) -> int:
    """Move rows page by page until done or out of `budget_s` (None: no limit); return how many."""
    deadline = None if budget_s is None else monotonic() + budget_s
    moved = 0
    for batch_id in batch_ids:
        while count := move_page(database, batch_id):
            moved += count
            if deadline is not None and monotonic() >= deadline:
                return moved
    return moved


def _has_queued_rows() -> ColumnElement[bool]:
    return select(jobs.c.id).where(jobs.c.batch_id == batches.c.id, jobs.c.state == State.QUEUED).exists()


def _settle_page(database: Database, batch_id: str) -> int:
    """Mark a page of a cancelled batch's queued rows; the counters were moved by the cancel."""
    queued = (jobs.c.batch_id == batch_id, jobs.c.state == State.QUEUED)
    page = select(jobs.c.id).where(*queued).order_by(jobs.c.id).limit(_PAGE)
    with database.transaction() as connection:
        own_batch(connection, batch_id)
        cancelled_at = connection.scalar(select(batches.c.cancelled_at).where(batches.c.id == batch_id))
        if cancelled_at is None:
            return 0
        ids = connection.scalars(page).all()
        if not ids:
            return 0
        # A range of IDs: PostgreSQL may run a LIMIT inside an UPDATE more than once.
        return connection.execute(
            update(jobs)
            .where(*queued, jobs.c.id.between(ids[0], ids[-1]))
            .values(state=State.CANCELLED, finished_at=cancelled_at)
        ).rowcount


def fail_stopped(database: Database, *, batch_id: str | None = None, budget_s: float | None = None) -> int:
    """Fail the queued jobs of stopped batches, for `budget_s` at most; return how many."""
    left = select(batches.c.id).where(batches.c.stopped.is_not(None), batches.c.queued > 0)
    if batch_id is not None:
        left = left.where(batches.c.id == batch_id)
    with database.reading() as connection:
        batch_ids = list(connection.scalars(left.order_by(batches.c.id)))
    return _in_pages(database, batch_ids, _fail_page, budget_s)


def _fail_page(database: Database, batch_id: str) -> int:
    queued = (jobs.c.batch_id == batch_id, jobs.c.state == State.QUEUED)
    with database.transaction() as connection:
        own_batch(connection, batch_id)
        wanted = (batches.c.id == batch_id, batches.c.cancelled_at.is_(None))
        stopped = connection.scalar(select(batches.c.stopped).where(*wanted))
        ids = connection.scalars(select(jobs.c.id).where(*queued).order_by(jobs.c.id).limit(_PAGE)).all()
        if stopped is None or not ids:
            return 0
        connection.execute(
            update(jobs)
            .where(*queued, jobs.c.id.between(ids[0], ids[-1]))
            .values(state=State.FAILED, error_code=WorkerLostError.code, error=stopped, finished_at=now())
        )
        if len(ids) < _PAGE:
            connection.execute(delete(chunks).where(chunks.c.batch_id == batch_id))
        move_counts(connection, {batch_id: {State.QUEUED: -len(ids), State.FAILED: len(ids)}})
    return len(ids)


def pause_batch(database: Database, batch_id: str) -> None:
    """Start no more jobs of a batch; workers finish their sub-batch and requeue the rest of their chunk."""
    with database.transaction() as connection:
        _require_unfinished(_require(connection, batch_id))
        connection.execute(update(batches).where(batches.c.id == batch_id).values(paused_at=now()))


def resume_batch(database: Database, batch_id: str) -> None:
    """Resume a paused batch; send all its messages again, as workers may have used up the old ones."""
    with database.transaction() as connection:
        batch = _require(connection, batch_id)
        _require_unfinished(batch)
        if batch.paused_at is None:
            return
        connection.execute(update(batches).where(batches.c.id == batch_id).values(paused_at=None))
        connection.execute(update(chunks).where(chunks.c.batch_id == batch_id).values(published_at=None))


def _require_unfinished(batch: Row[Any]) -> None:
    if batch.cancelled_at is not None:
        raise UsageError(f"batch {batch.id} was cancelled; queue its jobs again with: wavemill retry {batch.id}")
    if batch.finished_at is not None:
        raise UsageError(f"batch {batch.id} is finished: there is nothing to pause or resume")


def retry_batch(database: Database, batch_id: str, *, states: Sequence[State], extra_attempts: int) -> int:
    """Queue a batch's failed or cancelled jobs again, with `extra_attempts` more each; return how many.

    Works a page at a time. If it ends half-way, the jobs of earlier pages are queued, and another
    retry moves the rest.
    """
    take_back(database, batch_id, states)
    total = 0
    for state in states:
        after: int | None = 0
        while after is not None:
            moved, after = _retry_page(database, batch_id, state, after, extra_attempts)
            total += moved
    return total


def take_back(database: Database, batch_id: str, states: Sequence[State]) -> None:
    """Let jobs of a cancelled or stopped batch be queued again; those that are not stay cancelled or failed."""
    _take_cancel_back(database, batch_id, states)
    _take_stop_back(database, batch_id)


def _take_cancel_back(database: Database, batch_id: str, states: Sequence[State]) -> None:
    """Undo the cancel of a batch, after writing `cancelled` into the row of each cancelled job."""
    while True:
        settle_cancelled(database, batch_id=batch_id)
        with database.transaction() as connection:
            own_batch(connection, batch_id)
            batch = _require(connection, batch_id)
            wanted = any(getattr(batch, state.value) for state in states)
            if batch.cancelled_at is None or not wanted:
                return
            this = batches.c.id == batch_id
            if connection.scalar(select(_has_queued_rows()).select_from(batches).where(this)):
                continue
            connection.execute(update(batches).where(this).values(cancelled_at=None))
            return


def _take_stop_back(database: Database, batch_id: str) -> None:
    """Undo the stop of a batch, after writing `failed` into the row of each job that it failed."""
    fail_stopped(database, batch_id=batch_id)
    with database.transaction() as connection:
        own_batch(connection, batch_id)
        connection.execute(update(batches).where(batches.c.id == batch_id).values(stopped=None, deaths=0))


def _retry_page(
    database: Database, batch_id: str, state: State, after: int, extra_attempts: int
) -> tuple[int, int | None]:
    """Queue the jobs of a page of IDs over `after` again; return how many, and the page's last ID.

    That is None after the last page. Goes through the IDs once, so that a job that fails again
    meanwhile is not retried for ever.
    """
    of_them = (jobs.c.batch_id == batch_id, jobs.c.state == state, jobs.c.id > after)
    page = select(jobs.c.id, jobs.c.seq).where(*of_them).order_by(jobs.c.id).limit(_PAGE)
    with database.transaction() as connection:
        own_batch(connection, batch_id)
        batch = _require(connection, batch_id)
        rows = connection.execute(page).all()
        if not rows or batch.cancelled_at is not None:
            return 0, None
        queue_again(connection, batch, state, rows, extra_attempts)
    return len(rows), rows[-1].id if len(rows) == _PAGE else None


def queue_again(
    connection: Connection, batch: Row[Any], state: State, chosen: Sequence[Any], extra_attempts: int
) -> None:
    """Queue jobs, rows with `id` and `seq`, that are in `state`; the caller owns their batch."""
    among = is_among(jobs.c.id, [row.id for row in chosen])
    connection.execute(
        update(jobs)
        .where(jobs.c.batch_id == batch.id, jobs.c.state == state, among)
        .values(
            state=State.QUEUED,
            max_attempts=jobs.c.attempt + extra_attempts,
            error_code=None,
            error=None,
            worker_id=None,
            finished_at=None,
        )
    )
    add_chunks(connection, batch.id, _covering([row.seq for row in chosen], batch.chunk_size))
    move_counts(connection, {batch.id: {State.QUEUED: len(chosen), state: -len(chosen)}})


def _covering(seqs: Iterable[int], chunk_size: int) -> Iterator[tuple[int, int]]:
    """Yield ranges that cover these jobs, none wider than a chunk."""
    for _, group in groupby(sorted(seqs), key=lambda seq: seq // chunk_size):
        covered = list(group)
        yield covered[0], covered[-1]


def ordered_state(database: Database, batch_id: str) -> State | None:
    """Return the state for the rest of a worker's chunk, or None to continue.

    Workers ask between sub-batches. CANCELLED cancels the rest, QUEUED returns it to the queue.
    """
    with database.reading() as connection:
        row = connection.execute(
            select(batches.c.cancelled_at, batches.c.paused_at, batches.c.stopped).where(batches.c.id == batch_id)
        ).one_or_none()
    if row is None or row.cancelled_at is not None:
        return State.CANCELLED
    return State.QUEUED if row.paused_at is not None or row.stopped is not None else None


def _require(connection: Connection, batch_id: str) -> Row[Any]:
    seen = (batches.c.id == batch_id, batches.c.pruned_at.is_(None))
    batch = connection.execute(select(batches).where(*seen)).one_or_none()
    if batch is None:
        raise NotFoundError.of_batch(batch_id)
    return batch
