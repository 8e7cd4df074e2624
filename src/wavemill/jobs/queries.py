"""Questions to the table; none counts rows, none uses OFFSET."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Row, RowMapping, Select, select, union_all

from wavemill.errors import NotFoundError
from wavemill.jobs.database import Database, now
from wavemill.jobs.schema import batches, job_attempts, jobs, workers
from wavemill.jobs.states import State, batch_state


def batch_status(database: Database, batch_id: str) -> dict[str, Any]:
    """Return a batch's status as `wavemill status BATCH --json` prints it."""
    query = select(batches, now().label("now")).where(batches.c.id == batch_id)
    with database.reading() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no batch {batch_id!r}; list them with: wavemill status")
    return _status(row)


def batch_is_final(database: Database, batch_id: str) -> bool:
    """Whether none of a batch's jobs is queued or running."""
    with database.reading() as connection:
        finished_at = connection.scalar(select(batches.c.finished_at).where(batches.c.id == batch_id))
    return finished_at is not None


def list_batches(database: Database, *, limit: int = 20) -> list[dict[str, Any]]:
    """Return the newest batches' statuses, newest first."""
    query = select(batches, now().label("now")).order_by(batches.c.created_at.desc(), batches.c.id).limit(limit)
    with database.reading() as connection:
        return [_status(row) for row in connection.execute(query)]


def _status(row: Row[Any]) -> dict[str, Any]:
    counts = {state: getattr(row, state.value) for state in State}
    finished = row.total - counts[State.QUEUED] - counts[State.RUNNING]
    elapsed_s = ((row.finished_at or row.now) - row.created_at).total_seconds()
    rate = finished / elapsed_s if finished and elapsed_s > 0 else None
    left = row.total - finished
    return {
        "id": row.id,
        "name": row.name,
        "operation": row.operation,
        "model": row.model,
        "state": batch_state(counts, paused=row.paused_at is not None, cancelled=row.cancelled_at is not None).value,
        "total": row.total,
        "counts": {state.value: count for state, count in counts.items()},
        "created_at": row.created_at,
        "finished_at": row.finished_at,
        "jobs_per_second": None if rate is None else round(rate, 3),
        "eta_s": 0.0 if not left else None if rate is None else round(left / rate, 1),
        "output": row.output,
        "dataset": row.dataset,
        "model_digest": row.model_digest,
    }


def list_jobs(
    database: Database,
    *,
    batch_id: str | None = None,
    state: State | None = None,
    flag: str | None = None,
    after: int = 0,
    limit: int | None = None,
    page: int = 1_000,
) -> Iterator[Row[Any]]:
    """Yield jobs in the order of their IDs, those after the job ID `after`, at most `limit`, a page at a time."""
    left = limit
    while left is None or left > 0:
        size = page if left is None else min(page, left)
        with database.reading() as connection:
            rows = connection.execute(_page_of_jobs(batch_id, state, flag, after, size)).all()
        yield from rows
        if len(rows) < size:
            return
        after = rows[-1].id
        left = None if left is None else left - size


def _page_of_jobs(batch_id: str | None, state: State | None, flag: str | None, after: int, size: int) -> Select[Any]:
    if flag is not None:
        # Few jobs are flagged, and these have an index of their own.
        flagged = select(jobs).where(jobs.c.flags.is_not(None), jobs.c.flags.contains(flag), jobs.c.id > after)
        flagged = flagged if batch_id is None else flagged.where(jobs.c.batch_id == batch_id)
        return (flagged if state is None else flagged.where(jobs.c.state == state)).order_by(jobs.c.id).limit(size)
    if batch_id is None:
        query = select(jobs).where(jobs.c.id > after)
        return (query if state is None else query.where(jobs.c.state == state)).order_by(jobs.c.id).limit(size)
    # The index is by batch, state and ID: a page of each state, merged, reads no row of any other batch.
    pages = [
        select(jobs.c.id)
        .where(jobs.c.batch_id == batch_id, jobs.c.state == one, jobs.c.id > after)
        .order_by(jobs.c.id)
        .limit(size)
        .subquery()
        for one in ([state] if state else State)
    ]
    ids = union_all(*[select(page.c.id) for page in pages]).subquery()
    return select(jobs).where(jobs.c.id.in_(select(ids.c.id))).order_by(jobs.c.id).limit(size)


def get_job(database: Database, job_id: int) -> dict[str, Any]:
    """Return one job with its batch's parameters and every attempt."""
    with database.reading() as connection:
        row = connection.execute(select(jobs).where(jobs.c.id == job_id)).mappings().one_or_none()
        if row is None:
            raise NotFoundError(f"there is no job {job_id}; list them with: wavemill jobs")
        attempts = connection.execute(
            select(job_attempts).where(job_attempts.c.job_id == job_id).order_by(job_attempts.c.id)
        ).mappings()
        batch = connection.execute(select(batches).where(batches.c.id == row["batch_id"])).one()
        return {
            **row,
            "operation": batch.operation,
            "model": batch.model,
            "model_digest": batch.model_digest,
            "dataset": batch.dataset,
            "params": batch.params,
            "attempts": [{k: v for k, v in attempt.items() if k not in {"id", "job_id"}} for attempt in attempts],
        }


def list_workers(database: Database, *, alive_within_s: float) -> list[RowMapping]:
    """Return the workers that gave a sign of life within `alive_within_s` and did not stop."""
    query = select(workers).where(workers.c.stopped_at.is_(None), workers.c.heartbeat_at > now(-alive_within_s))
    with database.reading() as connection:
        return list(connection.execute(query.order_by(workers.c.id)).mappings())
