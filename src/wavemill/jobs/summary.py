"""Figures of a batch for its page, from a bounded number of its jobs."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, select

from wavemill.jobs.database import Database, is_among
from wavemill.jobs.schema import batches, jobs
from wavemill.jobs.states import State

_MOST_FAILURES = 5_000
_SAMPLE = 2_000  # jobs, spread evenly over the batch
_BINS = 30


@dataclass(frozen=True, kw_only=True)
class FailureGroup:
    """Failed jobs with one error code; `error` is the first one's sentence."""

    error_code: str
    error: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How many jobs of the sample lie between each pair of edges."""

    counts: Sequence[int]
    edges: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class BatchFigures:
    """What the plots of a batch show.

    Attributes
    ----------
    histograms : dict
        From the keys of the columns `quality` and `timings`, as far as jobs have them.
    jobs_per_second : sequence of float
        In equally long stretches between the first and the last job of the sample that is done.
    """

    histograms: dict[str, Histogram]
    jobs_per_second: Sequence[float]
    first: dt.datetime | None
    last: dt.datetime | None


def failure_groups(database: Database, batch_id: str) -> list[FailureGroup]:
    """Return the failures of a batch by error code, most frequent first; of its first 5,000 failed jobs."""
    failed = (jobs.c.batch_id == batch_id, jobs.c.state == State.FAILED)
    query = select(jobs.c.error_code, jobs.c.error).where(*failed).order_by(jobs.c.id).limit(_MOST_FAILURES)
    with database.reading() as connection:
        rows = connection.execute(query).all()
    examples: dict[str, str] = {}
    for row in rows:
        examples.setdefault(row.error_code or "", row.error or "")
    counts = Counter(row.error_code or "" for row in rows)
    return [FailureGroup(error_code=code, error=examples[code], count=n) for code, n in counts.most_common()]


def batch_figures(database: Database, batch_id: str, *, fields: Sequence[str]) -> BatchFigures:
    """Return histograms of `fields` and the throughput over time, from up to 2,000 done jobs."""
    with database.reading() as connection:
        total = connection.scalar(select(batches.c.total).where(batches.c.id == batch_id)) or 0
        step = max(1, total // _SAMPLE)
        spread = is_among(jobs.c.seq, range(0, total, step))
        query = select(jobs.c.state, jobs.c.quality, jobs.c.timings, jobs.c.finished_at)
        # Without a condition on the state: with one, SQLite reads all done jobs along another index.
        chosen = connection.execute(query.where(jobs.c.batch_id == batch_id, spread)).mappings()
        rows = [row for row in chosen if row["state"] == State.DONE]
    histograms = {field: _histogram(values) for field in fields if (values := _values(rows, field))}
    times = sorted(row["finished_at"] for row in rows if row["finished_at"] is not None)
    return BatchFigures(
        histograms=histograms,
        jobs_per_second=_throughput(times, step),
        first=times[0] if times else None,
        last=times[-1] if times else None,
    )


def _values(rows: Sequence[RowMapping], field: str) -> list[float]:
    found: list[Any] = [((row["quality"] or {}) | (row["timings"] or {})).get(field) for row in rows]
    return [float(value) for value in found if isinstance(value, int | float) and not isinstance(value, bool)]


def _histogram(values: list[float]) -> Histogram:
    low, high = min(values), max(values)
    width = (high - low) / _BINS or 1.0
    counts = [0] * _BINS
    for value in values:
        counts[min(_BINS - 1, int((value - low) / width))] += 1
    return Histogram(counts=counts, edges=[low + k * width for k in range(_BINS + 1)])


def _throughput(times: Sequence[dt.datetime], step: int) -> list[float]:
    if len(times) < 2 or times[0] == times[-1]:
        return []
    width_s = (times[-1] - times[0]).total_seconds() / _BINS
    counts = Counter(min(_BINS - 1, int((time - times[0]).total_seconds() / width_s)) for time in times)
    return [counts[k] * step / width_s for k in range(_BINS)]
