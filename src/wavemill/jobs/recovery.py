"""Take jobs back from dead workers.

When a lease expires, its job returns to the queue. If the same jobs lose two workers, they are
requeued in two halves, and halved again on each further death, until the job that kills its worker
is alone and fails. Its neighbours get back the attempts that this costs them, plus one: a job that is
alone for the first time must not fail because its worker died by chance.

A batch is stopped when it kills one process after another and none of its jobs is done in between.
Processes that die together, as in a power cut, count as one death.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select, text, update

from wavemill.errors import WorkerLostError
from wavemill.jobs.claims import ClaimedJob
from wavemill.jobs.database import Database, now
from wavemill.jobs.finishing import Outcome, mark_torn, record_outcomes
from wavemill.jobs.locks import reaping, share_batch
from wavemill.jobs.outbox import add_chunks
from wavemill.jobs.pulse import is_steady
from wavemill.jobs.schema import batches, job_attempts, jobs, pulse
from wavemill.jobs.states import State

MAX_DEATHS = 20  # twice as many as it takes to isolate one job in a chunk of 64
_DELAYS_S = (0.0, 1.0, 2.0)  # after the first, second and any later death: other jobs go first
_LONE_ATTEMPTS = 2  # minimum attempts left to a job that was lost together with others
_MOST_LOSSES = 5  # losses of one attempt of a job that is alone, each during a database outage
_IS_RUNNING = text("jobs.state = 'running'")  # as the partial index on lease_until is written


def reclaim_expired(
    database: Database, *, steady_s: float | None = None, max_deaths: int = MAX_DEATHS
) -> dict[str, int]:
    """Take back every job whose lease has expired; return batch ID -> number of jobs, without zeros.

    Parameters
    ----------
    steady_s : float, in seconds, optional
        Take nothing back unless the database has answered this long without a gap; see `wavemill.jobs.pulse`.
    max_deaths : int > 0
        Stop a batch once this many processes in a row died on it with none of its jobs done in between.
    """
    ended = jobs.c.lease_until < now()
    if steady_s is not None:  # checked in the same transaction, which may itself have waited out an outage
        ended = and_(ended, is_steady(steady_s))
    return _reclaim_where(database, ended, wait=False, max_deaths=max_deaths)


def reclaim_dead(database: Database, worker_suffix: str, *, max_deaths: int = MAX_DEATHS) -> dict[str, int]:
    """Take back the jobs of workers whose IDs end in `worker_suffix`, without waiting for their leases."""
    is_dead = jobs.c.worker_id.endswith(worker_suffix, autoescape=True)
    return _reclaim_where(database, is_dead, wait=True, max_deaths=max_deaths)


def _reclaim_where(
    database: Database, condition: ColumnElement[bool], *, wait: bool, max_deaths: int
) -> dict[str, int]:
    held = select(jobs.c.batch_id).where(_IS_RUNNING, jobs.c.lease_until.is_not(None), condition).distinct()
    with database.reading() as connection:
        batch_ids = sorted(connection.scalars(held))
    reclaimed = {
        batch_id: _reclaim_batch(database, batch_id, condition, wait=wait, max_deaths=max_deaths)
        for batch_id in batch_ids
    }
    return {batch_id: count for batch_id, count in reclaimed.items() if count}


def _reclaim_batch(
    database: Database, batch_id: str, condition: ColumnElement[bool], *, wait: bool, max_deaths: int
) -> int:
    """Take back a batch's jobs, unless another reaper is doing so: each would see only part of a chunk."""
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
        steady_since = connection.scalar(select(pulse.c.steady_since))
        groups = [list(group) for _, group in groupby(rows, key=lambda row: row.worker_id)]
        blamed = [group for group in groups if _is_to_blame(group, steady_since)]
        for group in groups:
            _reclaim(connection, group, blame=group in blamed)
        if blamed:
            _count_death(connection, batch_id, max(row.started_at for group in blamed for row in group), max_deaths)
        if groups:
            mark_torn(connection, batch_id)
    return len(rows)


def _is_to_blame(group: Sequence[Row[Any]], steady_since: dt.datetime | None) -> bool:
    """Whether the process is known to have died: a lease that expired during an outage does not prove it."""
    return steady_since is None or max(row.lease_until for row in group) > steady_since


def _count_death(connection: Connection, batch_id: str, begun_at: dt.datetime, max_deaths: int) -> None:
    """Count a death if its process began after the last counted death; otherwise they died together."""
    this = batches.c.id == batch_id
    is_another = or_(batches.c.torn_at.is_(None), batches.c.torn_at <= begun_at)
    connection.execute(update(batches).where(this, is_another).values(torn_at=now(), deaths=batches.c.deaths + 1))
    too_many = (batches.c.deaths >= max_deaths, batches.c.finished_at.is_(None), batches.c.stopped.is_(None))
    sentence = (
        f"stopped: {max_deaths} worker processes died on this batch, and none of its jobs was done in between; "
        f"look into its inputs and the workers' logs, then: wavemill retry {batch_id}"
    )
    connection.execute(update(batches).where(this, *too_many).values(stopped=sentence))


def _reclaim(connection: Connection, rows: Sequence[Row[Any]], *, blame: bool) -> None:
    """Take back what one dead process held of one batch: one chunk, or what was left of it.

    Without `blame` the attempt does not count, but the claim does. A job that crashes the host of the
    database is never blamed, and must be isolated all the same.
    """
    batch_id, worker_id = rows[0].batch_id, rows[0].worker_id
    most_claims = max(row.claims for row in rows)
    # A process on its first claim may also have held small chunks of other batches.
    in_company = len(rows) > 1 or most_claims == 1
    if rows[0].cancelled_at is None and in_company:
        spent = [row.id for row in rows if row.attempt + _LONE_ATTEMPTS > row.max_attempts]
        more = jobs.c.attempt + _LONE_ATTEMPTS
        connection.execute(update(jobs).where(jobs.c.id.in_(spent)).values(max_attempts=more))
    is_last = not in_company and (
        rows[0].attempt >= rows[0].max_attempts if blame else _losses(connection, rows[0]) + 1 >= _MOST_LOSSES
    )
    outcomes = [_outcome(row, blame=blame, is_alone=not in_company, is_last=is_last) for row in rows]
    started_at = {(row.id, row.claims): row.started_at for row in rows}
    record_outcomes(connection, worker_id, {batch_id: outcomes}, started_at)
    again = [outcome.job.seq for outcome in outcomes if outcome.state is State.QUEUED]
    delay_s = _DELAYS_S[min(most_claims, len(_DELAYS_S)) - 1]
    add_chunks(connection, batch_id, _ranges(again, halve=most_claims > 1), delay_s=delay_s, again=True)


def _losses(connection: Connection, row: Row[Any]) -> int:
    """Return how often this attempt of a job was lost before without being counted."""
    lost = (
        job_attempts.c.job_id == row.id,
        job_attempts.c.attempt == row.attempt,
        job_attempts.c.error_code == WorkerLostError.code,
    )
    return connection.scalar(select(func.count()).select_from(job_attempts).where(*lost)) or 0


def _outcome(row: Row[Any], *, blame: bool, is_alone: bool, is_last: bool) -> Outcome:
    job = ClaimedJob(
        id=row.id,
        seq=row.seq,
        spectrogram_id=row.spectrogram_id,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        fence=row.claims,
    )
    error = f"the worker process died or fell silent in attempt {row.attempt}"
    if row.cancelled_at is not None:
        return Outcome(job=job, state=State.CANCELLED)
    if is_last:
        error += ", as it did before; look into this input, then: wavemill retry"
        return Outcome(job=job, state=State.FAILED, error_code=WorkerLostError.code, error=error)
    code = WorkerLostError.code
    return Outcome(job=job, state=State.QUEUED, error_code=code, error=error, blame=blame, is_noted=is_alone)


def _ranges(seqs: Sequence[int], *, halve: bool) -> Iterator[tuple[int, int]]:
    if not seqs:
        return
    middle = (len(seqs) + 1) // 2 if halve else len(seqs)
    for part in (seqs[:middle], seqs[middle:]):
        if part:
            yield part[0], part[-1]


# Yields the IDs of jobs that were begun and are not done; stops early if the batch changes meanwhile.
Begun = Callable[[], Iterator[str]]


def mend_torn(database: Database, clear: Callable[[Row[Any], Begun], bool]) -> int:
    """Remove the files that dead workers left in finished batches; return how many batches were cleared.

    A worker that dies after moving outputs into place and before recording them leaves files. The next
    attempt overwrites them, but some jobs are never tried again.

    Parameters
    ----------
    clear : callable
        Called outside any transaction with the batch and a function that yields the IDs of jobs that were
        begun and are not done. Returns whether it removed their files; if not, the next sweep tries again.
    """
    torn = select(batches).where(batches.c.torn_at.is_not(None), batches.c.finished_at.is_not(None))
    with database.reading() as connection:
        found = connection.execute(torn.order_by(batches.c.id)).all()
    return sum(_mend(database, batch) for batch in found if clear(batch, partial(_begun, database, batch)))


def _is_unchanged(batch: Row[Any]) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that a batch was not retried and lost no further worker."""
    same = ("id", "torn_at", "finished_at")
    return tuple(batches.c[name] == getattr(batch, name) for name in same)


def _begun(database: Database, batch: Row[Any]) -> Iterator[str]:
    """Yield the IDs of jobs begun but not done; before each, check that the batch is unchanged."""
    query = (
        select(jobs.c.spectrogram_id)
        .join(batches, batches.c.id == jobs.c.batch_id)
        .where(*_is_unchanged(batch), jobs.c.state != State.DONE, jobs.c.started_at.is_not(None))
    )
    with database.reading() as connection:
        begun = connection.scalars(query).all()
    unchanged = select(batches.c.id).where(*_is_unchanged(batch))
    for spectrogram_id in begun:
        with database.reading() as connection:
            if connection.scalar(unchanged) is None:
                return
        yield spectrogram_id


def _mend(database: Database, batch: Row[Any]) -> bool:
    with database.transaction() as connection:
        return bool(connection.execute(update(batches).where(*_is_unchanged(batch)).values(torn_at=None)).rowcount)
