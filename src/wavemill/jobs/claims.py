"""Claims: who works on which jobs, for how long, and what came of it.

A claim is one guarded UPDATE; it counts the attempt before any work is done. A finish is fenced by worker and attempt:
the rows are locked, the outputs moved into place, the rows marked, and all of it committed together. Whoever lost
the lease meanwhile moves nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from wavemill.jobs.counters import move_counts
from wavemill.jobs.database import Database, now
from wavemill.jobs.locks import share_batch
from wavemill.jobs.outbox import add_chunks
from wavemill.jobs.schema import batches, chunks, job_attempts, jobs
from wavemill.jobs.states import State


@dataclass(frozen=True, kw_only=True)
class ClaimedJob:
    """One job in a worker's hands."""

    id: int
    seq: int
    spectrogram_id: str
    attempt: int
    max_attempts: int
    item: Mapping[str, Any] = field(default_factory=dict, compare=False)  # what the operation needs besides the ID


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The queued jobs of one chunk, now this worker's until the lease ends."""

    batch: Row[Any]
    worker_id: str
    jobs: tuple[ClaimedJob, ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one job.

    `state` QUEUED gives it back: with an `error_code` it waits `delay_s` for its next attempt, without one, or without
    `blame`, the attempt does not count. `columns` are more columns of the row; `place` moves the outputs to where
    they belong.
    """

    job: ClaimedJob
    state: State
    error_code: str | None = None
    error: str | None = None
    delay_s: float = 0.0
    blame: bool = True
    columns: Mapping[str, Any] = field(default_factory=dict)
    place: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        if self.error is not None:
            # What names a file may hold what no database stores: NUL (PostgreSQL), bytes that are no text (both).
            storable = self.error.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
            object.__setattr__(self, "error", storable)

    @property
    def counts_as_attempt(self) -> bool:
        """Whether work was done, or failed, rather than given back."""
        return self.state is not State.QUEUED or (self.error_code is not None and self.blame)


def claim_chunk(
    database: Database, batch_id: str, first: int, last: int, *, worker_id: str, lease_s: float
) -> Claim | None:
    """Claim the queued jobs `first` to `last` of a batch; None when there is nothing (left) to do."""
    in_range = (jobs.c.batch_id == batch_id, jobs.c.seq.between(first, last), jobs.c.state == State.QUEUED)
    with database.transaction() as connection:
        share_batch(connection, batch_id)
        batch = connection.execute(select(batches).where(batches.c.id == batch_id)).one_or_none()
        if batch is None or batch.cancelled_at is not None:  # a cancelled batch's rows may still say `queued`
            return None
        covered = _locked_chunks(connection, batch_id, first, last)
        if batch.paused_at is not None:
            connection.execute(update(chunks).where(chunks.c.id.in_(covered)).values(published_at=None))
            return None
        # Before the jobs are claimed: a chunk that is written meanwhile may be for jobs that this claim does not see.
        connection.execute(delete(chunks).where(chunks.c.id.in_(covered)))
        # Locked in the order of seq, so that two claims of overlapping ranges cannot deadlock.
        queued = select(jobs.c.id).where(*in_range).order_by(jobs.c.seq).with_for_update()
        claimed = connection.execute(
            update(jobs)
            .where(jobs.c.id.in_(queued), jobs.c.state == State.QUEUED)
            .values(
                state=State.RUNNING,
                attempt=jobs.c.attempt + 1,
                worker_id=worker_id,
                lease_until=now(lease_s),
                started_at=now(),
                error_code=None,
                error=None,
            )
            .returning(*[jobs.c[name] for name in ("id", "seq", "spectrogram_id", "attempt", "max_attempts", "item")])
        ).all()
        move_counts(connection, batch_id, {State.QUEUED: -len(claimed), State.RUNNING: len(claimed)})
    if not claimed:
        return None
    mine = sorted((ClaimedJob(**{**row._mapping, "item": row.item or {}}) for row in claimed), key=lambda job: job.seq)
    return Claim(batch=batch, worker_id=worker_id, jobs=tuple(mine))


def _locked_chunks(connection: Connection, batch_id: str, first: int, last: int) -> list[int]:
    covered = (
        select(chunks.c.id)
        .where(chunks.c.batch_id == batch_id, chunks.c.first.between(first, last), chunks.c.last <= last)
        .order_by(chunks.c.id)
        .with_for_update()
    )
    return list(connection.scalars(covered))


def finish_jobs(
    database: Database,
    claim: Claim,
    outcomes: Sequence[Outcome],
    *,
    on_place_error: Callable[[ClaimedJob, Exception], Outcome],
) -> int:
    """Record outcomes of jobs that are still this claim's, moving outputs into place; return how many were.

    An output that cannot be moved into place gives its job the outcome that `on_place_error` says. Where the batch
    was cancelled meanwhile, what would go back to the queue is cancelled.
    """
    if not outcomes:
        return 0
    with database.transaction() as connection:
        share_batch(connection, claim.batch.id)
        cancelled = connection.scalar(select(batches.c.cancelled_at).where(batches.c.id == claim.batch.id)) is not None
        held = _lock_held(connection, claim, [outcome.job for outcome in outcomes])
        mine = [
            _placed(outcome, on_place_error) for outcome in outcomes if (outcome.job.id, outcome.job.attempt) in held
        ]
        if cancelled:
            mine = [_not_queued(outcome) for outcome in mine]
        record_outcomes(connection, claim.batch.id, claim.worker_id, mine, held)
        again = [outcome for outcome in mine if outcome.state is State.QUEUED]
        for delay_s in sorted({outcome.delay_s for outcome in again}):
            seqs = [outcome.job.seq for outcome in again if outcome.delay_s == delay_s]
            add_chunks(connection, claim.batch.id, [(min(seqs), max(seqs))], delay_s=delay_s, again=True)
    return len(mine)


def _placed(outcome: Outcome, on_place_error: Callable[[ClaimedJob, Exception], Outcome]) -> Outcome:
    try:
        outcome.place()
    except Exception as exc:  # whatever a store raises: one bad item harms itself only
        return on_place_error(outcome.job, exc)
    return outcome


def _not_queued(outcome: Outcome) -> Outcome:
    return Outcome(job=outcome.job, state=State.CANCELLED) if outcome.state is State.QUEUED else outcome


def _lock_held(connection: Connection, claim: Claim, claimed: Sequence[ClaimedJob]) -> dict[tuple[int, int], Any]:
    rows = connection.execute(
        select(jobs.c.id, jobs.c.attempt, jobs.c.started_at)
        .where(
            jobs.c.id.in_([job.id for job in claimed]),
            jobs.c.worker_id == claim.worker_id,
            jobs.c.state == State.RUNNING,
        )
        .order_by(jobs.c.seq)
        .with_for_update()
    )
    return {(row.id, row.attempt): row.started_at for row in rows}


def record_outcomes(
    connection: Connection,
    batch_id: str,
    worker_id: str | None,
    outcomes: Sequence[Outcome],
    started_at: Mapping[tuple[int, int], Any],
) -> None:
    """Move locked, running jobs to where their outcomes say, with attempts and counters."""
    if not outcomes:
        return
    finished_at = connection.scalar(select(now()))
    connection.execute(_FINISH, [_finish_values(outcome, finished_at) for outcome in outcomes])
    attempts = [
        {
            "job_id": outcome.job.id,
            "attempt": outcome.job.attempt,
            "worker_id": worker_id,
            "outcome": "retry" if outcome.state is State.QUEUED else outcome.state.value,
            "error_code": outcome.error_code,
            "error": outcome.error,
            "started_at": started_at[outcome.job.id, outcome.job.attempt],
            "finished_at": finished_at,
        }
        for outcome in outcomes
        if outcome.counts_as_attempt
    ]
    if attempts:
        connection.execute(insert(job_attempts), attempts)
    changes = Counter(outcome.state for outcome in outcomes)
    changes[State.RUNNING] -= len(outcomes)
    move_counts(connection, batch_id, changes)


# Columns that an outcome may set besides its state.
RESULT_COLUMNS = (
    "inputs_sha256",
    "generated_path",
    "original_path",
    "latent_path",
    "sha256",
    "original_sha256",
    "latent_sha256",
    "quality",
    "flags",
    "timings",
)
_FINISH = (
    update(jobs)
    .where(
        jobs.c.id == bindparam("job_id"),
        jobs.c.attempt == bindparam("job_attempt"),
        jobs.c.state == State.RUNNING,
    )
    .values(
        {
            "state": bindparam("new_state"),
            "attempt": bindparam("new_attempt"),
            "lease_until": None,
            "error_code": bindparam("new_error_code"),
            "error": bindparam("new_error"),
            "finished_at": bindparam("new_finished_at"),
            **{name: bindparam(f"new_{name}", type_=jobs.c[name].type) for name in RESULT_COLUMNS},
        }
    )
)


def _finish_values(outcome: Outcome, finished_at: Any) -> dict[str, Any]:
    return {
        "job_id": outcome.job.id,
        "job_attempt": outcome.job.attempt,
        "new_state": outcome.state.value,
        "new_attempt": outcome.job.attempt - (not outcome.counts_as_attempt),
        "new_error_code": outcome.error_code,
        "new_error": outcome.error,
        "new_finished_at": None if outcome.state is State.QUEUED else finished_at,
        **{f"new_{name}": outcome.columns.get(name) for name in RESULT_COLUMNS},
    }


def renew_leases(database: Database, claim: Claim, *, lease_s: float) -> int:
    """Prolong the leases of a claim's jobs that are still running; return how many were."""
    mine = (
        select(jobs.c.id)
        .where(
            jobs.c.id.in_([job.id for job in claim.jobs]),
            jobs.c.worker_id == claim.worker_id,
            jobs.c.state == State.RUNNING,
        )
        .order_by(jobs.c.seq)  # as a finish locks them: the heartbeat's thread and the worker's must not deadlock
        .with_for_update()
    )
    with database.transaction() as connection:
        return connection.execute(
            update(jobs).where(jobs.c.id.in_(mine), jobs.c.state == State.RUNNING).values(lease_until=now(lease_s))
        ).rowcount
