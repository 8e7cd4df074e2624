"""Who may change a batch's jobs at the same time.

PostgreSQL gives each statement of a transaction its own view of the table. So a cancel could miss a job that a finish
returns to the queue just then, and leave it queued for ever. Whoever moves single jobs therefore shares a batch's lock,
and whoever moves all of them owns it. Not a row lock: those waiting for an advisory one stand in line, so a cancel
gets its turn however many workers finish; and a row cannot be shared first and written later without deadlocks.
SQLite runs one writing transaction at a time and needs none of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import sleep

from sqlalchemy import Connection, TextClause, text

_BATCHES = 0x776D  # the first of two keys, so that these are no other program's locks
_REAPER = 0x776E
_KEY = 0x776F
_ASK_S = 0.5

_SHARE = text("SELECT pg_advisory_xact_lock_shared(:space, hashtext(:name))")
_SHARE_ALL = text("SELECT pg_advisory_xact_lock_shared(:space, hashtext(one)) FROM unnest(CAST(:ids AS text[])) AS one")
_OWN = text("SELECT pg_advisory_xact_lock(:space, hashtext(:name))")
_TRY = text("SELECT pg_try_advisory_xact_lock(:space, hashtext(:name))")


def share_batch(connection: Connection, batch_id: str) -> None:
    """Wait until nobody owns the batch; hold it, with others who move single jobs, until the transaction ends."""
    _execute(connection, _SHARE, batch_id)


def share_batches(connection: Connection, batch_ids: Sequence[str]) -> None:
    """Share several batches, in the order of their IDs."""
    if connection.dialect.name == "postgresql":
        connection.execute(_SHARE_ALL, {"space": _BATCHES, "ids": sorted(batch_ids)})


def own_batch(connection: Connection, batch_id: str) -> None:
    """Wait until nobody else moves a job of the batch, and keep them out until the transaction ends."""
    _execute(connection, _OWN, batch_id)


def reaping(connection: Connection, batch_id: str, *, wait: bool) -> bool:
    """Become the only reaper of the batch until the transaction ends; False where another is, unless told to `wait`."""
    if connection.dialect.name != "postgresql":
        return True
    if not wait:
        return bool(connection.scalar(_TRY, {"space": _REAPER, "name": batch_id}))
    connection.execute(_OWN, {"space": _REAPER, "name": batch_id})
    return True


def own_key(connection: Connection, key: str) -> None:
    """Wait until nobody else writes a batch under this key, and keep others from it until the transaction ends.

    Whoever has it may write for hours, at the pace of those who hand in its jobs. So the server is asked again and
    again: one that answered only when the key is free could not be told from one that has fallen silent.
    """
    if connection.dialect.name == "postgresql":
        while not connection.scalar(_TRY, {"space": _KEY, "name": key}):
            sleep(_ASK_S)


def _execute(connection: Connection, statement: TextClause, batch_id: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(statement, {"space": _BATCHES, "name": batch_id})
