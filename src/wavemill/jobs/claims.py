"""Claims: which worker works on which jobs, and until when.

A message is only a ticket: a worker that receives one claims the chunk that is due next, whatever
chunk the message was sent for. That is a chunk of the batch that was served longest ago, of those
with the highest priority; within the batch, chunks that were begun before go first. So no batch
waits behind the whole of another one, and a lost, duplicated or late message does no harm.

A claim is one guarded UPDATE. It counts the attempt before any work is done, and gives each job a
fence: a number that only grows, and tells the outputs of this claim from those of every other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, delete, select, text, update

from wavemill.jobs.counters import move_counts
from wavemill.jobs.database import Database, now
from wavemill.jobs.locks import share_batch, share_batches
from wavemill.jobs.schema import batches, chunks, jobs
from wavemill.jobs.states import State

_CANDIDATES = 16  # batches looked at for one claim: others may hold the first chunks of some of them
# The first matches the condition of the partial index.
_IS_AGAIN, _IS_NEW = text("chunks.again"), text("NOT chunks.again")
MOST_JOBS = 10_000  # in one claim: a statement has a parameter for each, and PostgreSQL takes 65,535


@dataclass(frozen=True, kw_only=True)
class ClaimedJob:
    """One claimed job; `fence` is higher than in every earlier claim of it."""

    id: int
    seq: int
    spectrogram_id: str
    attempt: int
    max_attempts: int
    fence: int = 0
    item: Mapping[str, Any] = field(default_factory=dict, compare=False)  # what the operation needs besides the ID


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The queued jobs of one chunk, held by one worker until the lease ends."""

    batch: Row[Any]
    worker_id: str
    jobs: tuple[ClaimedJob, ...]


def is_open(*, refused: Collection[str] = (), avoided: Collection[str] = ()) -> ColumnElement[bool]:
    """Return the SQL condition that a worker may begin jobs of a batch.

    Parameters
    ----------
    refused : digests of models that the worker lacks
    avoided : IDs of batches that the worker leaves alone for a while
    """
    conditions: list[ColumnElement[bool]] = [
        batches.c.finished_at.is_(None),
        batches.c.paused_at.is_(None),
        batches.c.cancelled_at.is_(None),
        batches.c.stopped.is_(None),
    ]
    if avoided:
        conditions.append(batches.c.id.not_in(sorted(avoided)))
    if refused:
        conditions.append(batches.c.model_digest.is_(None) | batches.c.model_digest.not_in(sorted(refused)))
    return and_(*conditions)


def claim_next(
    database: Database,
    *,
    worker_id: str,
    lease_s: float,
    refused: Collection[str] = (),
    avoided: Collection[str] = (),
) -> tuple[Claim, ...]:
    """Claim the chunk that is due next, and small chunks of similar batches up to its size limit.

    Returns
    -------
    tuple of Claim
        One for each batch; empty if nothing is due for this worker. See `is_open` for `refused` and
        `avoided`.
    """
    may_begin = is_open(refused=refused, avoided=avoided)
    due = select(chunks.c.id).where(chunks.c.batch_id == batches.c.id, chunks.c.available_at <= now()).exists()
    in_turn = (
        select(batches.c.id).where(may_begin, due).order_by(batches.c.priority.desc(), batches.c.turn_at, batches.c.id)
    )
    while True:
        with database.reading() as connection:  # does not wait for writers: many messages find nothing to do
            batch_ids = list(connection.scalars(in_turn.limit(_CANDIDATES)))
        if not batch_ids:
            return ()
        with database.transaction() as connection:
            found = next((pair for one in batch_ids if (pair := _first_chunk(connection, one, may_begin))), None)
            if found is None:  # other workers claimed them first
                return ()
            batch, chunk = found
            taken = [(batch, chunk)]
            room = batch.chunk_size - _size(chunk)
            if room > 0 and not chunk.again:
                taken += _small_chunks(connection, in_turn.where(*_alike(batch)).limit(room), may_begin, room)
            claims = _take(connection, taken, worker_id=worker_id, lease_s=lease_s)
        if claims:
            return claims


_Chunk = tuple[Any, Any]  # rows of a batch and of one of its chunks


def _size(chunk: Any) -> int:
    return int(chunk.last - chunk.first + 1)


def _alike(batch: Any) -> tuple[ColumnElement[bool], ...]:
    same = ("operation", "chunk_size", "priority")
    return (
        batches.c.id != batch.id,
        *(batches.c[name] == getattr(batch, name) for name in same),
        batches.c.model_digest.is_not_distinct_from(batch.model_digest),
        batches.c.queued <= batches.c.chunk_size,
    )


def _due_chunks() -> Select[Any]:
    # Locks these rows, and skips those that others have locked.
    columns = [chunks.c[name] for name in ("id", "batch_id", "first", "last", "again")]
    return (
        select(*columns)
        .where(chunks.c.available_at <= now())
        .order_by(chunks.c.batch_id, chunks.c.first, chunks.c.id)
        .with_for_update(skip_locked=True)
    )


def _first_chunk(connection: Connection, batch_id: str, may_begin: ColumnElement[bool]) -> _Chunk | None:
    """Lock the next chunk of a batch: one that was begun before, or else the first."""
    share_batch(connection, batch_id)
    batch = connection.execute(select(batches).where(batches.c.id == batch_id, may_begin)).one_or_none()
    if batch is None:
        return None
    query = _due_chunks().where(chunks.c.batch_id == batch_id).limit(1)
    again = connection.execute(query.where(_IS_AGAIN)).one_or_none()
    chunk = again or connection.execute(query).one_or_none()
    return None if chunk is None else (batch, chunk)


def _small_chunks(
    connection: Connection, alike: Select[Any], may_begin: ColumnElement[bool], room: int
) -> list[_Chunk]:
    """Lock one new chunk of each batch in `alike`, until these have `room` jobs."""
    batch_ids = list(connection.scalars(alike))
    if not batch_ids:
        return []
    share_batches(connection, batch_ids)
    rows = connection.execute(select(batches).where(batches.c.id.in_(batch_ids), may_begin)).all()
    found = {row.id: row for row in rows}
    small = _due_chunks().where(chunks.c.batch_id.in_(list(found)), _IS_NEW)
    first = {chunk.batch_id: chunk for chunk in reversed(connection.execute(small).all())}
    taken = []
    for batch_id in batch_ids:
        if batch_id in first and _size(first[batch_id]) <= room:
            taken.append((found[batch_id], first[batch_id]))
            room -= _size(first[batch_id])
    return taken


def _take(connection: Connection, taken: Sequence[_Chunk], *, worker_id: str, lease_s: float) -> tuple[Claim, ...]:
    """Claim the queued jobs of locked chunks, and delete the chunks."""
    chunk_ids = [chunk.id for _, chunk in taken]
    # Locked in the order of seq, so that two claims of overlapping ranges cannot deadlock.
    queued = (
        select(jobs.c.id)
        .join(
            chunks,
            and_(chunks.c.batch_id == jobs.c.batch_id, jobs.c.seq.between(chunks.c.first, chunks.c.last)),
        )
        .where(chunks.c.id.in_(chunk_ids), jobs.c.state == State.QUEUED)
        .order_by(jobs.c.batch_id, jobs.c.seq)
        .limit(MOST_JOBS)
        .with_for_update(of=jobs)
    )
    claims = _claim(connection, queued, {batch.id: batch for batch, _ in taken}, worker_id, lease_s)
    connection.execute(delete(chunks).where(chunks.c.id.in_(chunk_ids)))
    return claims


def _claim(
    connection: Connection, queued: Select[Any], found: Mapping[str, Any], worker_id: str, lease_s: float
) -> tuple[Claim, ...]:
    rows = connection.execute(
        update(jobs)
        .where(jobs.c.id.in_(queued), jobs.c.state == State.QUEUED)
        .values(
            state=State.RUNNING,
            attempt=jobs.c.attempt + 1,
            claims=jobs.c.claims + 1,
            worker_id=worker_id,
            lease_until=now(lease_s),
            started_at=now(),
            error_code=None,
            error=None,
        )
        .returning(*_CLAIMED)
    ).all()
    by_batch: dict[str, list[ClaimedJob]] = {}
    for row in sorted(rows, key=lambda row: row.seq):
        columns = {name: value for name, value in row._mapping.items() if name != "batch_id"}
        by_batch.setdefault(row.batch_id, []).append(ClaimedJob(**{**columns, "item": row.item or {}}))
    move_counts(
        connection,
        {ID: {State.QUEUED: -len(claimed), State.RUNNING: len(claimed)} for ID, claimed in by_batch.items()},
    )
    return tuple(
        Claim(batch=batch, worker_id=worker_id, jobs=tuple(by_batch[ID]))
        for ID, batch in found.items()
        if ID in by_batch
    )


_CLAIMED = [
    *(jobs.c[name] for name in ("id", "batch_id", "seq", "spectrogram_id", "attempt", "max_attempts", "item")),
    jobs.c.claims.label("fence"),
]


def claim_chunk(
    database: Database, batch_id: str, first: int, last: int, *, worker_id: str, lease_s: float
) -> Claim | None:
    """Claim the queued jobs `first` to `last` of one batch; None when there is nothing (left) to do."""
    with database.transaction() as connection:
        share_batch(connection, batch_id)
        batch = connection.execute(select(batches).where(batches.c.id == batch_id, is_open())).one_or_none()
        if batch is None:  # a cancelled batch's rows may still say `queued`
            return None
        last = min(last, first + MOST_JOBS - 1)
        covered = (
            select(chunks.c.id)
            .where(chunks.c.batch_id == batch_id, chunks.c.first.between(first, last), chunks.c.last <= last)
            .order_by(chunks.c.id)
            .with_for_update()
        )
        # Deleted before the claim: a chunk written in between may be for jobs that it does not see.
        connection.execute(delete(chunks).where(chunks.c.id.in_(list(connection.scalars(covered)))))
        queued = (
            select(jobs.c.id)
            .where(jobs.c.batch_id == batch_id, jobs.c.seq.between(first, last), jobs.c.state == State.QUEUED)
            .order_by(jobs.c.seq)
            .with_for_update()
        )
        claims = _claim(connection, queued, {batch_id: batch}, worker_id, lease_s)
    return claims[0] if claims else None


def renew_leases(database: Database, claims: Sequence[Claim], *, lease_s: float) -> int:
    """Extend the leases of the claims' jobs that are still running; return how many are."""
    ids = [job.id for claim in claims for job in claim.jobs]
    if not ids:
        return 0
    mine = (
        select(jobs.c.id)
        .where(jobs.c.id.in_(ids), jobs.c.worker_id == claims[0].worker_id, jobs.c.state == State.RUNNING)
        # In the order of `record`: the heartbeat's thread and the worker's must not deadlock.
        .order_by(jobs.c.batch_id, jobs.c.seq)
        .with_for_update()
    )
    with database.transaction() as connection:
        return connection.execute(
            update(jobs).where(jobs.c.id.in_(mine), jobs.c.state == State.RUNNING).values(lease_until=now(lease_s))
        ).rowcount
