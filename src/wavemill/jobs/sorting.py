"""Matching jobs in an order of the caller's choice.

Sorting needs a value of every job, so it is offered only where an index leaves at most `MOST_SORTED`
candidates: in a small batch, or with a filter on state, flag or rating.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from wavemill.errors import UsageError
from wavemill.jobs.database import Database, is_among
from wavemill.jobs.filter_clauses import clause, value_of
from wavemill.jobs.filtered import MOST_LABELLED, MOST_LOOKED_AT, JobPage, candidates, filtered_page, meeting_all
from wavemill.jobs.filters import FIELDS, Condition, Kind, kind_of
from wavemill.jobs.label_filters import divided
from wavemill.jobs.queries import as_they_are
from wavemill.jobs.schema import jobs

MOST_SORTED = MOST_LOOKED_AT


@dataclass(frozen=True, kw_only=True)
class Order:
    """By which field jobs are sorted, and whether the largest comes first. Jobs without a value come last."""

    field: str
    is_descending: bool


def order_in(text: str) -> Order:
    """Parse a field, or one after a minus for the largest first; UsageError names the fields."""
    field = text.removeprefix("-")
    if kind_of(field) is Kind.VALUE:
        raise UsageError(f"jobs cannot be sorted by {field[:80]}, only filtered; sort by one of: {', '.join(FIELDS)}")
    return Order(field=field, is_descending=text.startswith("-"))


def can_sort(database: Database, *, batch_id: str | None, conditions: Sequence[Condition]) -> bool:
    """Whether the jobs that match are few enough to be sorted."""
    with database.reading() as connection:
        return len(_candidates(connection, batch_id, conditions)) <= _most(conditions)


def _most(conditions: Sequence[Condition]) -> int:
    return MOST_LABELLED if divided(conditions)[1] else MOST_SORTED


def _candidates(connection: Connection, batch_id: str | None, conditions: Sequence[Condition]) -> list[int]:
    return candidates(connection, batch_id, conditions, after=0, size=_most(conditions) + 1)


def listed_page(
    database: Database,
    *,
    batch_id: str | None = None,
    conditions: Sequence[Condition] = (),
    order: Order | None = None,
    after: int = 0,
    limit: int = 100,
) -> JobPage:
    """Return matching jobs as `filtered_page` does, or in another order.

    Parameters
    ----------
    after : int
        The `after` of the page before: a job's ID, or, in another order, how many jobs came before.

    Raises
    ------
    UsageError
        Too many jobs would have to be sorted.
    """
    if order is None:
        return filtered_page(database, batch_id=batch_id, conditions=conditions, after=after, limit=limit)
    value = value_of(order.field, is_postgresql=database.is_postgresql)
    by_sql, by_label = divided(conditions)
    clauses = [clause(one, is_postgresql=database.is_postgresql) for one in by_sql]
    with database.reading() as connection:
        ids = _candidates(connection, batch_id, conditions)
        if len(ids) > _most(conditions):
            raise UsageError(
                f"more than {_most(conditions):,} jobs would have to be sorted by {order.field}: choose fewer with a "
                "filter on state, flag or rating, or leave out the order"
            )
    chosen = meeting_all(database, ids, conditions, is_one_batch=batch_id is not None) if by_label else ids
    with database.reading() as connection:
        by = value.desc() if order.is_descending else value.asc()
        # An offset among a few thousand rows; a value and an ID as a cursor could not stand in a URL for all kinds.
        ordered = as_they_are().where(is_among(jobs.c.id, chosen), *clauses).order_by(by.nulls_last(), jobs.c.id)
        rows = list(connection.execute(ordered.offset(after).limit(limit + 1)).mappings()) if chosen else []
    return JobPage(rows=rows[:limit], after=after + limit if len(rows) > limit else None, seen=len(ids))
