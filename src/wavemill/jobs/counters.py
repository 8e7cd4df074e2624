"""A batch's counters, moved in the same transaction as its jobs, and the marks for its rate.

The rate is that of the recent past: the time that a batch waited for its turn, or was paused, says
nothing about when it will finish. So the row keeps two marks: a time, and how many jobs were final
then. When the newer mark is `MARK_S` old, it becomes the older one, and a new one is set. The rate
is counted from the older mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, and_, bindparam, case, or_, update

from wavemill.jobs.database import now
from wavemill.jobs.schema import batches
from wavemill.jobs.states import FINAL, State

MARK_S = 30.0  # the rate is that of the last 30 to 60 s
_IDLE_S = 60.0  # work that begins after a pause this long sets new marks

Changes = Mapping[State, int]


def move_counts(connection: Connection, changes: Mapping[str, Changes]) -> None:
    """Add changes to the counters of batches, given by ID, and set what follows from them.

    `finished_at` is set if no job is left, and cleared otherwise. Work that begins or ends moves
    the marks. A claim sets the time of the batch's turn. A done job resets the count of deaths.
    """
    work: list[dict[str, Any]] = []
    other: list[dict[str, Any]] = []
    for batch_id in sorted(changes):  # sorted, so that two transactions cannot deadlock
        moved = changes[batch_id]
        if any(moved.values()):
            values = {_delta(state): moved.get(state, 0) for state in State}
            (work if moved.get(State.RUNNING) else other).append({"this_batch": batch_id, **values})
    if work:
        connection.execute(_MOVE_WORK, work)
    if other:
        connection.execute(_MOVE, other)


def _delta(state: State) -> str:
    return f"more_{state.value}"


_MORE = {state: bindparam(_delta(state), type_=Integer) for state in State}


def _marks() -> dict[str, ColumnElement[Any]]:
    """Return the marks after work began or finished."""
    c = batches.c
    before = sum((c[state] for state in sorted(FINAL)), start=0 * c.total)
    final = sum((_MORE[state] for state in sorted(FINAL)), start=before)
    begins = or_(c.mark_at.is_(None), and_(c.running == 0, c.newer_mark_at < now(-_IDLE_S)))
    due = c.newer_mark_at < now(-MARK_S)
    return {
        "mark_at": case((begins, now()), (due, c.newer_mark_at), else_=c.mark_at),
        "mark_final": case((begins, before), (due, c.newer_mark_final), else_=c.mark_final),
        "newer_mark_at": case((or_(begins, due), now()), else_=c.newer_mark_at),
        "newer_mark_final": case((begins, before), (due, final), else_=c.newer_mark_final),
    }


def _counts() -> dict[str, ColumnElement[Any]]:
    c = batches.c
    left = c.queued + _MORE[State.QUEUED] + c.running + _MORE[State.RUNNING]
    return {
        **{state.value: c[state] + _MORE[state] for state in State},
        "finished_at": case((left == 0, now()), else_=None),
    }


def _turn() -> dict[str, ColumnElement[Any]]:
    c = batches.c
    return {
        "turn_at": case((_MORE[State.RUNNING] > 0, now()), else_=c.turn_at),
        "deaths": case((_MORE[State.DONE] > 0, 0), else_=c.deaths),
    }


# Built once: SQLAlchemy takes longer to build these than the database to run them.
_THIS = batches.c.id == bindparam("this_batch")
_MOVE = update(batches).where(_THIS).values(_counts())
_MOVE_WORK = update(batches).where(_THIS).values(_counts() | _marks() | _turn())
