"""Pages of 100 jobs out of a million, by state and flag, where hardly any job matches and where nearly all do."""

from __future__ import annotations

import statistics
import time
from itertools import product

from sqlalchemy import case, update

from wavemill.jobs.database import Database
from wavemill.jobs.flags import Flag
from wavemill.jobs.patience import answers_within
from wavemill.jobs.queries import list_jobs
from wavemill.jobs.schema import jobs
from wavemill.jobs.states import State

FEW = 10
GOAL = "< 20"
LINES = {
    "failed, few": "page of failed jobs of all batches, 10 there",
    "far, few": "page of far jobs of all batches, 10 there",
    "worst, few": "the slowest page of any state, flag, batch and start, hardly any there",
    "failed, all": "page of failed jobs of all batches, all but 10",
    "far, all": "page of far jobs of all batches, all but 10",
    "worst, all": "the slowest page of any state, flag, batch and start, nearly all there",
}


def measure(database: Database, batch_id: str, *, first: int, n_jobs: int) -> dict[str, float]:
    """Return the seconds of each page; the jobs of the batch are given other states and flags for it."""
    taken = {}
    every = n_jobs // FEW
    for name, common in (("few", State.DONE), ("all", State.FAILED)):
        others = [state for state in State if state is not common]
        is_common_far = name == "all"
        with answers_within(None), database.transaction() as connection:  # it rewrites every row
            nth = (jobs.c.id - first) % every
            state = case(*[(nth == k, other.value) for k, other in enumerate(others)], else_=common.value)
            rare, frequent = (None, Flag.FAR.value) if is_common_far else (Flag.FAR.value, None)
            connection.execute(update(jobs).values(state=state, flags=case((nth == len(others), rare), else_=frequent)))
        taken[f"failed, {name}"] = _page_s(database, state=State.FAILED)
        taken[f"far, {name}"] = _page_s(database, flag=Flag.FAR)
        taken[f"worst, {name}"] = max(
            _page_s(database, batch_id=batch, state=state, flag=flag, after=after)
            for batch, state, flag in product((None, batch_id), (None, *State), (None, Flag.FAR))
            for after in (0, first + n_jobs // 2)
        )
    return taken


def _page_s(database: Database, *, times: int = 5, **asked: object) -> float:
    """Return the median; PostgreSQL takes the leavings of the update out of an index when it is read first."""
    list(list_jobs(database, limit=100, **asked))  # type: ignore[arg-type]
    return statistics.median(_seconds(database, asked) for _ in range(times))


def _seconds(database: Database, asked: dict[str, object]) -> float:
    started = time.perf_counter()
    list(list_jobs(database, limit=100, **asked))  # type: ignore[arg-type]
    return time.perf_counter() - started
