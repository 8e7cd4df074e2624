"""Counts the jobs that match a filter, in a bounded time."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from sqlalchemy import func, select

from wavemill.jobs.database import Database
from wavemill.jobs.filtered import filtered_page
from wavemill.jobs.filters import Condition
from wavemill.jobs.schema import batches

MOST_COUNTED = 10_000
_COUNTING_S = 1.0


def count_matching(
    database: Database,
    *,
    batch_id: str | None,
    conditions: Sequence[Condition],
    at_most: int = MOST_COUNTED,
    within_s: float = _COUNTING_S,
) -> tuple[int, bool]:
    """Count the jobs that match, up to `at_most` and for `within_s`; return the count and whether it is exact."""
    if all(one.field == "state" and one.operator == "=" for one in conditions) and len(conditions) <= 1:
        return _counted_by_state(database, batch_id, conditions), True
    deadline = monotonic() + within_s
    count, after = 0, 0
    while True:
        page = filtered_page(database, batch_id=batch_id, conditions=conditions, after=after, limit=at_most + 1 - count)
        count += len(page.rows)
        if page.after is None and count <= at_most:
            return count, True
        if page.after is None or count > at_most or monotonic() >= deadline:
            return min(count, at_most), False
        after = page.after


def _counted_by_state(database: Database, batch_id: str | None, conditions: Sequence[Condition]) -> int:
    column = batches.c[conditions[0].value] if conditions else batches.c.total
    query = select(func.coalesce(func.sum(column), 0)).where(batches.c.pruned_at.is_(None))
    if batch_id is not None:
        query = query.where(batches.c.id == batch_id)
    with database.reading() as connection:
        return int(connection.scalar(query) or 0)
