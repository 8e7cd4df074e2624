"""Find the job IDs on one page of a listing, reading little more than that page for any filter.

Each filter has an index: by batch and state, by flags, and by each state except `queued`. An index
of queued jobs would slow down every submission, so queued jobs of all batches are merged from the
open batches instead. This module only reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, product
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, literal, select, text, tuple_, union_all

from wavemill.jobs.flags import Flag
from wavemill.jobs.schema import batches, jobs
from wavemill.jobs.states import State

_LAST_ID = 2**63 - 1
_NEAR = 1_000  # rows; reading these is faster than querying every open batch
_MOST_ARMS = 16  # in one UNION: each arm costs planning time, each query a round trip

# With missing or old statistics, as after a large submission, PostgreSQL mistakes a million rows for
# a few and sorts them. Make it read in index order until the transaction ends.
_READ_IN_ORDER = text(
    "SELECT set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true), "
    "set_config('jit', 'off', true)"
)
_cancelled_batches = select(batches.c.id).where(batches.c.cancelled_at.is_not(None))
_hidden_batches = select(batches.c.id).where(batches.c.pruned_at.is_not(None))
_next = (
    select(jobs.c.id, jobs.c.state, jobs.c.batch_id)
    .where(jobs.c.id > bindparam("after"))
    .order_by(jobs.c.id)
    .limit(bindparam("n"))
    .subquery()
)


def page_of_ids(
    connection: Connection, *, batch_id: str | None, state: State | None, flag: str | None, after: int, size: int
) -> list[int]:
    """Return the `size` lowest matching job IDs above `after`, in order; fewer on the last page."""
    if connection.dialect.name == "postgresql":
        connection.execute(_READ_IN_ORDER)
    if batch_id is not None:
        return _of_batch(connection, batch_id, state, flag, after, size)
    if flag is not None:
        return _flagged(connection, state, flag, after, size)
    if state is None:
        return _lowest(connection, [_by_id(after)], size)
    if state is State.QUEUED:
        return _queued(connection, after, size)
    if state is State.CANCELLED:
        return _cancelled(connection, after, size)
    return _lowest(connection, [_by_state(state, after)], size)


def page_of_custom_id(
    connection: Connection, custom_id: str, *, batch_id: str | None, after: int, size: int
) -> list[int]:
    """Return the `size` lowest IDs above `after` of jobs with this custom ID; fewer on the last page."""
    if connection.dialect.name == "postgresql":
        connection.execute(_READ_IN_ORDER)
    seen = [jobs.c.custom_id.is_not(None)] + ([] if batch_id is None else [jobs.c.batch_id == batch_id])
    return _lowest(connection, [_by_index(connection, [jobs.c.custom_id], [custom_id], after, *seen)], size)


def page_of_ratings(
    connection: Connection, ratings: Sequence[int], *, batch_id: str | None, after: int, size: int
) -> list[int]:
    """Return the `size` lowest IDs above `after` of jobs with one of these ratings; fewer on the last page."""
    if connection.dialect.name == "postgresql":
        connection.execute(_READ_IN_ORDER)
    columns = [jobs.c.rating] if batch_id is None else [jobs.c.batch_id, jobs.c.rating]
    # Each rating by itself: the index has its jobs in the order of their IDs, so that few of a million are read.
    arms = [
        _by_index(connection, columns, [batch_id, rating][-len(columns) :], after, jobs.c.rating.is_not(None))
        for rating in ratings
    ]
    return _lowest(connection, arms, size)


def _of_batch(
    connection: Connection, batch_id: str, state: State | None, flag: str | None, after: int, size: int
) -> list[int]:
    seen = (batches.c.id == batch_id, batches.c.pruned_at.is_(None))
    batch = connection.execute(select(batches.c.cancelled_at).where(*seen)).one_or_none()
    if batch is None:
        return []
    if state is State.QUEUED and batch.cancelled_at is not None:
        return []
    stored = [state] if state is not None and batch.cancelled_at is None else _stored(state)
    if flag is None:
        columns = [jobs.c.batch_id, jobs.c.state]
        return _lowest(connection, [_by_index(connection, columns, [batch_id, one], after) for one in stored], size)
    columns = [jobs.c.batch_id, jobs.c.flags]
    wanted: Iterable[Sequence[str]] = product([batch_id], texts_with_flag(flag))
    if state is not None:
        columns.append(jobs.c.state)
        wanted = product([batch_id], texts_with_flag(flag), stored)
    arms = [_by_index(connection, columns, values, after, jobs.c.flags.is_not(None)) for values in wanted]
    return _lowest(connection, arms, size)


def _flagged(connection: Connection, state: State | None, flag: str, after: int, size: int) -> list[int]:
    seen = [jobs.c.flags.is_not(None), jobs.c.batch_id.not_in(_hidden_batches)]
    if state is None:
        arms = [_by_index(connection, [jobs.c.flags], [words], after, *seen) for words in texts_with_flag(flag)]
        return _lowest(connection, arms, size)
    arms = []
    for words, one in product(texts_with_flag(flag), _stored(state)):
        arm = _by_index(connection, [jobs.c.flags, jobs.c.state], [words, one], after, *seen)
        if one is State.QUEUED:
            is_cancelled = jobs.c.batch_id.in_(_cancelled_batches)
            arm = arm.where(is_cancelled if state is State.CANCELLED else ~is_cancelled)
        arms.append(arm)
    return _lowest(connection, arms, size)


def _stored(state: State | None) -> list[State]:
    """Return the values of `jobs.state` that can mean `state`: in a cancelled batch, queued means cancelled."""
    if state is None:
        return list(State)
    return [State.QUEUED, State.CANCELLED] if state is State.CANCELLED else [state]


def texts_with_flag(flag: str) -> list[str]:
    """Return every text of `jobs.flags` that names `flag`: a few words, always in the same order."""
    texts = (words for n in range(len(Flag)) for words in combinations([one.value for one in Flag], n + 1))
    return [" ".join(words) for words in texts if flag in words]


def _queued(connection: Connection, after: int, size: int) -> list[int]:
    ids = _near(connection, (_next.c.state == State.QUEUED) & _next.c.batch_id.not_in(_cancelled_batches), after, size)
    if len(ids) == size:
        return ids
    is_open = batches.c.finished_at.is_(None) & batches.c.cancelled_at.is_(None)
    return _merged(connection, is_open, after, size)


def _cancelled(connection: Connection, after: int, size: int) -> list[int]:
    follows = (_next.c.state == State.QUEUED) & _next.c.batch_id.in_(_cancelled_batches)
    ids = _near(connection, (_next.c.state == State.CANCELLED) | follows, after, size)
    if len(ids) == size:
        return ids
    settled = _lowest(connection, [_by_state(State.CANCELLED, after)], size)
    return sorted(settled + _merged(connection, batches.c.cancelled_at.is_not(None), after, size))[:size]


def _near(connection: Connection, wanted: ColumnElement[bool], after: int, size: int) -> list[int]:
    """Search the next rows only: usually enough, and it avoids merging thousands of batches."""
    found = select(_next.c.id).where(wanted, _next.c.batch_id.not_in(_hidden_batches)).order_by(_next.c.id)
    return list(connection.scalars(found.limit(size), {"after": after, "n": _NEAR + 2 * size}))


def _merged(connection: Connection, among: ColumnElement[bool], after: int, size: int) -> list[int]:
    """Return the lowest IDs of queued rows in all batches that satisfy `among`.

    Look up the first queued ID of each batch, then read the batches in that order. Stop when the page
    is full and every remaining batch starts after the page's last ID.
    """
    columns = (jobs.c.batch_id, jobs.c.state)
    first = (
        _by_index(connection, columns, (batches.c.id, State.QUEUED), after).limit(1).scalar_subquery().label("first")
    )
    starts = select(batches.c.id, first).where(among, batches.c.pruned_at.is_(None))
    rows = connection.execute(starts.order_by(first.nulls_last()).limit(size))
    waiting = [row for row in rows if row.first is not None]
    ids: list[int] = []
    n = 1
    while waiting and (len(ids) < size or waiting[0].first < ids[-1]):
        end = ids[-1] if len(ids) == size else _LAST_ID
        batch_ids = [row.id for row in waiting[:n]]
        arms = [_by_index(connection, columns, (one, State.QUEUED), after, jobs.c.id <= end) for one in batch_ids]
        ids = sorted(ids + _lowest(connection, arms, size))[:size]
        waiting, n = waiting[n:], min(2 * n, _MOST_ARMS)
    return ids


def _by_id(after: int) -> Select[Any]:
    return select(jobs.c.id).where(jobs.c.id > after, jobs.c.batch_id.not_in(_hidden_batches)).order_by(jobs.c.id)


def _by_state(state: State, after: int) -> Select[Any]:
    # A literal: with a bound parameter the planner cannot tell that the partial index applies.
    return _by_id(after).where(jobs.c.state == literal(state.value, literal_execute=True))


def _by_index(
    connection: Connection,
    columns: Sequence[ColumnElement[Any]],
    values: Sequence[Any],
    after: int,
    *wanted: ColumnElement[bool],
) -> Select[Any]:
    """Select the IDs over `after` where `columns` have these values, in the order of the index on them and the ID.

    PostgreSQL walks the primary key where it expects most rows to match, and reads a million rows if
    none does. A range over (last column, ID) rules that plan out. SQLite needs no such help, and could
    not use the ID at the end of an index for such a range.
    """
    *equal, last = [column == value for column, value in zip(columns, values, strict=True)]
    query = select(jobs.c.id).where(*wanted, *equal).order_by(columns[-1], jobs.c.id)
    if connection.dialect.name != "postgresql":
        return query.where(last, jobs.c.id > after)
    row = tuple_(columns[-1], jobs.c.id)
    return query.where(row > tuple_(values[-1], after), row <= tuple_(values[-1], _LAST_ID))


def _lowest(connection: Connection, arms: Sequence[Select[Any]], size: int) -> list[int]:
    pages = [arm.limit(size).subquery() for arm in arms]
    if not pages:
        return []
    every = union_all(*[select(page.c.id) for page in pages]).subquery()
    return list(connection.scalars(select(every.c.id).order_by(every.c.id).limit(size)))
