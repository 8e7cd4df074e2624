"""Claims: who works on which jobs, and for how long.

A message is a ticket: whoever holds one claims what is due next, whatever chunk the message was sent for. Of all
batches of the highest priority that is the one that was served longest ago; within it, chunks that were begun before
go first. So no batch waits behind all of another one, and a message that is lost, doubled or late costs nothing.

A claim is one guarded UPDATE; it counts the attempt before any work is done, and gives each job a fence: a number that
only grows, by which the outputs of this claim are told from those of every other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, delete, select, update

from wavemill.jobs.counters import move_counts
from wavemill.jobs.database import Database, now
from wavemill.jobs.locks import share_batch
from wavemill.jobs.schema import batches, chunks, jobs
from wavemill.jobs.states import State

_CANDIDATES = 16  # batches looked at for one claim; others hold the first chunks of some of them
MOST_JOBS = 10_000  # in one claim: a statement names each of them, and PostgreSQL takes 65,535 parameters


@dataclass(frozen=True, kw_only=True)
class ClaimedJob:
    """One job in a worker's hands; `fence` is higher than that of every earlier claim of it."""

    id: int
    seq: int
    spectrogram_id: str
    attempt: int
    max_attempts: int
    fence: int = 0
    item: Mapping[str, Any] = field(default_factory=dict, compare=False)  # what the operation needs besides the ID


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The queued jobs of one chunk, now this worker's until the lease ends."""

    batch: Row[Any]
    worker_id: str
    jobs: tuple[ClaimedJob, ...]


def is_open(*, refused: Collection[str] = (), avoided: Collection[str] = ()) -> ColumnElement[bool]:
    """Return the condition that a worker may begin jobs of a batch.

    Parameters
    ----------
    refused : digests of models that the worker lacks
    avoided : IDs of batches that it leaves alone for a while
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
    """Claim the chunk that is due next, and small chunks of other batches of the same kind up to one chunk's size.

    Returns
    -------
    tuple of Claim
        One for each batch; empty where nothing is due for this worker. `refused` and `avoided` are those of `is_open`.
    """
    may_begin = is_open(refused=refused, avoided=avoided)
    due = select(chunks.c.id).where(chunks.c.batch_id == batches.c.id, chunks.c.available_at <= now()).exists()
    in_turn = (
        select(batches.c.id).where(may_begin, due).order_by(batches.c.priority.desc(), batches.c.turn_at, batches.c.id)
    )
    while True:
        with database.reading() as connection:  # waits for no writer: many messages find nothing
            batch_ids = list(connection.scalars(in_turn.limit(_CANDIDATES)))
        if not batch_ids:
            return ()
        with database.transaction() as connection:
            hand = _Hand(connection, worker_id, lease_s)
            first = next((claim for one in batch_ids if (claim := hand.claim(one, may_begin)) is not None), None)
            if first is None:  # others were faster
                return ()
            claims = [first]
            room = first.batch.chunk_size - len(first.jobs)
            if room > 0 and _is_small(first):
                claims += _more(hand, in_turn.where(*_alike(first.batch)).limit(room), may_begin, room)
            _count(connection, claims)
        if claims := [claim for claim in claims if claim.jobs]:
            return tuple(claims)


def _is_small(claim: Claim) -> bool:
    """Whether a claim may be worked on together with others: no job in it was begun before, so none is suspected."""
    return all(job.fence == 1 for job in claim.jobs)


def _alike(batch: Row[Any]) -> tuple[ColumnElement[bool], ...]:
    same = ("operation", "chunk_size", "priority")
    return (
        batches.c.id != batch.id,
        *(batches.c[name] == getattr(batch, name) for name in same),
        batches.c.model_digest.is_not_distinct_from(batch.model_digest),
        batches.c.queued <= batches.c.chunk_size,
    )


def _more(hand: _Hand, alike: Select[Any], may_begin: ColumnElement[bool], room: int) -> Iterator[Claim]:
    for batch_id in list(hand.connection.scalars(alike)):
        claim = hand.claim(batch_id, may_begin, at_most=room)
        if claim is None:
            continue
        yield claim
        room -= len(claim.jobs)
        if room <= 0:
            return


@dataclass(frozen=True)
class _Hand:
    """Claims one chunk of a batch after another, in one transaction."""

    connection: Connection
    worker_id: str
    lease_s: float

    def claim(self, batch_id: str, may_begin: ColumnElement[bool], *, at_most: int | None = None) -> Claim | None:
        """Claim the next chunk of a batch; with `at_most`, only one of so many jobs that was never begun."""
        share_batch(self.connection, batch_id)
        batch = self.connection.execute(select(batches).where(batches.c.id == batch_id, may_begin)).one_or_none()
        chunk = None if batch is None else self._next_chunk(batch_id, at_most)
        if chunk is None:
            return None
        # Before the jobs are claimed: a chunk that is written meanwhile may be for jobs that this claim does not see.
        self.connection.execute(delete(chunks).where(chunks.c.id == chunk.id))
        return _take(self.connection, batch, chunk.first, chunk.last, worker_id=self.worker_id, lease_s=self.lease_s)

    def _next_chunk(self, batch_id: str, at_most: int | None) -> Any:
        query = (
            select(chunks.c.id, chunks.c.first, chunks.c.last)
            .where(chunks.c.batch_id == batch_id, chunks.c.available_at <= now())
            .order_by(chunks.c.first, chunks.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        if at_most is not None:
            query = query.where(chunks.c.last - chunks.c.first < at_most, ~chunks.c.again)
            return self.connection.execute(query).one_or_none()
        again = self.connection.execute(query.where(chunks.c.again)).one_or_none()
        return again or self.connection.execute(query).one_or_none()


def _take(connection: Connection, batch: Any, first: int, last: int, *, worker_id: str, lease_s: float) -> Claim:
    """Claim what is queued of a range of jobs; the counters are the caller's."""
    # Locked in the order of seq, so that two claims of overlapping ranges cannot deadlock.
    queued = (
        select(jobs.c.id)
        .where(jobs.c.batch_id == batch.id, jobs.c.seq.between(first, last), jobs.c.state == State.QUEUED)
        .order_by(jobs.c.seq)
        .limit(MOST_JOBS)
        .with_for_update()
    )
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
    claimed = sorted((ClaimedJob(**{**row._mapping, "item": row.item or {}}) for row in rows), key=lambda job: job.seq)
    return Claim(batch=batch, worker_id=worker_id, jobs=tuple(claimed))


_CLAIMED = [
    *(jobs.c[name] for name in ("id", "seq", "spectrogram_id", "attempt", "max_attempts", "item")),
    jobs.c.claims.label("fence"),
]


def _count(connection: Connection, claims: Sequence[Claim]) -> None:
    # In the order of IDs: of two claims that touch the same batches, one waits for the other.
    for claim in sorted(claims, key=lambda claim: str(claim.batch.id)):
        n = len(claim.jobs)
        move_counts(connection, claim.batch.id, {State.QUEUED: -n, State.RUNNING: n}, turn_at=now())


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
        connection.execute(delete(chunks).where(chunks.c.id.in_(list(connection.scalars(covered)))))
        claim = _take(connection, batch, first, last, worker_id=worker_id, lease_s=lease_s)
        _count(connection, [claim])
    return claim if claim.jobs else None


def renew_leases(database: Database, claims: Sequence[Claim], *, lease_s: float) -> int:
    """Prolong the leases of claims' jobs that are still running; return how many were."""
    ids = [job.id for claim in claims for job in claim.jobs]
    if not ids:
        return 0
    mine = (
        select(jobs.c.id)
        .where(jobs.c.id.in_(ids), jobs.c.worker_id == claims[0].worker_id, jobs.c.state == State.RUNNING)
        # As a finish locks them: the heartbeat's thread and the worker's must not deadlock.
        .order_by(jobs.c.batch_id, jobs.c.seq)
        .with_for_update()
    )
    with database.transaction() as connection:
        return connection.execute(
            update(jobs).where(jobs.c.id.in_(mine), jobs.c.state == State.RUNNING).values(lease_until=now(lease_s))
        ).rowcount
