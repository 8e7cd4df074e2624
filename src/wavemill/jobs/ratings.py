"""Ratings that listeners give to jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from wavemill.errors import UsageError
from wavemill.jobs.database import Database, now
from wavemill.jobs.schema import jobs

RATINGS = (1, 2, 3, 4, 5)


def rate(database: Database, job_ids: Sequence[int], rating: int | None) -> int:
    """Give jobs a rating from 1 to 5, or None to take it away; return how many jobs there were."""
    require_rating(rating)
    with database.transaction() as connection:
        return rate_in(connection, job_ids, rating)


def rate_in(connection: Connection, job_ids: Sequence[int], rating: int | None) -> int:
    """Rate within the caller's transaction; return how many jobs there were."""
    # Locked in the order in which workers lock jobs, so that the two cannot deadlock.
    in_order = select(jobs.c.id).where(jobs.c.id.in_(job_ids)).order_by(jobs.c.batch_id, jobs.c.seq).with_for_update()
    found = connection.scalars(in_order).all()
    rated_at = None if rating is None else now()
    connection.execute(update(jobs).where(jobs.c.id.in_(found)).values(rating=rating, rated_at=rated_at))
    return len(found)


def require_rating(rating: Any) -> None:
    """Raise UsageError for what is no rating; None takes a rating away."""
    if rating is not None and (type(rating) is not int or rating not in RATINGS):
        raise UsageError(f"expected a rating from 1 to 5, received {rating!r:.80}")
