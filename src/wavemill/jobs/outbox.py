"""The outbox: which chunks ought to have a message in the broker.

A row of `chunks` is written in the transaction that makes its jobs `queued`, marked when its message went out, and
deleted by the claim. So a message that was never sent, or was lost, leaves a row behind that tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Connection, and_, func, insert, literal, or_, select, update

from wavemill.contract import PRIORITIES
from wavemill.jobs.database import Database, now
from wavemill.jobs.schema import batches, chunks, jobs
from wavemill.jobs.states import State


@dataclass(frozen=True, kw_only=True)
class ChunkMessage:
    """What a message says: jobs `first` to `last` of a batch, both included."""

    batch_id: str
    first: int
    last: int
    priority: int


# Hands messages to the broker, all or BrokerUnavailableError.
Send = Callable[[Sequence[ChunkMessage]], None]


def add_chunks(
    connection: Connection,
    batch_id: str,
    ranges: Iterable[tuple[int, int]],
    *,
    delay_s: float = 0.0,
    again: bool = False,
) -> None:
    """Ask for messages that cover these ranges of `seq`, not before `delay_s` from now.

    What was begun before and is to be done `again` has waited its turn: its messages overtake those of its batch.
    """
    available_at = connection.scalar(select(now(delay_s)))
    common = {"batch_id": batch_id, "available_at": available_at, "again": again}
    rows = [{**common, "first": first, "last": last} for first, last in ranges]
    if rows:
        connection.execute(insert(chunks), rows)


def add_queued_jobs(connection: Connection, batch_id: str, chunk_size: int) -> None:
    """Ask for messages that cover every queued job of a batch."""
    covering = (
        select(literal(batch_id), func.min(jobs.c.seq), func.max(jobs.c.seq), now())
        .where(jobs.c.batch_id == batch_id, jobs.c.state == State.QUEUED)
        .group_by(jobs.c.seq.op("/")(literal(chunk_size, literal_execute=True)))
    )
    connection.execute(insert(chunks).from_select(["batch_id", "first", "last", "available_at"], covering))


def publish_due(
    database: Database, send: Send, *, batch_id: str | None = None, at_most: int | None = None, page: int = 2_000
) -> int:
    """Send the messages of due chunks that have none yet, `at_most` so many; return how many went out.

    Batches of higher priority come first. Rows are marked before the send, so that two publishers never send the same
    message, and unmarked when it fails; after a crash between the two, `recall_lost` finds them.
    """
    sent = 0
    for one in _batches_with_due_chunks(database) if batch_id is None else [batch_id]:
        while messages := _take_due(database, one, page if at_most is None else min(page, at_most - sent)):
            try:
                send(list(messages.values()))
            except Exception:
                _unmark(database, list(messages))
                raise
            sent += len(messages)
    return sent


def _batches_with_due_chunks(database: Database) -> Sequence[str]:
    query = (
        select(batches.c.id)
        .where(batches.c.finished_at.is_(None), select(chunks.c.id).where(*_DUE).exists())
        .order_by(batches.c.priority.desc(), batches.c.created_at, batches.c.id)
    )
    with database.reading() as connection:
        return connection.scalars(query).all()


_DUE = (
    chunks.c.batch_id == batches.c.id,
    chunks.c.published_at.is_(None),
    chunks.c.available_at <= now(),
    batches.c.paused_at.is_(None),
    batches.c.cancelled_at.is_(None),
)


def _take_due(database: Database, batch_id: str, count: int) -> dict[int, ChunkMessage]:
    """Mark up to `count` due chunks of a batch as published, and return their messages by row ID."""
    if count <= 0:
        return {}
    due = (
        select(chunks.c.id, chunks.c.batch_id, chunks.c.first, chunks.c.last, chunks.c.again, batches.c.priority)
        .join(batches, batches.c.id == chunks.c.batch_id)
        .where(*_DUE, chunks.c.batch_id == batch_id)
        .order_by(chunks.c.first, chunks.c.id)  # as the index has them: a batch may have millions
        .limit(count)
        .with_for_update(of=chunks, skip_locked=True)
    )
    with database.transaction() as connection:
        rows = connection.execute(due).all()
        for ids in _pages([row.id for row in rows], 500):
            connection.execute(update(chunks).where(chunks.c.id.in_(ids)).values(published_at=now()))
    return {
        row.id: ChunkMessage(
            batch_id=row.batch_id,
            first=row.first,
            last=row.last,
            priority=min(row.priority + row.again, PRIORITIES.stop - 1),
        )
        for row in rows
    }


def _unmark(database: Database, ids: Sequence[int]) -> None:
    with database.transaction() as connection:
        for page in _pages(sorted(ids), 500):
            # Locked in the order that a claim locks them.
            locked = select(chunks.c.id).where(chunks.c.id.in_(page)).order_by(chunks.c.id).with_for_update()
            connection.execute(update(chunks).where(chunks.c.id.in_(locked)).values(published_at=None))


def recall_lost(database: Database, present: set[tuple[str, int, int]], *, grace_s: float) -> int:
    """Mark as unsent each chunk sent over `grace_s` ago that is not among the broker's messages; return how many.

    `present` must have been listed before this call: a message that was taken meanwhile is then only sent once
    more than needed.
    """
    overdue = select(chunks.c.id, chunks.c.batch_id, chunks.c.first, chunks.c.last).where(
        chunks.c.published_at < now(-grace_s)
    )
    with database.reading() as connection:
        lost = [row.id for row in connection.execute(overdue) if (row.batch_id, row.first, row.last) not in present]
    if lost:
        _unmark(database, lost)
    return len(lost)


def restore_missing_chunks(database: Database) -> int:
    """Cover batches whose queued jobs have no chunk at all; return how many batches had to be mended."""
    uncovered = select(batches.c.id, batches.c.chunk_size).where(
        batches.c.queued > 0,
        batches.c.cancelled_at.is_(None),
        ~select(chunks.c.id).where(chunks.c.batch_id == batches.c.id).exists(),
    )
    with database.transaction() as connection:
        rows = connection.execute(uncovered).all()
        for row in rows:
            add_queued_jobs(connection, row.id, row.chunk_size)
    return len(rows)


def is_drained(database: Database) -> bool:
    """Whether workers have nothing left to do: no job runs, and none is queued but those of paused batches."""
    left = select(batches.c.id).where(
        batches.c.finished_at.is_(None),
        or_(
            batches.c.running > 0,
            and_(batches.c.queued > 0, batches.c.paused_at.is_(None), batches.c.cancelled_at.is_(None)),
        ),
    )
    with database.reading() as connection:
        return connection.execute(left.limit(1)).first() is None


def _pages(ids: Sequence[int], size: int) -> Iterator[list[int]]:
    iterator = iter(ids)
    while page := list(islice(iterator, size)):
        yield page
