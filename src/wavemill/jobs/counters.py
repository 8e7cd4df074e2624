"""A batch's counters, moved in the same transaction as its jobs; and the marks by which its rate is told.

The rate is that of the recent past: neither the time that a batch waited for its turn nor the night in which it was
paused says anything about when it will be finished. So the row keeps two marks (when, and how many jobs were final).
When the newer one is `MARK_S` old it becomes the older one, and a new one is set; the rate is counted from the older.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, or_, update

from wavemill.jobs.database import now
from wavemill.jobs.schema import batches
from wavemill.jobs.states import FINAL, State

MARK_S = 30.0  # the rate is that of the last 30 to 60 s
_IDLE_S = 60.0  # work that begins after so long is counted anew


def move_counts(connection: Connection, batch_id: str, changes: Mapping[State, int], **more: Any) -> None:
    """Add `changes` to the counters, set or clear `finished_at` by what is then left to do, and set the marks.

    `more` are further columns of the batch to set in the same statement.
    """
    values: dict[str, Any] = {state.value: batches.c[state] + change for state, change in changes.items() if change}
    if not values:
        return
    left = values.get(State.QUEUED, batches.c.queued) + values.get(State.RUNNING, batches.c.running)
    values["finished_at"] = case((left == 0, now()), else_=None)
    values |= more
    if changes.get(State.RUNNING, 0):
        values |= _marks(changes)
    connection.execute(update(batches).where(batches.c.id == batch_id).values(values))


def _marks(changes: Mapping[State, int]) -> dict[str, ColumnElement[Any]]:
    """Return the marks after work was begun or finished."""
    c = batches.c
    before = sum((c[state] for state in sorted(FINAL)), start=0 * c.total)
    final = before + sum(changes.get(state, 0) for state in FINAL)
    begins = or_(c.mark_at.is_(None), and_(c.running == 0, c.newer_mark_at < now(-_IDLE_S)))
    due = c.newer_mark_at < now(-MARK_S)
    return {
        "mark_at": case((begins, now()), (due, c.newer_mark_at), else_=c.mark_at),
        "mark_final": case((begins, before), (due, c.newer_mark_final), else_=c.mark_final),
        "newer_mark_at": case((or_(begins, due), now()), else_=c.newer_mark_at),
        "newer_mark_final": case((begins, before), (due, final), else_=c.newer_mark_final),
    }
