"""Writing a batch: one row for the batch, one for each job, one for each message, in one transaction."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, insert, select, update

from wavemill.errors import UsageError
from wavemill.jobs.database import Database, now
from wavemill.jobs.outbox import add_chunks
from wavemill.jobs.schema import batches

_PAGE = 10_000
_SPOOL_BYTES = 8_000_000  # more goes to disk
_JOB_COLUMNS = ("batch_id", "seq", "spectrogram_id", "item", "max_attempts", "created_at")

# A job's ID, unique in its batch and the name of its outputs, and what its operation needs besides, if anything.
NewJob = tuple[str, Mapping[str, Any] | None]


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """What a batch asks for; the jobs carry their ID, and seldom an item of their own."""

    operation: str
    dataset: str | None
    model: str | None
    model_digest: str | None
    output: str
    params: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    priority: int
    chunk_size: int
    max_attempts: int


def new_batch_id(at: datetime) -> str:
    """Return an ID that sorts by time, is safe as a folder's name, and that no two producers choose alike."""
    return f"{at:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"


def write_batch(
    database: Database,
    request: BatchRequest,
    new_jobs: Iterable[NewJob],
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[str, int]:
    """Write a batch and its jobs; nothing is visible to anyone before all of it is.

    On SQLite the jobs are read to the end before the transaction begins, through a temporary file: it would keep all
    workers waiting, and their leases end, for as long as whoever hands in the jobs takes.

    Parameters
    ----------
    new_jobs : iterable of (ID, item or None)
        Streamed; each ID at most once, or outputs would overwrite each other.
    progress : callable
        Called with the number of jobs written so far.

    Returns
    -------
    (batch_id, total)

    Raises
    ------
    UsageError
        No jobs at all.
    """
    with _read_ahead(database, _pages(new_jobs)) as pages, database.transaction() as connection:
        created_at = connection.execute(select(now())).scalar_one()
        batch_id = new_batch_id(created_at)
        connection.execute(
            insert(batches).values(
                id=batch_id,
                created_at=created_at,
                total=0,
                **{name: getattr(request, name) for name in request.__dataclass_fields__ if name != "max_attempts"},
            )
        )
        total = 0
        write = _copy if database.is_postgresql else _insert
        for page in pages:
            write(
                connection,
                [
                    (batch_id, total + i, ID, item and json.dumps(item), request.max_attempts, created_at)
                    for i, (ID, item) in enumerate(page)
                ],
            )
            total += len(page)
            progress(total)
        if not total:
            raise UsageError("there is nothing to do: no IDs were given")
        size = request.chunk_size
        add_chunks(connection, batch_id, ((i, min(i + size, total) - 1) for i in range(0, total, size)))
        connection.execute(update(batches).where(batches.c.id == batch_id).values(total=total, queued=total))
    return batch_id, total


@contextmanager
def _read_ahead(database: Database, pages: Iterable[list[NewJob]]) -> Iterator[Iterable[list[NewJob]]]:
    if database.is_postgresql:
        yield pages
        return
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES, "w+", encoding="utf-8", newline="\n") as spool:
        spool.writelines(json.dumps(page) + "\n" for page in pages)
        spool.seek(0)
        yield map(json.loads, spool)


def _pages(new_jobs: Iterable[NewJob]) -> Iterator[list[NewJob]]:
    iterator = iter(new_jobs)
    while page := list(islice(iterator, _PAGE)):
        yield page


def _insert(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    # Through the driver, as COPY is: SQLAlchemy's work on each row takes longer than SQLite's own.
    marks = ", ".join("?" * len(_JOB_COLUMNS))
    created_at = rows[0][-1].strftime("%Y-%m-%d %H:%M:%S.%f")  # as UtcDateTime stores it; one time for all of a batch
    stored = [(*row[:-1], created_at) for row in rows]
    connection.exec_driver_sql(f"INSERT INTO jobs ({', '.join(_JOB_COLUMNS)}) VALUES ({marks})", stored)  # noqa: S608 constants


def _copy(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    driver_connection = connection.connection.driver_connection
    assert driver_connection is not None  # the pool has just given it
    with (
        driver_connection.cursor() as cursor,
        cursor.copy(f"COPY jobs ({', '.join(_JOB_COLUMNS)}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(row)
