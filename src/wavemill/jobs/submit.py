"""Write a batch in one transaction: a row for the batch, one for each job, one for each message."""

from __future__ import annotations

import hashlib
import json
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import IO, Any, cast

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from wavemill.errors import UsageError
from wavemill.jobs.confirmed_write import write_confirmed
from wavemill.jobs.database import Database, now
from wavemill.jobs.deliveries import require_webhook
from wavemill.jobs.locks import own_batch, own_key
from wavemill.jobs.management_schema import batch_tags
from wavemill.jobs.outbox import add_chunks
from wavemill.jobs.postgresql_engine import expect_pauses
from wavemill.jobs.schema import batches
from wavemill.jobs.tags import require_tags

_PAGE = 10_000
_SPOOL_BYTES = 8_000_000  # larger spools go to disk
_MAX_PAUSE_S = 3_600.0  # while the caller produces jobs, such as a person who types IDs or a file search
_MAX_KEY = 200  # as wide as the column
_JOB_COLUMNS = ("batch_id", "seq", "spectrogram_id", "item", "max_attempts", "created_at")
_ABOUT_COLUMNS = ("custom_id", "metadata")

_Json = Mapping[str, Any] | None
# (ID, item), or (ID, item, custom_id, metadata): the ID is unique in its batch and names the outputs; the item is
# further input, if any; the others are what the caller says about the job.
_PlainJob = tuple[str, _Json]
NewJob = _PlainJob | tuple[str, _Json, str | None, _Json]
_Write = Callable[[Connection, Sequence[str], Sequence[tuple[Any, ...]]], None]


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """What a batch asks for, apart from its jobs."""

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
    key: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    webhook_url: str | None = None

    def __post_init__(self) -> None:
        require_tags(self.tags)
        if self.webhook_url is not None:
            require_webhook(self.webhook_url)
        if self.key is not None and not (0 < len(self.key) <= _MAX_KEY and self.key.isprintable()):
            raise UsageError(f"key {self.key[:80]!r}: expected 1 to {_MAX_KEY} printable characters")

    def content(self) -> dict[str, Any]:
        """Return what decides the outputs; name, priority, tags, webhook and the size of chunks do not.

        The digest of a keyed batch covers this and its jobs, each with its `custom_id` and `metadata`: a caller who
        sends other ones would look for them in vain in the earlier batch.
        """
        names = ("operation", "dataset", "model", "model_digest", "output", "params")
        return {name: getattr(self, name) for name in names}


def new_batch_id(at: datetime) -> str:
    """Return a unique ID that sorts by time and is safe as a folder's name."""
    return f"{at:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"


def write_batch(
    database: Database,
    request: BatchRequest,
    new_jobs: Iterable[NewJob],
    *,
    progress: Callable[[int], None] = lambda _: None,
    patience_s: float = 0.0,
) -> tuple[str, int]:
    """Write a batch and its jobs; both become visible together, at the commit.

    On SQLite, first read all jobs into a temporary file, then begin the transaction. A slow `new_jobs`
    would otherwise hold the write lock until the workers' leases expire.

    Parameters
    ----------
    new_jobs : iterable of `NewJob`
        Streamed; each ID at most once, or outputs would overwrite each other.
    progress : callable
        Called with the number of jobs written so far.
    patience_s : float
        Retry this long after a database outage, if at most the first page of `new_jobs` was read.

    Returns
    -------
    (batch_id, total)
        If the same request was made before under `request.key`: the earlier batch's, and nothing is written.

    Raises
    ------
    UsageError
        No jobs at all, or the key was used for another request.
    DatabaseUnavailableError
        Says whether the batch was queued.
    """
    with _read_ahead(database, _pages(new_jobs)) as pages:
        try:
            return write_confirmed(
                database,
                lambda connection: _write(connection, request, pages, progress),
                can_repeat=lambda: pages.can_begin_again,
                for_s=patience_s,
            )
        except IntegrityError:
            # No page was read yet: the key is written first, after any other holder of it has committed.
            if (earlier := _batch_of_key(database, request.key)) is None:
                raise
        return _require_same(earlier, request, pages)


def _write(
    connection: Connection, request: BatchRequest, pages: Iterable[list[NewJob]], progress: Callable[[int], None]
) -> tuple[str, int]:
    if request.key is not None:
        own_key(connection, request.key)
    created_at = connection.execute(select(now())).scalar_one()
    batch_id = new_batch_id(created_at)
    own_batch(connection, batch_id)
    columns = {name: getattr(request, name) for name in request.__dataclass_fields__ if name != "max_attempts"}
    columns["tags"] = dict(request.tags) or None
    connection.execute(
        insert(batches).values(id=batch_id, created_at=created_at, turn_at=created_at, total=0, **columns)
    )
    if request.tags:
        rows = [{"batch_id": batch_id, "key": key, "value": value} for key, value in request.tags.items()]
        connection.execute(insert(batch_tags), rows)
    is_postgresql = connection.dialect.name == "postgresql"
    if is_postgresql:
        expect_pauses(connection, _MAX_PAUSE_S)
    write = _copy if is_postgresql else _insert
    # Bypasses SQLAlchemy, so format it as UtcDateTime would.
    stored_at = created_at if is_postgresql else created_at.strftime("%Y-%m-%d %H:%M:%S.%f")
    total, digest = 0, _content_digest(request)
    for page in pages:
        _write_page(connection, write, page, total, (batch_id, request.max_attempts, stored_at))
        total += len(page)
        _digest_page(digest, page, request)
        progress(total)
    if not total:
        raise UsageError("there is nothing to do: no IDs were given")
    if is_postgresql:
        expect_pauses(connection, None)  # no more jobs are awaited
    size = request.chunk_size
    add_chunks(connection, batch_id, ((i, min(i + size, total) - 1) for i in range(0, total, size)))
    content = digest.hexdigest() if request.key is not None else None
    connection.execute(
        update(batches).where(batches.c.id == batch_id).values(total=total, queued=total, content_sha256=content)
    )
    return batch_id, total


def _write_page(
    connection: Connection, write: _Write, page: list[NewJob], first: int, common: tuple[str, int, Any]
) -> None:
    batch_id, most, at = common
    if max(map(len, page)) == 2:  # as nearly always: two columns fewer
        plain = enumerate(cast(list[_PlainJob], page), start=first)
        rows = [(batch_id, seq, ID, item and json.dumps(item), most, at) for seq, (ID, item) in plain]
        write(connection, _JOB_COLUMNS, rows)
        return
    wide = []
    for seq, job in enumerate(page, start=first):
        ID, item, custom_id, about = (*job, None, None)[:4]
        wide.append((batch_id, seq, ID, item and json.dumps(item), most, at, custom_id, about and _written(about)))
    write(connection, (*_JOB_COLUMNS, *_ABOUT_COLUMNS), wide)


def _written(metadata: Mapping[str, Any]) -> str:
    return json.dumps(metadata, ensure_ascii=False)  # SQLite compares keys as they are written


def _content_digest(request: BatchRequest) -> hashlib._Hash:
    return hashlib.sha256(json.dumps(request.content(), sort_keys=True).encode())


def _digest_page(digest: hashlib._Hash, page: list[NewJob], request: BatchRequest) -> None:
    if request.key is not None:  # batches without a key are never compared
        digest.update(json.dumps(page, sort_keys=True).encode())


def _batch_of_key(database: Database, key: str | None) -> Row[Any] | None:
    with database.reading() as connection:
        return connection.execute(select(batches).where(batches.c.key == key)).one_or_none()


def _require_same(earlier: Row[Any], request: BatchRequest, pages: Iterable[list[NewJob]]) -> tuple[str, int]:
    digest = _content_digest(request)
    for page in pages:
        _digest_page(digest, page, request)
    if digest.hexdigest() != earlier.content_sha256:
        raise UsageError(
            f"key {earlier.key!r} is that of batch {earlier.id}, which has another dataset, model or output, other IDs "
            "(or custom_id or metadata) or other parameters; nothing was queued: choose another key for this request"
        )
    return earlier.id, earlier.total


class _Streamed:
    """Streamed pages; can start over while only the first page, which is kept, was read."""

    def __init__(self, pages: Iterable[list[NewJob]]) -> None:
        self._pages = iter(pages)
        self._first: list[NewJob] | None = None
        self.can_begin_again = True

    def __iter__(self) -> Iterator[list[NewJob]]:
        if self._first is None:
            self._first = next(self._pages, [])
        if self._first:
            yield self._first
        for page in self._pages:
            self.can_begin_again = False
            yield page


class _Spooled:
    """Pages in a file; can be read any number of times."""

    can_begin_again = True

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def __iter__(self) -> Iterator[list[NewJob]]:
        self._file.seek(0)
        return map(json.loads, self._file)


@contextmanager
def _read_ahead(database: Database, pages: Iterable[list[NewJob]]) -> Iterator[_Streamed | _Spooled]:
    if database.is_postgresql:
        yield _Streamed(pages)
        return
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES, "w+", encoding="utf-8", newline="\n") as spool:
        spool.writelines(json.dumps(page) + "\n" for page in pages)
        yield _Spooled(spool)


def _pages(new_jobs: Iterable[NewJob]) -> Iterator[list[NewJob]]:
    iterator = iter(new_jobs)
    while page := list(islice(iterator, _PAGE)):
        yield page


def _insert(connection: Connection, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    # Straight to the driver: SQLAlchemy's work on each row takes longer than SQLite's.
    marks = ", ".join("?" * len(columns))
    connection.exec_driver_sql(f"INSERT INTO jobs ({', '.join(columns)}) VALUES ({marks})", rows)  # noqa: S608 constants


def _copy(connection: Connection, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    driver_connection = connection.connection.driver_connection
    assert driver_connection is not None  # the pool has just given it
    with (
        driver_connection.cursor() as cursor,
        cursor.copy(f"COPY jobs ({', '.join(columns)}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(row)
