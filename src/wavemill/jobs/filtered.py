"""Jobs that match a filter, a page at a time, in the order of their IDs.

State, flag, rating and custom ID have indexes. Other conditions are checked on the jobs that those leave, on a
bounded number of them in each call, so that no filter takes long on a batch of a million. Labels are looked
up only for jobs that meet all else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping

from wavemill.jobs.database import Database, is_among
from wavemill.jobs.filter_clauses import clause
from wavemill.jobs.filters import Condition
from wavemill.jobs.label_filters import COLUMNS, divided, with_labels
from wavemill.jobs.pages import page_of_custom_id, page_of_ids, page_of_ratings
from wavemill.jobs.queries import as_they_are
from wavemill.jobs.ratings import RATINGS
from wavemill.jobs.schema import jobs
from wavemill.jobs.states import State

MOST_LOOKED_AT = 4_000  # jobs that one call looks at, in under 0.1 s on both databases
MOST_LABELLED = 2_000  # the same if labels must be looked up
_WINDOW = 1_000  # of them in one query


@dataclass(frozen=True, kw_only=True)
class JobPage:
    """Matching jobs, and where to go on.

    Attributes
    ----------
    after : int or None
        Give it as `after` to go on; None at the end. There may be more even if `rows` is short.
    seen : int
        How many jobs were looked at.
    """

    rows: Sequence[RowMapping]
    after: int | None
    seen: int


def filtered_page(
    database: Database,
    *,
    batch_id: str | None = None,
    conditions: Sequence[Condition] = (),
    after: int = 0,
    limit: int = 100,
) -> JobPage:
    """Return up to `limit` jobs after the ID `after` that meet all conditions, of one batch or of all."""
    by_sql, by_label = divided(conditions)
    found: list[RowMapping] = []
    seen = 0
    while seen < (MOST_LABELLED if by_label else MOST_LOOKED_AT):
        with database.reading() as connection:
            ids = candidates(connection, batch_id, conditions, after=after, size=_WINDOW)
            rows = [] if by_label else _rows(database, connection, ids, by_sql)
        if by_label:
            meeting = meeting_all(database, ids, conditions, is_one_batch=batch_id is not None)
            if meeting:
                with database.reading() as connection:
                    rows = _rows(database, connection, meeting[: limit - len(found)], by_sql)
        found += rows[: limit - len(found)]
        seen += len(ids)
        if len(found) == limit:
            return JobPage(rows=found, after=int(found[-1]["id"]), seen=seen)
        if len(ids) < _WINDOW:
            return JobPage(rows=found, after=None, seen=seen)
        after = ids[-1]
    return JobPage(rows=found, after=after, seen=seen)


def meeting_all(
    database: Database, ids: Sequence[int], conditions: Sequence[Condition], *, is_one_batch: bool
) -> list[int]:
    """Return those of the jobs that meet all conditions, on labels too; `ids` are in order, and so is the answer."""
    by_sql, by_label = divided(conditions)
    with database.reading() as connection:
        rows = _rows(database, connection, ids, by_sql, COLUMNS)
    return [row["id"] for row in with_labels(database, rows, by_label, is_one_batch=is_one_batch)]


def candidates(
    connection: Connection, batch_id: str | None, conditions: Sequence[Condition], *, after: int, size: int
) -> list[int]:
    """Return the `size` lowest IDs over `after` of jobs that may match, along an index."""
    named = next((one for one in conditions if one.field == "custom_id" and one.operator == "="), None)
    if named is not None and named.value is not None and not named.is_pattern:
        return page_of_custom_id(connection, named.value, batch_id=batch_id, after=after, size=size)
    ratings = _ratings(conditions)
    if ratings is not None:
        return page_of_ratings(connection, ratings, batch_id=batch_id, after=after, size=size)
    state, flag = (_value_of(conditions, field) for field in ("state", "flag"))
    return page_of_ids(
        connection,
        batch_id=batch_id,
        state=None if state is None else State(state),
        flag=flag,
        after=after,
        size=size,
    )


def _value_of(conditions: Sequence[Condition], field: str) -> Any:
    values = (one.value for one in conditions if one.field == field and one.operator == "=")
    return next((value for value in values if value is not None), None)


def _ratings(conditions: Sequence[Condition]) -> list[int] | None:
    """Return the ratings that a filter leaves; None if it does not speak of ratings, or also wants jobs without."""
    asked = [one for one in conditions if one.field == "rating" and one.value is not None and one.operator != "!="]
    if not asked:
        return None
    return [rating for rating in RATINGS if all(one.holds_for(rating) for one in asked)]


def _rows(
    database: Database,
    connection: Connection,
    ids: Sequence[int],
    conditions: Sequence[Condition],
    columns: Sequence[str] = (),
) -> list[RowMapping]:
    """Return the jobs among `ids` that meet all conditions: all columns, or only those named."""
    if not ids:
        return []
    clauses = [clause(one, is_postgresql=database.is_postgresql) for one in conditions]
    query = as_they_are().where(is_among(jobs.c.id, ids), *clauses).order_by(jobs.c.id)
    if columns:
        query = query.with_only_columns(*[jobs.c[name] for name in columns])
    return list(connection.execute(query).mappings())
