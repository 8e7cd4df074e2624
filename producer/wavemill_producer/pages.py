"""Reads jobs from the table a page at a time, and waits out outages of the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Row, RowMapping

from wavemill.jobs.database import Database
from wavemill.jobs.filters import Condition
from wavemill.jobs.queries import list_jobs
from wavemill.jobs.sorting import Order, listed_page
from wavemill_producer.waiting import repeat

PAGE = 1_000
_PATIENCE_UNDER_WAY_S = 600.0  # after the first page: a caller half way through would have to start over


def pages_of_jobs(
    database: Database, patience_s: float | None, *, after: int = 0, limit: int | None = None, **choice: Any
) -> Iterator[Row[Any]]:
    """Yield what `list_jobs` yields; wait `patience_s` for the first page, and longer for the others."""
    left = limit
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)

        def page(after: int = after, size: int = size) -> list[Row[Any]]:
            return list(list_jobs(database, after=after, limit=size, page=size, **choice))

        rows = repeat(page, for_s=patience_s)
        yield from rows
        if len(rows) < size:
            return
        after = rows[-1].id
        left = None if left is None else left - size
        patience_s = None if patience_s is None else max(patience_s, _PATIENCE_UNDER_WAY_S)


def pages_of_matching_jobs(
    database: Database,
    patience_s: float | None,
    *,
    batch_id: str | None,
    conditions: Sequence[Condition],
    order: Order | None = None,
    after: int = 0,
    limit: int | None = None,
) -> Iterator[RowMapping]:
    """Yield the jobs that meet all conditions, in the order of their IDs or another; wait as `pages_of_jobs` does."""
    at: int | None = after
    left = limit
    while at is not None and (left is None or left > 0):
        size = PAGE if left is None else min(PAGE, left)
        find = partial(listed_page, batch_id=batch_id, conditions=conditions, order=order, after=at, limit=size)
        page = repeat(partial(find, database), for_s=patience_s)
        yield from page.rows
        at, left = page.after, None if left is None else left - len(page.rows)
        patience_s = None if patience_s is None else max(patience_s, _PATIENCE_UNDER_WAY_S)
