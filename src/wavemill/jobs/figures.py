"""Figures of the whole table for monitoring. They come from counters of batches, never from counting jobs."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from wavemill.jobs.database import Database, now
from wavemill.jobs.queries import list_workers
from wavemill.jobs.schema import batches
from wavemill.jobs.states import State
from wavemill.jobs.workers import supervisor_count, troubles


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The state of the table at one moment."""

    jobs: dict[str, int]  # state -> jobs
    open_batches: int
    oldest_queued_s: float  # age of the oldest batch that is not paused and has queued jobs; 0 without one
    workers: list[tuple[str, str, int, float]]  # ID, device, jobs done, jobs per second
    supervisors: int
    troubles: int  # living supervisors and workers that report a problem


def figures(database: Database, *, alive_within_s: float) -> Figures:
    """Read the figures; `alive_within_s` is the lease of workers."""
    c = batches.c
    waits = (c.finished_at.is_(None), c.paused_at.is_(None), c.cancelled_at.is_(None), c.pruned_at.is_(None))
    with database.reading() as connection:
        sums = [func.coalesce(func.sum(c[state]), 0).label(state.value) for state in State]
        row = connection.execute(select(*sums).where(c.pruned_at.is_(None))).one()
        n_open = connection.scalar(select(func.count()).where(c.finished_at.is_(None), c.pruned_at.is_(None))) or 0
        oldest = select(now().label("now"), c.created_at).where(*waits, c.queued > 0).order_by(c.created_at).limit(1)
        first = connection.execute(oldest).one_or_none()
    return Figures(
        jobs={state.value: int(getattr(row, state.value)) for state in State},
        open_batches=n_open,
        oldest_queued_s=0.0 if first is None else max(0.0, (first.now - first.created_at).total_seconds()),
        workers=[
            (one["id"], one["device"], one["jobs_done"], one["jobs_per_second"] or 0.0)
            for one in list_workers(database, alive_within_s=alive_within_s)
        ],
        supervisors=supervisor_count(database, alive_within_s=alive_within_s),
        troubles=len(troubles(database, alive_within_s=alive_within_s)),
    )
