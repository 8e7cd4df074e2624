"""Batches in a real table: written, claimed, finished and audited as a worker and the reaper would."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Row, func, select

from wavemill.jobs.claims import Claim, ClaimedJob, claim_chunk
from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Outcome, finish_jobs
from wavemill.jobs.outbox import ChunkMessage
from wavemill.jobs.recovery import reclaim_expired
from wavemill.jobs.schema import batches, chunks, jobs
from wavemill.jobs.states import State
from wavemill.jobs.submit import BatchRequest, NewJob, write_batch


def request(*, chunk_size: int = 4, max_attempts: int = 3, priority: int = 4, name: str | None = None) -> BatchRequest:
    """Return a request whose dataset and model nobody opens."""
    return BatchRequest(
        operation="reconstruct",
        dataset="/data/digits",
        model="small",
        model_digest="0" * 64,
        output="/out",
        params={"method": "pghi+gl"},
        name=name,
        priority=priority,
        chunk_size=chunk_size,
        max_attempts=max_attempts,
    )


def submit(database: Database, n_jobs: int, *, chunk_size: int = 4, max_attempts: int = 3, priority: int = 4) -> str:
    """Write a batch of `n_jobs`; return its ID."""
    wanted = request(chunk_size=chunk_size, max_attempts=max_attempts, priority=priority)
    return write_batch(database, wanted, new_jobs(f"set/{i}" for i in range(n_jobs)))[0]


def new_jobs(ids: Iterable[str]) -> Iterator[NewJob]:
    """Return jobs that need nothing but their ID."""
    return ((ID, None) for ID in ids)


def claim(
    database: Database, batch_id: str, first: int, last: int, *, worker: str = "w1", lease_s: float = 60.0
) -> Claim:
    """Claim a chunk in which there is something to do."""
    claimed = claim_chunk(database, batch_id, first, last, worker_id=worker, lease_s=lease_s)
    assert claimed is not None
    return claimed


def seqs(claimed: Claim | None) -> list[int]:
    """Return which jobs of the batch a claim holds."""
    return [] if claimed is None else [job.seq for job in claimed.jobs]


def all_done(claimed: Claim, *, place: Callable[[], None] = lambda: None) -> list[Outcome]:
    """Return the outcomes of a worker to which nothing happened."""
    return [
        Outcome(job=job, state=State.DONE, columns={"generated_path": f"{job.seq}.wav"}, place=place)
        for job in claimed.jobs
    ]


def retried(job: ClaimedJob, *, delay_s: float = 0.0) -> Outcome:
    """Return the outcome of a transient error."""
    return Outcome(job=job, state=State.QUEUED, error_code="storage-unavailable", error="full", delay_s=delay_s)


def failed(job: ClaimedJob, exc: Exception | None = None) -> Outcome:
    """Return the outcome of a permanent error."""
    return Outcome(job=job, state=State.FAILED, error_code="bad-spectrogram", error=str(exc or "NaN"))


def finish(database: Database, claimed: Claim, outcomes: Sequence[Outcome]) -> int:
    """Record outcomes; an output that cannot be placed fails its job."""
    return finish_jobs(database, claimed, outcomes, on_place_error=failed)


def job_rows(database: Database, batch_id: str) -> list[Row[Any]]:
    """Return a batch's jobs in the order of seq."""
    with database.reading() as connection:
        return list(connection.execute(select(jobs).where(jobs.c.batch_id == batch_id).order_by(jobs.c.seq)).all())


def states(database: Database, batch_id: str) -> dict[str, list[int]]:
    """Return the seqs in each state that some job is in."""
    found: dict[str, list[int]] = {}
    for row in job_rows(database, batch_id):
        found.setdefault(row.state, []).append(row.seq)
    return found


def chunk_ranges(database: Database, batch_id: str) -> list[tuple[int, int]]:
    """Return the ranges that have a row in the outbox, in the order of `first`."""
    query = select(chunks.c.first, chunks.c.last).where(chunks.c.batch_id == batch_id).order_by(chunks.c.first)
    with database.reading() as connection:
        return [(row.first, row.last) for row in connection.execute(query)]


def reclaim(database: Database) -> int:
    """Wait until a lease has ended, and take its jobs back."""
    deadline = time.monotonic() + 10
    while not (count := sum(reclaim_expired(database).values())):
        assert time.monotonic() < deadline, "no lease ended"
        time.sleep(0.002)
    return count


class Outgoing:
    """Stands where the broker is and keeps what it is sent."""

    def __init__(self) -> None:
        self.messages: list[ChunkMessage] = []

    def __call__(self, messages: Sequence[ChunkMessage]) -> None:
        """Take messages."""
        self.messages += messages

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """What arrived, in order."""
        return [(message.first, message.last) for message in self.messages]


def is_torn(database: Database, batch_id: str) -> bool:
    """Whether what dead workers left of a batch is still to be cleared up."""
    with database.reading() as connection:
        return connection.scalar(select(batches.c.torn_at).where(batches.c.id == batch_id)) is not None


def audit(database: Database, batch_id: str) -> None:
    """Assert what holds of every batch between any two transactions."""
    with database.reading() as connection:
        batch = connection.execute(select(batches).where(batches.c.id == batch_id)).one()
        rows = connection.execute(select(jobs).where(jobs.c.batch_id == batch_id)).all()
        ranges = connection.execute(select(chunks.c.first, chunks.c.last).where(chunks.c.batch_id == batch_id)).all()
    counted = Counter(row.state for row in rows)
    assert {state.value: getattr(batch, state.value) for state in State} == {s.value: counted[s.value] for s in State}
    assert len(rows) == batch.total
    assert (batch.finished_at is not None) == (not counted["queued"] and not counted["running"])
    assert all(row.attempt <= row.max_attempts for row in rows)
    assert all((row.lease_until is not None) == (row.state == "running") for row in rows)
    assert all((row.finished_at is not None) == (row.state in {"done", "failed", "cancelled"}) for row in rows)
    queued = [row.seq for row in rows if row.state == "queued"]
    assert not _uncovered(queued, ranges), "queued jobs that no message will ever name"
    assert not (batch.cancelled_at and queued), "a cancelled batch has queued jobs"


def _uncovered(queued: Iterable[int], ranges: Iterable[Any]) -> list[int]:
    return [seq for seq in queued if not any(row.first <= seq <= row.last for row in ranges)]


def count_rows(database: Database, table: Any) -> int:
    """Count a table."""
    with database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0
