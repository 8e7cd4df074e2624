"""The outbox: which chunks still need a message in the broker.

A row of `chunks` is written in the transaction that makes its jobs `queued`, marked when a message
is sent for it, and deleted by the claim. A message is only a ticket (see `wavemill.jobs.claims`):
any message gets the next chunk claimed. So a chunk lacks a message only if more chunks are marked than
messages are left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, and_, case, func, insert, literal, or_, select, update

from wavemill.jobs.claims import is_open
from wavemill.jobs.database import Database, now
from wavemill.jobs.schema import batches, chunks, jobs
from wavemill.jobs.states import State

T = TypeVar("T")
_BATCHES = 500  # whose chunks are looked for in one statement


@dataclass(frozen=True, kw_only=True)
class ChunkMessage:
    """What a message says: jobs `first` to `last` of a batch, both included."""

    batch_id: str
    first: int
    last: int
    priority: int


# Hands messages to the broker: all of them, or it raises BrokerUnavailableError.
Send = Callable[[Sequence[ChunkMessage]], None]


def add_chunks(
    connection: Connection,
    batch_id: str,
    ranges: Iterable[tuple[int, int]],
    *,
    delay_s: float = 0.0,
    again: bool = False,
) -> None:
    """Write chunks that cover these ranges of `seq`, due in `delay_s` seconds.

    Chunks with `again` were begun before and have waited already: they go before the rest of their
    batch.
    """
    available_at = connection.scalar(select(now(delay_s)))
    common = {"batch_id": batch_id, "available_at": available_at, "again": again}
    rows = [{**common, "first": first, "last": last} for first, last in ranges]
    if rows:
        connection.execute(insert(chunks), rows)


def add_queued_jobs(connection: Connection, batch_id: str, chunk_size: int) -> None:
    """Write chunks that cover every queued job of a batch."""
    covering = (
        select(literal(batch_id), func.min(jobs.c.seq), func.max(jobs.c.seq), now())
        .where(jobs.c.batch_id == batch_id, jobs.c.state == State.QUEUED)
        .group_by(jobs.c.seq.op("/")(literal(chunk_size, literal_execute=True)))
    )
    connection.execute(insert(chunks).from_select(["batch_id", "first", "last", "available_at"], covering))


def publish_due(
    database: Database, send: Send, *, batch_id: str | None = None, at_most: int | None = None, page: int = 2_000
) -> int:
    """Send messages for due chunks that have none, `at_most` this many; return how many were sent.

    Small chunks of several batches share a message if one claim will take them together. Rows are
    marked before they are sent, so that two publishers never send the same message, and unmarked
    if sending fails. After a crash in between, `recall_lost` finds them.
    """
    sent = 0
    for some in _batches_with_due_chunks(database) if batch_id is None else [[batch_id]]:
        while bundles := _take_due(database, some, page, None if at_most is None else at_most - sent):
            try:
                send([bundle.message for bundle in bundles])
            except Exception:
                _unmark(database, [chunk_id for bundle in bundles for chunk_id in bundle.chunk_ids])
                raise
            sent += len(bundles)
    return sent


def _batches_with_due_chunks(database: Database) -> Iterator[list[str]]:
    """Yield groups of IDs of batches with one priority, the highest first."""
    query = (
        select(batches.c.id, batches.c.priority)
        .where(is_open(), select(chunks.c.id).where(*_DUE).exists())
        .order_by(batches.c.priority.desc(), batches.c.turn_at, batches.c.id)
    )
    with database.reading() as connection:
        rows = connection.execute(query).all()
    for _, group in groupby(rows, key=lambda row: row.priority):
        yield from _pages([row.id for row in group], _BATCHES)


_DUE = (
    chunks.c.batch_id == batches.c.id,
    chunks.c.published_at.is_(None),
    chunks.c.available_at <= now(),
)


@dataclass(kw_only=True)
class _Bundle:
    """One message, and the chunks that its claim will take."""

    message: ChunkMessage
    chunk_ids: list[int]
    room: int  # jobs that still fit in


def _take_due(database: Database, batch_ids: Sequence[str], page: int, count: int | None) -> list[_Bundle]:
    """Mark due chunks of some batches as published, and return their messages, at most `count`."""
    if count is not None and count <= 0:
        return []
    kind = [batches.c[name] for name in ("operation", "model_digest", "chunk_size", "priority")]
    due = (
        select(chunks.c.id, chunks.c.batch_id, chunks.c.first, chunks.c.last, chunks.c.again, *kind)
        .join(batches, batches.c.id == chunks.c.batch_id)
        .where(is_open(), *_DUE, chunks.c.batch_id.in_(batch_ids))
        .order_by(chunks.c.batch_id, chunks.c.first, chunks.c.id)  # as the index has them: a batch may have millions
        .limit(page)
        .with_for_update(of=chunks, skip_locked=True)
    )
    with database.transaction() as connection:
        bundles = list(_bundles(connection.execute(due).all()))[:count]
        for ids in _pages([chunk_id for bundle in bundles for chunk_id in bundle.chunk_ids], 500):
            connection.execute(update(chunks).where(chunks.c.id.in_(ids)).values(published_at=now()))
    return bundles


def _bundles(rows: Iterable[Row[Any]]) -> Iterator[_Bundle]:
    """Group small chunks as `claim_next` does: of similar batches, and never begun before."""
    open_ones: dict[tuple[Any, ...], _Bundle] = {}
    for row in rows:
        size = row.last - row.first + 1
        kind = (row.operation, row.model_digest, row.chunk_size, row.priority)
        bundle = open_ones.get(kind)
        if bundle is not None and not row.again and size <= bundle.room and row.batch_id != bundle.message.batch_id:
            bundle.chunk_ids.append(row.id)
            bundle.room -= size
            continue
        message = ChunkMessage(batch_id=row.batch_id, first=row.first, last=row.last, priority=row.priority)
        room = 0 if row.again else row.chunk_size - size
        bundle = _Bundle(message=message, chunk_ids=[row.id], room=room)
        if room:
            open_ones[kind] = bundle
        yield bundle


def _unmark(database: Database, ids: Sequence[int]) -> None:
    with database.transaction() as connection:
        for page in _pages(sorted(ids), 500):
            # In the order in which a claim locks them.
            locked = select(chunks.c.id).where(chunks.c.id.in_(page)).order_by(chunks.c.id).with_for_update()
            connection.execute(update(chunks).where(chunks.c.id.in_(locked)).values(published_at=None))


def recall_lost(database: Database, present: Sized, *, grace_s: float) -> int:
    """Unmark chunks sent over `grace_s` ago if messages for them are missing; return how many.

    Parameters
    ----------
    present : sized
        The messages that wait in the broker. Only their number counts, so a `range` will do. Leave
        out those that workers have received: a worker that dies before its claim would hide them.
    """
    sent = (chunks.c.published_at < now(-grace_s), is_open())
    share = 1.0 * (chunks.c.last - chunks.c.first + 1) / batches.c.chunk_size
    tickets: ColumnElement[float] = func.sum(case((or_(chunks.c.again, share > 1), 1.0), else_=share))
    overdue = chunks.join(batches, batches.c.id == chunks.c.batch_id)
    with database.reading() as connection:
        needed = math.ceil(connection.scalar(select(tickets).select_from(overdue).where(*sent)) or 0)
        if needed <= len(present):
            return 0
        lost = select(chunks.c.id).select_from(overdue).where(*sent).order_by(chunks.c.id)
        if len(present):
            lost = lost.limit(needed - len(present))
        ids = list(connection.scalars(lost))
    _unmark(database, ids)
    return len(ids)


def restore_missing_chunks(database: Database) -> int:
    """Write chunks for batches with queued jobs but no chunk; return how many batches it did."""
    uncovered = select(batches.c.id, batches.c.chunk_size).where(
        batches.c.queued > 0,
        batches.c.cancelled_at.is_(None),
        batches.c.stopped.is_(None),
        ~select(chunks.c.id).where(chunks.c.batch_id == batches.c.id).exists(),
    )
    with database.transaction() as connection:
        rows = connection.execute(uncovered).all()
        for row in rows:
            add_queued_jobs(connection, row.id, row.chunk_size)
    return len(rows)


def is_drained(database: Database) -> bool:
    """Whether no job is running, and none is queued except in paused batches."""
    left = select(batches.c.id).where(
        batches.c.finished_at.is_(None),
        or_(
            batches.c.running > 0,
            and_(batches.c.queued > 0, batches.c.paused_at.is_(None), batches.c.cancelled_at.is_(None)),
        ),
    )
    with database.reading() as connection:
        return connection.execute(left.limit(1)).first() is None


def _pages(ids: Sequence[T], size: int) -> Iterator[list[T]]:
    iterator = iter(ids)
    while page := list(islice(iterator, size)):
        yield page
