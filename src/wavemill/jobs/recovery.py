"""Taking jobs back from workers that died.

A lease that ended returns its job to the queue. Where a process died twice on the same jobs, they go out again in two
halves, and again, until the one that kills it stands alone and fails. Its neighbours are given the attempts that this
costs them, and one more: a job that stands alone for the first time must not fail by the next process's chance death.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select, text, update

from wavemill.errors import WorkerLostError
from wavemill.jobs.claims import ClaimedJob, Outcome, record_outcomes
from wavemill.jobs.database import Database, now
from wavemill.jobs.locks import own_batch, reaping, share_batch
from wavemill.jobs.outbox import add_chunks
from wavemill.jobs.schema import batches, jobs
from wavemill.jobs.states import State

_LONE_ATTEMPTS = 2  # at least so many are left to a job that was lost in company
_IS_RUNNING = text("jobs.state = 'running'")  # as the partial index on lease_until is written


def reclaim_expired(database: Database) -> dict[str, int]:
    """Take back every job whose lease has ended; return how many of each batch that had any."""
    return _reclaim_where(database, jobs.c.lease_until < now(), wait=False)


def reclaim_dead(database: Database, worker_suffix: str) -> dict[str, int]:
    """Take back at once, whatever their leases say, the jobs of dead workers: those whose IDs end like this."""
    return _reclaim_where(database, jobs.c.worker_id.endswith(worker_suffix, autoescape=True), wait=True)


def _reclaim_where(database: Database, condition: ColumnElement[bool], *, wait: bool) -> dict[str, int]:
    held = select(jobs.c.batch_id).where(_IS_RUNNING, jobs.c.lease_until.is_not(None), condition).distinct()
    with database.reading() as connection:
        batch_ids = sorted(connection.scalars(held))
    reclaimed = {batch_id: _reclaim_batch(database, batch_id, condition, wait=wait) for batch_id in batch_ids}
    return {batch_id: count for batch_id, count in reclaimed.items() if count}


def _reclaim_batch(database: Database, batch_id: str, condition: ColumnElement[bool], *, wait: bool) -> int:
    """Take back a batch's jobs, unless another reaper is at it: two would each see a part of a chunk."""
    lost = (
        select(jobs, batches.c.cancelled_at)
        .join(batches, batches.c.id == jobs.c.batch_id)
        .where(_IS_RUNNING, jobs.c.batch_id == batch_id, condition)
        .order_by(jobs.c.worker_id, jobs.c.seq)
        .with_for_update(of=jobs, skip_locked=True)
    )
    with database.transaction() as connection:
        if not reaping(connection, batch_id, wait=wait):
            return 0
        share_batch(connection, batch_id)
        rows = connection.execute(lost).all()
        for _, group in groupby(rows, key=lambda row: row.worker_id):
            _reclaim(connection, list(group))
        if rows:
            connection.execute(update(batches).where(batches.c.id == batch_id).values(torn_at=now()))
    return len(rows)


def _reclaim(connection: Connection, rows: Sequence[Row[Any]]) -> None:
    """Take back what one dead process held of one batch: that is, one chunk or what was left of it."""
    batch_id, worker_id = rows[0].batch_id, rows[0].worker_id
    in_company = len(rows) > 1
    died_before = max(row.attempt for row in rows) > 1
    if rows[0].cancelled_at is None and in_company:
        spent = [row.id for row in rows if row.attempt + _LONE_ATTEMPTS > row.max_attempts]
        more = jobs.c.attempt + _LONE_ATTEMPTS
        connection.execute(update(jobs).where(jobs.c.id.in_(spent)).values(max_attempts=more))
    outcomes = [_outcome(row, in_company=in_company) for row in rows]
    started_at = {(row.id, row.attempt): row.started_at for row in rows}
    record_outcomes(connection, batch_id, worker_id, outcomes, started_at)
    again = [outcome.job.seq for outcome in outcomes if outcome.state is State.QUEUED]
    add_chunks(connection, batch_id, _ranges(again, halve=died_before), again=True)


def _outcome(row: Row[Any], *, in_company: bool) -> Outcome:
    job = ClaimedJob(
        id=row.id,
        seq=row.seq,
        spectrogram_id=row.spectrogram_id,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
    )
    error = f"the worker process died or fell silent in attempt {row.attempt}"
    if row.cancelled_at is not None:
        return Outcome(job=job, state=State.CANCELLED)
    if not in_company and row.attempt >= row.max_attempts:
        error += ", as it did before; look into this input, then: wavemill retry"
        return Outcome(job=job, state=State.FAILED, error_code=WorkerLostError.code, error=error)
    return Outcome(job=job, state=State.QUEUED, error_code=WorkerLostError.code, error=error)


def _ranges(seqs: Sequence[int], *, halve: bool) -> Iterator[tuple[int, int]]:
    if not seqs:
        return
    middle = (len(seqs) + 1) // 2 if halve else len(seqs)
    for part in (seqs[:middle], seqs[middle:]):
        if part:
            yield part[0], part[-1]


def mend_torn(database: Database, clear: Callable[[Row[Any], Sequence[str]], None]) -> int:
    """Clear up after the dead workers of batches that are finished; return how many batches were.

    A worker that died between moving outputs into place and saying so leaves files; most are overwritten by the next
    attempt, but a job that is never tried again has none.

    Parameters
    ----------
    clear : callable
        Called with the batch and the IDs of its jobs that were begun and are not done: nothing of theirs is to stay.
        Nobody else moves a job of the batch meanwhile.
    """
    torn = select(batches.c.id).where(batches.c.torn_at.is_not(None), batches.c.finished_at.is_not(None))
    with database.reading() as connection:
        batch_ids = sorted(connection.scalars(torn))
    return sum(_mend(database, batch_id, clear) for batch_id in batch_ids)


def _mend(database: Database, batch_id: str, clear: Callable[[Row[Any], Sequence[str]], None]) -> bool:
    this_batch = batches.c.id == batch_id
    with database.transaction() as connection:
        own_batch(connection, batch_id)
        batch = connection.execute(select(batches).where(this_batch)).one_or_none()
        if batch is None or batch.torn_at is None or batch.finished_at is None:  # retried, or mended by another reaper
            return False
        connection.execute(update(batches).where(this_batch).values(torn_at=None))
        begun = select(jobs.c.spectrogram_id).where(
            jobs.c.batch_id == batch_id,
            jobs.c.state != State.DONE,
            jobs.c.started_at.is_not(None),
        )
        clear(batch, list(connection.scalars(begun)))
    return True
