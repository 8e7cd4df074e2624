"""Read-only queries on batches, jobs and workers.

None of them counts rows of `jobs` or uses OFFSET, so that they stay fast with millions of jobs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, RowMapping, Select, and_, case, func, or_, select, union_all

from wavemill.errors import NotFoundError, UsageError
from wavemill.jobs.counters import MARK_S
from wavemill.jobs.database import Database, is_among, now
from wavemill.jobs.pages import page_of_ids
from wavemill.jobs.schema import batches, job_attempts, jobs, workers
from wavemill.jobs.states import FINAL, State, batch_state
from wavemill.jobs.tags import has_tags
from wavemill.text.shown import is_utf8

_LOOKED_AT = 1_000  # queued jobs that are searched for the reason why they wait
_LATELY_S = 10.0
_LIVELY = 500  # open batches, and batches that ended lately, whose changes are told
_NAMED = 3  # batches of one name that an error lists


def batch_status(database: Database, batch_id: str) -> dict[str, Any]:
    """Return a batch's status as `wavemill status BATCH --json` prints it."""
    if "\0" in batch_id:  # PostgreSQL refuses it
        raise NotFoundError.of_batch(batch_id)
    query = _batches().where(batches.c.id == batch_id)
    with database.reading() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFoundError.of_batch(batch_id)
    return _status(row)


def find_batch(database: Database, id_or_name: str, *, pruned_too: bool = False) -> str:
    """Return the ID of the batch with this ID, or else of the only one with this name.

    With `pruned_too`, it also finds batches whose removal has begun.
    """
    if not is_utf8(id_or_name) or "\0" in id_or_name:
        raise NotFoundError.of_batch(id_or_name)
    IDs = select(batches.c.id)
    if not pruned_too:
        IDs = IDs.where(batches.c.pruned_at.is_(None))
    named = IDs.where(batches.c.name == id_or_name).order_by(batches.c.created_at.desc()).limit(_NAMED + 1)
    with database.reading() as connection:
        if connection.scalar(IDs.where(batches.c.id == id_or_name)) is not None:
            return id_or_name
        found: list[str] = list(connection.scalars(named))
    if not found:
        raise NotFoundError.of_batch(id_or_name)
    if len(found) > 1:
        newest = ", ".join(found[:_NAMED]) + (", ..." if len(found) > _NAMED else "")
        raise UsageError(f"several batches have the name {id_or_name!r}, name one by its ID: {newest}")
    return found[0]


def why_queued(database: Database, batch_id: str) -> str | None:
    """Return the first error among the batch's first `_LOOKED_AT` queued jobs; None if they have none."""
    queued = (jobs.c.batch_id == batch_id, jobs.c.state == State.QUEUED)
    first = select(jobs.c.error).where(*queued).order_by(jobs.c.id).limit(_LOOKED_AT).subquery()
    with database.reading() as connection:
        error: str | None = connection.scalar(select(first.c.error).where(first.c.error.is_not(None)).limit(1))
    return error


def batch_is_final(database: Database, batch_id: str) -> bool:
    """Whether none of a batch's jobs is queued or running."""
    with database.reading() as connection:
        finished_at = connection.scalar(select(batches.c.finished_at).where(batches.c.id == batch_id))
    return finished_at is not None


def list_batches(
    database: Database, *, limit: int = 20, tags: Mapping[str, str] | None = None, before: str | None = None
) -> list[dict[str, Any]]:
    """Return the statuses of the newest batches, or of those that have all `tags`, newest first.

    `before` is the ID of the last batch of the page before.
    """
    query = _batches().where(*has_tags(tags or {}))
    if before is not None:
        last = select(batches.c.created_at).where(batches.c.id == before).scalar_subquery()
        is_older = and_(batches.c.created_at == last, batches.c.id < before)
        query = query.where(batches.c.created_at <= last, or_(batches.c.created_at < last, is_older))
    query = query.order_by(batches.c.created_at.desc(), batches.c.id.desc()).limit(limit)
    with database.reading() as connection:
        return [_status(row) for row in connection.execute(query)]


def lively_batches(database: Database, *, watched: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the statuses of open batches, of those that ended lately, and of the `watched`, in one query."""
    newest = batches.c.created_at.desc()
    ended = batches.c.finished_at > now(-_LATELY_S)
    chosen = union_all(
        select(select(batches.c.id).where(batches.c.finished_at.is_(None)).order_by(newest).limit(_LIVELY).subquery()),
        select(select(batches.c.id).where(ended).order_by(batches.c.finished_at.desc()).limit(_LIVELY).subquery()),
        select(batches.c.id).where(batches.c.id.in_(watched)),
    ).subquery()
    with database.reading() as connection:
        return [_status(row) for row in connection.execute(_batches().where(batches.c.id.in_(select(chosen.c.id))))]


def _batches() -> Select[Any]:
    return select(batches, now().label("now")).where(batches.c.pruned_at.is_(None))


def all_left(database: Database) -> dict[str, Any]:
    """Return the number of jobs left in all batches, the rate in jobs per second, and the time left in seconds.

    The rate covers all batches of the last `MARK_S` seconds: a small batch ends too soon to have its own.
    """
    is_open = (batches.c.finished_at.is_(None), batches.c.paused_at.is_(None), batches.c.pruned_at.is_(None))
    is_busy = and_(*is_open, (batches.c.running > 0) | (batches.c.newer_mark_at >= now(-2 * MARK_S)))
    names = ("mark_at", "mark_final", "newer_mark_at", "finished_at", State.RUNNING, *sorted(FINAL))
    busy: Select[Any] = select(*[batches.c[name] for name in names], now().label("now")).where(
        is_busy | (batches.c.finished_at >= now(-MARK_S))
    )
    with database.reading() as connection:
        left = int(connection.scalar(select(func.sum(batches.c.queued + batches.c.running)).where(*is_open)) or 0)
        rate = _rate_of_all(connection.execute(busy).all())
    return {"jobs_left": left, "jobs_per_second": _rounded(rate), "eta_s": _eta_s(left, rate)}


def _rate_of_all(rows: Sequence[Row[Any]]) -> float | None:
    """Return the jobs per second of these batches together over the last `MARK_S` seconds, or since the first began."""
    spans = []  # (seconds since it was begun, seconds since it ended, jobs)
    for row in rows:
        final = _final_since_mark(row)
        if row.mark_at is not None and final > 0:
            ended_s = (row.now - row.finished_at).total_seconds() if row.finished_at else 0.0
            spans.append((max(ended_s, (row.now - row.mark_at).total_seconds()), ended_s, final))
    window_s = min(MARK_S, max((begun_s for begun_s, _, _ in spans), default=0.0))
    if window_s <= 0:
        return None
    jobs_done = 0.0
    for begun_s, ended_s, final in spans:
        within = 1.0 if begun_s <= window_s else (window_s - ended_s) / (begun_s - ended_s)
        jobs_done += final * max(0.0, within)
    return jobs_done / window_s or None


def expected_rate(
    database: Database, *, operation: str, model_digest: str | None, alive_within_s: float
) -> tuple[float | None, str]:
    """Return the expected jobs per second, and a sentence that names the source of this estimate.

    The source is the newest batch of the same operation and model, or else the living workers' rates.
    """
    same = (batches.c.operation == operation, batches.c.model_digest.is_not_distinct_from(model_digest))
    newest = _batches().where(*same, batches.c.mark_at.is_not(None)).order_by(batches.c.created_at.desc()).limit(10)
    with database.reading() as connection:
        rows = connection.execute(newest).all()
    for row in rows:
        if rate := _rate(row):
            return rate, f"batch {row.id}, {rate:.1f} jobs/s of the same operation and model"
    rates = [row["jobs_per_second"] for row in list_workers(database, alive_within_s=alive_within_s)]
    if total := sum(rate or 0.0 for rate in rates):
        return total, f"{len(rates)} living workers, {total:.1f} jobs/s since they started"
    return None, "no batch of this operation and model was rendered yet, and no living worker has rendered"


def _status(row: Row[Any]) -> dict[str, Any]:
    counts = {state: getattr(row, state.value) for state in State}
    rate = _rate(row)
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
        "jobs_per_second": _rounded(rate),
        "eta_s": _eta_s(counts[State.QUEUED] + counts[State.RUNNING], rate),
        "output": row.output,
        "dataset": row.dataset,
        "model_digest": row.model_digest,
        "tags": row.tags or {},
    }


def _rate(row: Row[Any]) -> float | None:
    """Return a batch's final jobs per second since its older mark, or None if no worker has worked on it lately."""
    final = _final_since_mark(row)
    if row.mark_at is None or final <= 0:
        return None
    is_idle = row.finished_at is None and not row.running
    if is_idle and (row.now - row.newer_mark_at).total_seconds() > 2 * MARK_S:
        return None
    elapsed_s = ((row.finished_at or row.now) - row.mark_at).total_seconds()
    return final / elapsed_s if elapsed_s > 0 else None


def _final_since_mark(row: Row[Any]) -> int:
    return int(sum(getattr(row, state.value) for state in FINAL) - row.mark_final)


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 3)


def _eta_s(left: int, rate: float | None) -> float | None:
    if not left:
        return 0.0
    return None if rate is None else round(left / rate, 1)


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
            ids = page_of_ids(connection, batch_id=batch_id, state=state, flag=flag, after=after, size=size)
            rows = connection.execute(_rows_of(ids, state)).all() if ids else []
        yield from rows
        if len(ids) < size:
            return
        after = ids[-1]
        left = None if left is None else left - len(rows)


def _rows_of(ids: list[int], state: State | None) -> Select[Any]:
    query = as_they_are().where(is_among(jobs.c.id, ids))
    if state is not None:
        query = query.where(state_now == state)  # it may have changed since the page was found
    return query.order_by(jobs.c.id)


# A queued job of a cancelled batch counts as cancelled, though its row is updated only later.
_follows = and_(jobs.c.state == State.QUEUED, batches.c.cancelled_at.is_not(None))
state_now = case((_follows, State.CANCELLED.value), else_=jobs.c.state)
finished_at_now = case((_follows, batches.c.cancelled_at), else_=jobs.c.finished_at)


def as_they_are() -> Select[Any]:
    """Select jobs with their actual state: a queued job of a cancelled batch shows as cancelled."""
    derived = {"state": state_now.label("state"), "finished_at": finished_at_now.label("finished_at")}
    return (
        select(*[derived.get(column.name, column) for column in jobs.c])
        .join_from(jobs, batches, isouter=True)  # an outer join, so that no planner starts with the batches
        .where(batches.c.pruned_at.is_(None))
    )


def find_job(database: Database, spectrogram_id: str, *, batch_id: str | None = None) -> int:
    """Return the ID of the newest job of a spectrogram, in one batch or in any; NotFoundError if there is none."""
    if not is_utf8(spectrogram_id):
        raise NotFoundError(f"there is no job of {spectrogram_id!r}; list them with: wavemill jobs")
    of_it = select(jobs.c.id).where(jobs.c.spectrogram_id == spectrogram_id)
    in_batch = of_it if batch_id is None else of_it.where(jobs.c.batch_id == batch_id)
    with database.reading() as connection:
        job_id = connection.scalar(in_batch.order_by(jobs.c.id.desc()).limit(1))
    if job_id is None:
        where = "" if batch_id is None else f" in batch {batch_id}"
        raise NotFoundError(f"there is no job of {spectrogram_id!r}{where}; list them with: wavemill jobs")
    return int(job_id)


def get_job(database: Database, job_id: int) -> dict[str, Any]:
    """Return one job with its batch's parameters and every attempt."""
    with database.reading() as connection:
        row = connection.execute(as_they_are().where(jobs.c.id == job_id)).mappings().one_or_none()
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


class SoundPlace(NamedTuple):
    """Where a job's sound lies, and its digest."""

    path: str
    sha256: str | None
    batch_id: str
    output: str  # the folder or URL below which the batch writes


def find_sound(database: Database, job_id: int, *, is_original: bool) -> SoundPlace | None:
    """Return where a finished job's sound lies; None if it has none. NotFoundError if there is no such job."""
    path, digest = (
        (jobs.c.original_path, jobs.c.original_sha256) if is_original else (jobs.c.generated_path, jobs.c.sha256)
    )
    query = select(path, digest, jobs.c.batch_id, jobs.c.state, batches.c.output).join_from(jobs, batches)
    with database.reading() as connection:
        row = connection.execute(query.where(jobs.c.id == job_id, batches.c.pruned_at.is_(None))).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no job {job_id}; list them with: wavemill jobs")
    if row[0] is None or row.state != State.DONE:
        return None
    return SoundPlace(path=row[0], sha256=row[1], batch_id=row.batch_id, output=row.output)


def list_workers(database: Database, *, alive_within_s: float) -> list[RowMapping]:
    """Return the living workers: not stopped, with a heartbeat within `alive_within_s` seconds."""
    query = select(workers).where(workers.c.stopped_at.is_(None), workers.c.heartbeat_at > now(-alive_within_s))
    with database.reading() as connection:
        return list(connection.execute(query.order_by(workers.c.id)).mappings())
