"""Finishing: recording the outcomes of claimed jobs, and moving their outputs into place.

A worker first stages outputs under names that only this claim uses. Then:

1. It reads from the table which jobs still belong to this claim.
2. It moves the outputs of these jobs into place, outside any transaction.
3. One short transaction records the jobs that still belong to this claim, and no others.

Before a claim moves outputs of a job that was claimed before, it removes what earlier claims have
staged for it. So a process that is frozen after step 1 and loses the job finds nothing to move.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Select, bindparam, insert, select, update

from wavemill.jobs.claims import Claim, ClaimedJob
from wavemill.jobs.counters import move_counts
from wavemill.jobs.database import Database, now
from wavemill.jobs.locks import share_batches
from wavemill.jobs.outbox import add_chunks
from wavemill.jobs.schema import batches, job_attempts, jobs
from wavemill.jobs.states import State


def _nothing() -> None:
    """Do nothing: for outcomes without outputs."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of one job.

    `state` QUEUED returns the job to the queue. With an `error_code` it waits `delay_s` for its next attempt;
    without one, or without `blame`, the attempt does not count. `columns` are more columns of the
    row. `place` moves the outputs into place; `discard` removes what is still staged, never what
    was moved.
    """

    job: ClaimedJob
    state: State
    error_code: str | None = None
    error: str | None = None
    delay_s: float = 0.0
    blame: bool = True
    columns: Mapping[str, Any] = field(default_factory=dict)
    place: Callable[[], None] = _nothing
    discard: Callable[[], None] = _nothing
    is_noted: bool = False  # listed among the job's attempts even if it does not count
    is_torn: bool = False  # some of the outputs may be in place although the job is not done

    def __post_init__(self) -> None:
        if self.error is not None:
            # An error may quote a file name that databases cannot store: NUL (PostgreSQL), or bytes
            # that are not UTF-8 (both).
            storable = self.error.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
            object.__setattr__(self, "error", storable)

    @property
    def counts_as_attempt(self) -> bool:
        """Whether the work was done or failed, rather than returned to the queue."""
        return self.state is not State.QUEUED or (self.error_code is not None and self.blame)


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What a finish has recorded."""

    jobs: int  # those that still belonged to the claim
    over: tuple[str, ...]  # batches that have no job left to do
    gone: tuple[str, ...]  # batches that were pruned meanwhile


OnPlaceError = Callable[[ClaimedJob, Exception], Outcome]
Work = tuple[Claim, Sequence[Outcome]]


def finish_jobs(database: Database, claim: Claim, outcomes: Sequence[Outcome], *, on_place_error: OnPlaceError) -> int:
    """Move outputs into place and record outcomes of jobs that are still this claim's; return how many were."""
    return finish(database, [(claim, outcomes)], on_place_error=on_place_error).jobs


def finish(
    database: Database, work: Sequence[Work], *, on_place_error: OnPlaceError, placing: Executor | None = None
) -> Finished:
    """Move outputs into place and record outcomes; see `place_outputs` and `record`."""
    return record(database, place_outputs(database, work, on_place_error=on_place_error, placing=placing))


def place_outputs(
    database: Database, work: Sequence[Work], *, on_place_error: OnPlaceError, placing: Executor | None = None
) -> list[Work]:
    """Move the outputs of jobs that still belong to their claim; return the work with its results.

    If an output cannot be moved, `on_place_error` returns the outcome of its job. Outputs of jobs
    that others have taken over are discarded.

    Parameters
    ----------
    placing : Executor, optional
        Moves several outputs at a time, for stores that are slow to answer.
    """
    work = [(claim, outcomes) for claim, outcomes in work if outcomes]
    if any(outcome.place is not _nothing for _, outcomes in work for outcome in outcomes):
        with database.reading() as connection:
            held = set(_held(connection, work, lock=False))
    else:
        held = {_fence(outcome.job) for _, outcomes in work for outcome in outcomes}
    run = map if placing is None else placing.map

    def place(outcome: Outcome) -> Outcome | None:
        if _fence(outcome.job) in held:
            return _placed(outcome, on_place_error)
        outcome.discard()
        return None

    return [(claim, [done for done in run(place, outcomes) if done is not None]) for claim, outcomes in work]


def _placed(outcome: Outcome, on_place_error: OnPlaceError) -> Outcome:
    try:
        outcome.place()
    except Exception as exc:  # whatever a store raises: a bad job fails alone
        outcome.discard()
        return replace(on_place_error(outcome.job, exc), is_torn=True)
    return outcome


def record(database: Database, work: Sequence[Work]) -> Finished:
    """Record the outcomes of jobs that still belong to their claim, in one transaction.

    In a batch that was cancelled meanwhile, jobs that would return to the queue are cancelled.
    """
    if not work:
        return Finished(jobs=0, over=(), gone=())
    batch_ids = sorted({claim.batch.id for claim, _ in work})
    state_now = select(batches.c.id, batches.c.cancelled_at, batches.c.finished_at).where(
        batches.c.id.in_(batch_ids), batches.c.pruned_at.is_(None)
    )
    with database.transaction() as connection:
        share_batches(connection, batch_ids)
        cancelled = {row.id for row in connection.execute(state_now) if row.cancelled_at is not None}
        started_at = _held(connection, work, lock=True)
        mine: dict[str, list[Outcome]] = {batch_id: [] for batch_id in batch_ids}
        for claim, outcomes in work:
            held = [outcome for outcome in outcomes if _fence(outcome.job) in started_at]
            mine[claim.batch.id] += map(_not_queued, held) if claim.batch.id in cancelled else held
        record_outcomes(connection, work[0][0].worker_id, mine, started_at)
        for batch_id, outcomes in mine.items():
            _give_back(connection, batch_id, outcomes)
        rows = connection.execute(state_now).all()
    return Finished(
        jobs=sum(map(len, mine.values())),
        over=tuple(row.id for row in rows if row.finished_at is not None),
        gone=tuple(sorted(set(batch_ids) - {row.id for row in rows})),
    )


def _give_back(connection: Connection, batch_id: str, outcomes: Sequence[Outcome]) -> None:
    again = [outcome for outcome in outcomes if outcome.state is State.QUEUED]
    for delay_s in sorted({outcome.delay_s for outcome in again}):
        seqs = [outcome.job.seq for outcome in again if outcome.delay_s == delay_s]
        add_chunks(connection, batch_id, [(min(seqs), max(seqs))], delay_s=delay_s, again=True)
    if any(outcome.is_torn for outcome in outcomes):
        mark_torn(connection, batch_id)


def mark_torn(connection: Connection, batch_id: str) -> None:
    """Note since when a batch may have outputs that no job names; a first time is kept."""
    unmarked = (batches.c.id == batch_id, batches.c.torn_at.is_(None))
    connection.execute(update(batches).where(*unmarked).values(torn_at=now()))


def _not_queued(outcome: Outcome) -> Outcome:
    if outcome.state is not State.QUEUED:
        return outcome
    return Outcome(job=outcome.job, state=State.CANCELLED, is_torn=outcome.is_torn)


def _fence(job: ClaimedJob) -> tuple[int, int]:
    return job.id, job.fence


def _held(connection: Connection, work: Sequence[Work], *, lock: bool) -> dict[tuple[int, int], Any]:
    """Return (job, fence) -> start time, of the jobs that still belong to their claim."""
    query: Select[Any] = select(jobs.c.id, jobs.c.claims, jobs.c.started_at).where(
        jobs.c.id.in_([outcome.job.id for _, outcomes in work for outcome in outcomes]),
        jobs.c.worker_id == work[0][0].worker_id,
        jobs.c.state == State.RUNNING,
    )
    if lock:
        query = query.order_by(jobs.c.batch_id, jobs.c.seq).with_for_update()
    return {(row.id, row.claims): row.started_at for row in connection.execute(query)}


def record_outcomes(
    connection: Connection,
    worker_id: str | None,
    outcomes: Mapping[str, Sequence[Outcome]],
    started_at: Mapping[tuple[int, int], Any],
) -> None:
    """Write the outcomes of locked, running jobs, with their attempts and counters.

    Parameters
    ----------
    outcomes : batch ID -> outcomes of its jobs
    started_at : (job, fence) -> when that claim was made
    """
    every = [outcome for one in outcomes.values() for outcome in one]
    if not every:
        return
    finished_at = connection.scalar(select(now()))
    connection.execute(_FINISH, [_finish_values(outcome, finished_at) for outcome in every])
    attempts = [
        {
            "job_id": outcome.job.id,
            "attempt": outcome.job.attempt,
            "worker_id": worker_id,
            "outcome": "retry" if outcome.state is State.QUEUED else outcome.state.value,
            "error_code": outcome.error_code,
            "error": outcome.error,
            "started_at": started_at[_fence(outcome.job)],
            "finished_at": finished_at,
        }
        for outcome in every
        if outcome.counts_as_attempt or outcome.is_noted
    ]
    if attempts:
        connection.execute(insert(job_attempts), attempts)
    move_counts(connection, {batch_id: _changes(one) for batch_id, one in outcomes.items()})


def _changes(outcomes: Sequence[Outcome]) -> Counter[State]:
    changes = Counter(outcome.state for outcome in outcomes)
    changes[State.RUNNING] -= len(outcomes)
    return changes


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
