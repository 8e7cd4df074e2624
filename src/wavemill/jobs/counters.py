"""A batch's counters, moved in the same transaction as its jobs."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, case, update

from wavemill.jobs.database import now
from wavemill.jobs.schema import batches
from wavemill.jobs.states import State


def move_counts(connection: Connection, batch_id: str, changes: Mapping[State, int]) -> None:
    """Add `changes` to the counters, and set or clear `finished_at` by what is then left to do."""
    values = {state: batches.c[state] + change for state, change in changes.items() if change}
    if not values:
        return
    left = values.get(State.QUEUED, batches.c.queued) + values.get(State.RUNNING, batches.c.running)
    connection.execute(
        update(batches)
        .where(batches.c.id == batch_id)
        .values({**values, "finished_at": case((left == 0, now()), else_=None)})
    )
