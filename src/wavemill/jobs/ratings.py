"""Ratings that listeners give to jobs."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import update

from wavemill.errors import UsageError
from wavemill.jobs.database import Database, now
from wavemill.jobs.schema import jobs

RATINGS = (1, 2, 3, 4, 5)


def rate(database: Database, job_ids: Sequence[int], rating: int | None) -> int:
    """Give jobs a rating from 1 to 5, or None to take it away; return how many jobs there were."""
    if rating is not None and rating not in RATINGS:
        raise UsageError(f"expected a rating from 1 to 5, received {rating}")
    with database.transaction() as connection:
        rated_at = None if rating is None else now()
        of_them = update(jobs).where(jobs.c.id.in_(job_ids))
        return connection.execute(of_them.values(rating=rating, rated_at=rated_at)).rowcount
