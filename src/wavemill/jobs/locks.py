"""Locks that keep changes to a batch's jobs apart.

PostgreSQL gives each statement of a transaction its own snapshot. So a cancel could miss a job that
a finish returns to the queue at that moment, and leave it queued for ever. Code that moves single
jobs therefore shares a batch's lock, and code that moves all of them owns it.

These are advisory locks, not row locks. Advisory locks are granted in order, so a cancel gets its
turn however many workers finish; and a row lock that is first shared and then written can deadlock.
SQLite runs one writing transaction at a time and needs no such locks.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import sleep

from sqlalchemy import Connection, TextClause, text

_BATCHES = 0x776D  # the first of two keys; no other program is likely to use these
_REAPER = 0x776E
_KEY = 0x776F
_ASK_S = 0.5

_SHARE = text("SELECT pg_advisory_xact_lock_shared(:space, hashtext(:name))")
_SHARE_ALL = text("SELECT pg_advisory_xact_lock_shared(:space, hashtext(one)) FROM unnest(CAST(:ids AS text[])) AS one")
_OWN = text("SELECT pg_advisory_xact_lock(:space, hashtext(:name))")
_TRY = text("SELECT pg_try_advisory_xact_lock(:space, hashtext(:name))")


def share_batch(connection: Connection, batch_id: str) -> None:
    """Wait until nobody owns the batch, and share its lock until the transaction ends."""
    _execute(connection, _SHARE, batch_id)


def share_batches(connection: Connection, batch_ids: Sequence[str]) -> None:
    """Share several batches, in the order of their IDs."""
    if connection.dialect.name == "postgresql":
        connection.execute(_SHARE_ALL, {"space": _BATCHES, "ids": sorted(batch_ids)})


def own_batch(connection: Connection, batch_id: str) -> None:
    """Wait until nobody shares or owns the batch, and own its lock until the transaction ends."""
    _execute(connection, _OWN, batch_id)


def reaping(connection: Connection, batch_id: str, *, wait: bool) -> bool:
    """Become the batch's only reaper until the transaction ends.

    If there is another one, wait for it, or return False without `wait`.
    """
    if connection.dialect.name != "postgresql":
        return True
    if not wait:
        return bool(connection.scalar(_TRY, {"space": _REAPER, "name": batch_id}))
    connection.execute(_OWN, {"space": _REAPER, "name": batch_id})
    return True


def own_key(connection: Connection, key: str) -> None:
    """Wait until nobody else writes a batch under this key; own it until the transaction ends.

    The owner may write for hours, if its caller produces jobs slowly. So this function polls: a
    call that blocks for hours would look like a silent server.
    """
    if connection.dialect.name == "postgresql":
        while not connection.scalar(_TRY, {"space": _KEY, "name": key}):
            sleep(_ASK_S)


def _execute(connection: Connection, statement: TextClause, batch_id: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(statement, {"space": _BATCHES, "name": batch_id})
