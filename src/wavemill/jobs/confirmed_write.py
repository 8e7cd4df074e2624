"""Writes a batch in such a way that the caller learns whether it was written.

A connection that breaks before COMMIT is sent has written nothing. One that breaks after it may
have written all: then the table is asked as soon as it answers.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep

from sqlalchemy import Connection, select

from wavemill.errors import DatabaseUnavailableError
from wavemill.jobs.database import Database
from wavemill.jobs.locks import own_batch
from wavemill.jobs.schema import batches

_ASK_S = 60.0  # for the database to restart and recover
_PAUSE_S = 0.5

Written = tuple[str, int]


def write_confirmed(
    database: Database, write: Callable[[Connection], Written], *, can_repeat: Callable[[], bool], for_s: float
) -> Written:
    """Run `write` in a transaction; return what it returned if, and only if, that was committed.

    Parameters
    ----------
    write : callable
        Returns a batch's ID first, and holds that batch's lock (`wavemill.jobs.locks.own_batch`).
    can_repeat : callable
        Whether `write` may be called again after an outage.
    for_s : float
        Time after which `write` is not repeated.

    Raises
    ------
    DatabaseUnavailableError
        Says that nothing was queued or, if the table has not answered since, how to find out.
    """
    deadline = monotonic() + for_s
    while True:
        written: Written | None = None
        try:
            with database.transaction() as connection:
                written = write(connection)
        except DatabaseUnavailableError as exc:
            if written is not None and _is_there(database, written[0]):
                return written
            if not can_repeat() or monotonic() >= deadline:
                raise DatabaseUnavailableError(f"{exc}; nothing was queued") from exc
        else:
            return written
        sleep(_PAUSE_S)


def _is_there(database: Database, batch_id: str) -> bool:
    """Look up the batch, after the transaction that may have written it has ended."""
    deadline = monotonic() + _ASK_S
    while True:
        try:
            with database.transaction() as connection:
                own_batch(connection, batch_id)
                return connection.scalar(select(batches.c.id).where(batches.c.id == batch_id)) is not None
        except DatabaseUnavailableError as exc:
            if monotonic() >= deadline:
                raise DatabaseUnavailableError(
                    f"{exc}; the commit was not confirmed, so batch {batch_id} is queued completely or not at all: "
                    f"check with `wavemill status {batch_id}` before you submit again"
                ) from exc
        sleep(_PAUSE_S)
